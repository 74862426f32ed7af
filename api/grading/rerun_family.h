/*
 * rerun_family: a run and its reruns, those of reruns included, and which students of the run each
 * of them has. Waits for the database, so it is used on the thread pool. A family belongs to one
 * thread at a time.
 */
#ifndef API_GRADING_RERUN_FAMILY_H
#define API_GRADING_RERUN_FAMILY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/run_store.h"

struct api;

struct family_member {
    struct run run;
    uint32_t *students; /* by its own students: the position in the family's first run, ascending;
                           own; NULL: all, in the first run itself */
};

struct rerun_family {
    struct family_member *members; /* own; first the run, then its reruns, earlier ones first */
    uint32_t count;
};

/* Makes a family of the run alone. Takes `run`. */
void rerun_family_begin(struct rerun_family *family, const struct run *run);

/* Adds its reruns. One that is being removed is left out. BW_BAD_REQUEST: there are too
 * many. BW_UNAVAILABLE, BW_INTERNAL. After a failure the caller clears the family. */
enum bw_code rerun_family_read(struct rerun_family *family, struct api *api, struct bw_error *error)
    BW_CHECKED;

/* Frees what it owns, not itself. */
void rerun_family_clear(struct rerun_family *family);

/* The position in the first run of a member's student. */
uint32_t family_member_position(const struct family_member *member, uint32_t student);

/* The member's first student at or after that position in the first run; their number if there is
 * none. */
uint32_t family_member_student(const struct family_member *member, uint32_t position);

/* The bytes that it holds. */
size_t rerun_family_held(const struct rerun_family *family);

#endif
