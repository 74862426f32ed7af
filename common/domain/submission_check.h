/*
 * submission_check: what a submission of the classic protocol may contain: the tables of its keys
 * and their limits, with the sentences that refuse it. submission_size.h checks what the run's jobs
 * become when expanded; course_submission_check.h is the same for the course protocol, and takes
 * from here what stages have in common. Callers: run_definition.c, these two. Pure; safe from any
 * thread.
 */
#ifndef COMMON_DOMAIN_SUBMISSION_CHECK_H
#define COMMON_DOMAIN_SUBMISSION_CHECK_H

#include <jansson.h>
#include <stdbool.h>

#include "common/domain/submission_limits.h"
#include "common/base/error.h"
#include "common/domain/job.h"

/* Linux's limit of a host name, in bytes. */
enum { HOST_NAME_LONGEST = 64 };

/* Checks what was submitted by the tables, level by level. */
enum bw_code submission_check_fields(const json_t *object, const struct submission_limits *limits,
                                     struct bw_error *error) BW_CHECKED;

/* No stage of that kind of job has two keys that mean the same, with different values. */
enum bw_code submission_check_synonyms(const json_t *object, enum job_kind kind,
                                       struct bw_error *error) BW_CHECKED;

/* Does what was stored have the shape on which run_definition.c relies? Keys that a newer version
 * may have added are fine. */
bool definition_is_sound(const json_t *object);

/* Checks of a stage's values, for tables of fields in either protocol. `context` of the first is a
 * struct submission_limits. */
enum bw_code stage_check_privileged(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error) BW_CHECKED;
enum bw_code stage_check_timeout(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error) BW_CHECKED;

/* Checks a size in bytes: digits, optionally followed by a unit. */
enum bw_code stage_check_size(const json_t *value, const char *path, const void *context,
                              struct bw_error *error) BW_CHECKED;

/* Checks a user of a container: NAME or NAME:GROUP, each [A-Za-z0-9_][A-Za-z0-9_.-]*. */
enum bw_code stage_check_user(const json_t *value, const char *path, const void *context,
                              struct bw_error *error) BW_CHECKED;

/* Checks the path of a file with scores: /DIRECTORY/…/NAME, of [A-Za-z0-9_.-], without "." and ".."
 * as names. */
enum bw_code stage_check_results(const json_t *value, const char *path, const void *context,
                                 struct bw_error *error) BW_CHECKED;

/* Checks that no argument is too long for starting a program. */
enum bw_code stage_check_entrypoint(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error) BW_CHECKED;

/* Names of variables whose values the grader masks. */
enum bw_code stage_check_secret_env(const json_t *value, const char *path, const void *context,
                                    struct bw_error *error);

/* Rows of a table of a stage's fields, for both protocols: what the stage's container may use. Two
 * bounds are Linux's: a quota of processor time is at least 1 ms in 100 ms, a process id at most
 * 2^22. */
#define STAGE_CONFINEMENT_FIELDS                                                   \
    {.name = "cpus", .kind = FIELD_NUMBER, .minimum = 0.01, .maximum = 1024},      \
        {.name = "pids", .kind = FIELD_INTEGER, .minimum = 1, .maximum = 4194304}, \
        {.name = "disk",                                                           \
         .kind = FIELD_STRING,                                                     \
         .minimum = 1,                                                             \
         .maximum = 32,                                                            \
         .check = stage_check_size},                                               \
        {.name = "user",                                                           \
         .kind = FIELD_STRING,                                                     \
         .minimum = 1,                                                             \
         .maximum = 256,                                                           \
         .check = stage_check_user},                                               \
        {.name = "read_only", .kind = FIELD_BOOLEAN},                              \
    {                                                                              \
        .name = "secret_env", .kind = FIELD_STRING_LIST, .maximum = 64,            \
        .check = stage_check_secret_env                                            \
    }

/* Row of such a table: where a stage leaves its scores. */
#define STAGE_RESULTS_FIELD                                                     \
    {                                                                           \
        .name = "results", .kind = FIELD_STRING, .minimum = 1, .maximum = 1024, \
        .check = stage_check_results                                            \
    }

/* The stages of that kind of job, borrowed; NULL: there is no such job. A sound definition always
 * has student jobs' stages. */
const json_t *definition_pipeline(const json_t *object, enum job_kind kind);

/* Their key. Static. */
const char *definition_pipeline_name(enum job_kind kind);

#endif
