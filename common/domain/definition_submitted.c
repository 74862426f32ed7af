#include "common/domain/definition_submitted.h"

#include <stdint.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/domain/course_definition.h"
#include "common/domain/run_files.h"

/* Replaces the lists of files by lists without sizes. */
static void definition_submitted_drop_sizes(json_t *object, uint32_t students)
{
    uint32_t *all = bw_alloc_array(students, sizeof *all);
    for (uint32_t i = 0; i < students; i++)
        all[i] = i;
    run_files_select(object, all, students);
    free(all);
}

json_t *definition_submitted(const struct definition *definition)
{
    const json_t *stored = definition_object(definition);
    uint32_t students = (uint32_t)json_array_size(definition_students(definition));
    json_t *object = json_copy((json_t *)(uintptr_t)stored); /* does not change its argument */
    json_object_del(object, "rerun");
    if (!is_course_definition(stored)) {
        definition_submitted_drop_sizes(object, students);
        return object;
    }
    json_t *run = json_copy(json_object_get(stored, "run"));
    definition_submitted_drop_sizes(run, students);
    json_object_set_new(object, "run", run);
    return object;
}
