/*
 * job_size: the size of a grading run's jobs with expanded environments, and its limits. A job's
 * size is the size of its stages as they are handed out, in bytes of JSON; a run's size is the sum
 * over its jobs. submission_size.h and course_submission_size.h compute it from the submission,
 * without building the jobs, in time proportional to the submitted text. Pure; safe from any
 * thread.
 *
 * exec_size.h checks whether Linux can start a stage's program.
 */
#ifndef COMMON_DOMAIN_JOB_SIZE_H
#define COMMON_DOMAIN_JOB_SIZE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/domain/submission_limits.h"
#include "common/base/error.h"
#include "common/domain/job.h"

/* The size of a value as compact JSON, and of a string of `length` bytes with its quotes. */
size_t json_text_bytes(const json_t *value);
size_t json_string_bytes(const char *text, size_t length);

/* A job that is added to a run. */
struct sized_job {
    enum job_kind kind;
    size_t student; /* its index, of a student's job */
    uint64_t bytes;
};

struct run_size {
    const struct submission_limits *limits;
    uint64_t bytes;
    struct sized_job largest; /* of all that were added */
};

/* False: the job is larger than the limit. */
bool run_size_add(struct run_size *size, const struct sized_job *job) BW_CHECKED;

/* Called when all are added. False: together they are larger than the limit. */
bool run_size_fits(const struct run_size *size) BW_CHECKED;

/* The errors, BW_TOO_LARGE. `stage` of `pipeline` (its key) has the largest part of the job, or of
 * the largest job. */
enum bw_code run_size_refuse_job(const struct run_size *size, const struct sized_job *job,
                                 const char *pipeline, size_t stage, struct bw_error *error)
    BW_CHECKED;
enum bw_code run_size_refuse(const struct run_size *size, const char *pipeline, size_t stage,
                             struct bw_error *error) BW_CHECKED;

#endif
