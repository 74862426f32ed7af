#include "api/grading/rerun_family.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/definition_cache.h"
#include "common/base/alloc.h"
#include "common/domain/rerun.h"

enum { MEMBERS_MAX = 201 /* each holds the summary of its run, and a place per student */ };

void rerun_family_begin(struct rerun_family *family, const struct run *run)
{
    family->members = bw_alloc(sizeof *family->members);
    family->members->run = *run;
    family->count = 1;
}

uint32_t family_member_position(const struct family_member *member, uint32_t student)
{
    return member->students != NULL ? member->students[student] : student;
}

uint32_t family_member_student(const struct family_member *member, uint32_t position)
{
    uint32_t low = 0, high = member->run.students;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (family_member_position(member, middle) < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Finds which students of the first run a rerun has, by those of the member that it repeats. */
static enum bw_code family_member_place(struct family_member *member,
                                        const struct family_member *earlier, struct api *api,
                                        struct bw_error *error)
{
    struct definition *definition;
    enum bw_code code = definition_cache_get(api->definitions, member->run.id, &definition, error);
    if (code != BW_OK)
        return code;
    const json_t *positions = rerun_students(definition);
    member->students = bw_alloc_array(member->run.students, sizeof *member->students);
    for (uint32_t i = 0; i < member->run.students; i++) {
        json_int_t position = json_integer_value(json_array_get(positions, i));
        if (position < 0 || position >= earlier->run.students) {
            definition_release(definition);
            return bw_fail(error, BW_INTERNAL, "the rerun '%s' has students of no earlier run",
                           member->run.id);
        }
        member->students[i] = family_member_position(earlier, (uint32_t)position);
    }
    definition_release(definition);
    return BW_OK;
}

/* Adds the rerun of a member. BW_NOT_FOUND: it is being removed. */
static enum bw_code rerun_family_add(struct rerun_family *family, uint32_t earlier, const char *id,
                                     struct api *api, struct bw_error *error)
{
    struct family_member member = {.students = NULL};
    enum bw_code code = run_store_read(api->run_store, id, &member.run, error);
    if (code != BW_OK)
        return code;
    code = family_member_place(&member, &family->members[earlier], api, error);
    if (code == BW_OK) {
        family->members = bw_grow(family->members, family->count + 1, sizeof *family->members);
        family->members[family->count++] = member;
        return BW_OK;
    }
    free(member.students);
    run_clear(&member.run);
    return code;
}

static int family_member_compare(const void *left, const void *right)
{
    const struct run *a = &((const struct family_member *)left)->run,
                     *b = &((const struct family_member *)right)->run;
    return a->created_ms != b->created_ms
               ? (a->created_ms > b->created_ms) - (a->created_ms < b->created_ms)
               : strcmp(a->id, b->id);
}

enum bw_code rerun_family_read(struct rerun_family *family, struct api *api, struct bw_error *error)
{
    for (uint32_t at = 0; at < family->count; at++)
        for (uint32_t i = 0; i < family->members[at].run.rerun_count; i++) {
            if (family->count == MEMBERS_MAX)
                return bw_fail(error, BW_BAD_REQUEST,
                               "the grading run '%s' has more than %d reruns, too many to merge: "
                               "read their results one by one",
                               family->members[0].run.id, MEMBERS_MAX - 1);
            char id[RUN_ID_SIZE];
            memcpy(id, family->members[at].run.reruns[i], sizeof id);
            enum bw_code code = rerun_family_add(family, at, id, api, error);
            if (code != BW_OK && code != BW_NOT_FOUND)
                return code;
        }
    qsort(family->members + 1, family->count - 1, sizeof *family->members, family_member_compare);
    return BW_OK;
}

void rerun_family_clear(struct rerun_family *family)
{
    for (uint32_t i = 0; i < family->count; i++) {
        free(family->members[i].students);
        run_clear(&family->members[i].run);
    }
    free(family->members);
    *family = (struct rerun_family){NULL, 0};
}

size_t rerun_family_held(const struct rerun_family *family)
{
    size_t held = family->count * sizeof *family->members;
    for (uint32_t i = 0; i < family->count; i++) {
        const struct family_member *member = &family->members[i];
        held += member->run.summary_length + member->run.rerun_count * (size_t)RUN_ID_SIZE;
        held += member->students != NULL ? member->run.students * sizeof *member->students : 0;
    }
    return held;
}
