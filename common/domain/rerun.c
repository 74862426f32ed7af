#include "common/domain/rerun.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/domain/course_definition.h"
#include "common/domain/failure_signature.h"
#include "common/domain/run_files.h"
#include "common/domain/scheduling.h"
#include "common/domain/supersede.h"

enum { STEP_DOWN = 10, LEAST_PRIORITY = -100, MOST_PRIORITY = 100 };
enum { MOST_COMPARISONS = 10 * 1000 * 1000 };

static enum bw_code check_select(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error);
static enum bw_code check_signature(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error);
static enum bw_code check_students(const json_t *value, const char *path, const void *context,
                                   struct bw_error *error);

const struct json_field rerun_fields[] = {
    {.name = "select", .kind = FIELD_STRING, .check = check_select},
    {.name = "signature", .kind = FIELD_STRING, .check = check_signature},
    {.name = "students", .kind = FIELD_ANY, .check = check_students},
    {.name = "priority",
     .kind = FIELD_INTEGER,
     .minimum = LEAST_PRIORITY,
     .maximum = MOST_PRIORITY},
    {.name = "class", .kind = FIELD_STRING, .check = run_class_check},
    {.name = NULL},
};

/* ---- Checks ---- */

static enum bw_code check_select(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error)
{
    const char *text = json_string_value(value);
    (void)context;
    if (strcmp(text, "all") == 0 || strcmp(text, "failed") == 0 || strcmp(text, "cancelled") == 0)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: must be all, failed or cancelled", path);
}

static enum bw_code check_signature(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error)
{
    (void)context;
    if (is_failure_signature(json_string_value(value)))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: must be the signature of a failure: %d hex digits",
                   path, SIGNATURE_SIZE - 1);
}

static enum bw_code check_students(const json_t *value, const char *path, const void *context,
                                   struct bw_error *error)
{
    size_t index;
    json_t *item;
    (void)context;
    enum bw_code code = json_check_list(value, path, error);
    if (code != BW_OK)
        return code;
    json_array_foreach (value, index, item) {
        bool is_position = json_is_integer(item) && json_integer_value(item) >= 0;
        if (!is_position && json_object_size(item) == 0)
            return bw_fail(error, BW_BAD_REQUEST,
                           "%s[%zu]: must be the position of a student, from 0, or an object with "
                           "variables of the student's environment",
                           path, index);
    }
    return BW_OK;
}

/* ---- Selecting ---- */

/* The students that are selected, by position. */
struct selection {
    const json_t *students;
    const enum job_outcome *outcomes;
    bool *is_selected;
    uint32_t count;
};

static void select_student(struct selection *selection, uint32_t position)
{
    selection->count += !selection->is_selected[position];
    selection->is_selected[position] = true;
}

static void select_by_outcome(struct selection *selection, const char *select)
{
    enum job_outcome wanted = strcmp(select, "failed") == 0 ? OUTCOME_FAILED : OUTCOME_CANCELLED;
    bool is_all = strcmp(select, "all") == 0;
    for (uint32_t i = 0; i < json_array_size(selection->students); i++)
        if (selection->outcomes[i] == wanted ||
            (is_all && selection->outcomes[i] != OUTCOME_SUPERSEDED))
            select_student(selection, i);
}

static bool has_members(const json_t *student, const json_t *members)
{
    const char *name;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)members, name, value)
        if (!json_equal(json_object_get(student, name), value))
            return false;
    return true;
}

/* Selects the students that an item of the list names. False: there is none. */
static bool select_item(struct selection *selection, const json_t *item)
{
    bool is_found = false;
    json_int_t position = json_integer_value(item);
    uint32_t size = (uint32_t)json_array_size(selection->students);
    if (json_is_integer(item)) {
        if (position < size)
            select_student(selection, (uint32_t)position);
        return position < size;
    }
    for (uint32_t i = 0; i < size; i++)
        if (has_members(json_array_get(selection->students, i), item)) {
            select_student(selection, i);
            is_found = true;
        }
    return is_found;
}

/* Each variable is compared with every student. */
static enum bw_code check_effort(const struct selection *selection, const json_t *list,
                                 struct bw_error *error)
{
    size_t index, variables = 0;
    json_t *item;
    json_array_foreach (list, index, item)
        variables += json_object_size(item);
    if (variables * json_array_size(selection->students) <= MOST_COMPARISONS)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST,
                   "students: %zu variables are too many to name students by their environments: "
                   "name them by their positions",
                   variables);
}

static enum bw_code select_listed(struct selection *selection, const json_t *list,
                                  struct bw_error *error)
{
    size_t index;
    json_t *item;
    json_array_foreach (list, index, item)
        if (!select_item(selection, item))
            return bw_fail(error, BW_BAD_REQUEST,
                           "students[%zu]: the grading run has no such student", index);
    return BW_OK;
}

static enum bw_code rerun_select_all(const json_t *request, struct selection *selection,
                                     struct bw_error *error)
{
    const json_t *select = json_object_get(request, "select"),
                 *signature = json_object_get(request, "signature"),
                 *list = json_object_get(request, "students");
    if ((select != NULL) + (signature != NULL) + (list != NULL) != 1)
        return bw_fail(error, BW_BAD_REQUEST,
                       "exactly one of 'select', 'signature' and 'students' must say who is graded "
                       "again");
    if (list == NULL)
        select_by_outcome(selection, select != NULL ? json_string_value(select) : "failed");
    enum bw_code code = check_effort(selection, list, error);
    if (code == BW_OK)
        code = select_listed(selection, list, error);
    if (code == BW_OK && selection->count == 0)
        return bw_fail(error, BW_BAD_REQUEST, "no student of the grading run is selected");
    return code;
}

enum bw_code rerun_select(const json_t *request, const json_t *students,
                          const enum job_outcome *outcomes, uint32_t **selected, uint32_t *count,
                          struct bw_error *error)
{
    uint32_t size = (uint32_t)json_array_size(students), next = 0;
    struct selection selection = {students, outcomes,
                                  bw_alloc_array(size, sizeof *selection.is_selected), 0};
    enum bw_code code = rerun_select_all(request, &selection, error);
    if (code == BW_OK) {
        *selected = bw_alloc_array(selection.count, sizeof **selected);
        *count = selection.count;
        for (uint32_t i = 0; i < size; i++)
            if (selection.is_selected[i])
                (*selected)[next++] = i;
    }
    free(selection.is_selected);
    return code;
}

/* ---- The new run ---- */

int rerun_priority(const json_t *request, int earlier)
{
    const json_t *priority = json_object_get(request, "priority");
    int lower = earlier - STEP_DOWN;
    if (priority != NULL)
        return (int)json_integer_value(priority);
    return lower < LEAST_PRIORITY ? LEAST_PRIORITY : lower;
}

/* Replaces the list of students, and keeps their files. Where the object has them depends on the
 * protocol. */
static void rerun_set_students(json_t *object, json_t *students, const uint32_t *selected,
                               uint32_t count)
{
    if (!is_course_definition(object)) {
        json_object_set_new(object, "students", students);
        run_files_select(object, selected, count);
        supersede_remove(object);
        return;
    }
    json_t *run = json_copy(json_object_get(object, "run"));
    json_object_set_new(run, course_env_name(JOB_STUDENT), students);
    run_files_select(run, selected, count);
    supersede_remove(run);
    json_object_set_new(object, "run", run);
}

json_t *rerun_object(const struct definition *earlier, const uint32_t *selected, uint32_t count)
{
    json_t *students = json_array();
    json_t *object = json_copy(
        (json_t *)(uintptr_t)definition_object(earlier)); /* does not change its argument */
    for (uint32_t i = 0; i < count; i++)
        json_array_append(students, json_array_get(definition_students(earlier), selected[i]));
    json_object_del(object, "rerun"); /* if the earlier run is a rerun itself */
    rerun_set_students(object, students, selected, count);
    return object;
}

/* A class of the request replaces that of the earlier run. The object with the run's arguments is
 * the new run's own (rerun_object). */
static void rerun_set_class(json_t *object, const json_t *request)
{
    json_t *run_class = json_object_get(request, "class");
    json_t *run = is_course_definition(object) ? json_object_get(object, "run") : object;
    if (run_class != NULL)
        json_object_set(run, "class", run_class);
}

struct definition *rerun_define(json_t *object, const char *earlier_id, json_t *request,
                                const uint32_t *selected, uint32_t count)
{
    json_t *positions = json_array();
    rerun_set_class(object, request);
    for (uint32_t i = 0; i < count; i++)
        json_array_append_new(positions, json_integer(selected[i]));
    json_object_set_new(
        object, "rerun",
        json_pack("{s:s,s:O,s:o}", "of", earlier_id, "request", request, "students", positions));
    return definition_take(object);
}

const json_t *rerun_students(const struct definition *definition)
{
    return json_object_get(json_object_get(definition_object(definition), "rerun"), "students");
}
