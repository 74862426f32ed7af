/*
 * supersede: the keys by which a newer run replaces jobs of older ones, in either protocol.
 *
 *     "supersede_key": "ada"                     a run of exactly one student
 *     "supersede_keys": ["ada", null, "grace"]   a key, or null, per student
 *     "supersede_share": 0.5                     how much of its usual time a job that runs must
 *                                                have had, so that it is not told to stop
 *
 * A key counts within its course and assignment; those of the classic protocol are one scope. A
 * run's document has a short digest of each scope and key. Callers: the checks of a submission, the
 * API's run creation, reruns. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_SUPERSEDE_H
#define COMMON_DOMAIN_SUPERSEDE_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum {
    SUPERSEDE_KEY_LONGEST = 200,   /* bytes */
    SUPERSEDE_DIGEST_BYTES = 12,   /* of a key, in a run's document; all zero: no key */
    SUPERSEDE_STUDENTS_MAX = 10000 /* of a run with keys: its document has a digest for each */
};

#define SUPERSEDE_SHARE_DEFAULT 0.5

/* The three fields of a run, for its table (common/base/json.h). */
#define SUPERSEDE_FIELDS                                                              \
    {.name = "supersede_key",                                                         \
     .kind = FIELD_STRING,                                                            \
     .minimum = 1,                                                                    \
     .maximum = SUPERSEDE_KEY_LONGEST,                                                \
     .check = supersede_check_key},                                                   \
        {.name = "supersede_keys", .kind = FIELD_ANY, .check = supersede_check_keys}, \
    {                                                                                 \
        .name = "supersede_share", .kind = FIELD_NUMBER, .minimum = 0, .maximum = 1   \
    }

/* Checks of the values, for that table. */
enum bw_code supersede_check_key(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error) BW_CHECKED;
enum bw_code supersede_check_keys(const json_t *value, const char *path, const void *context,
                                  struct bw_error *error) BW_CHECKED;

/* Checks what the fields of `object`, which were checked, must fulfil together with the number of
 * students. BW_BAD_REQUEST. Takes time in proportion to the keys. */
enum bw_code supersede_check_run(const json_t *object, size_t students, struct bw_error *error)
    BW_CHECKED;

/* The digests of the keys of `object`, SUPERSEDE_DIGEST_BYTES per student. `course` and
 * `assignment`: the scope ("" in the classic protocol). New, free(); NULL: the run has no keys. */
uint8_t *supersede_digests(const json_t *object, size_t students, const char *course,
                           const char *assignment);

/* The share of `object`, or the default. */
double supersede_share(const json_t *object);

/* Removes the three fields: a rerun does not inherit them. */
void supersede_remove(json_t *object);

#endif
