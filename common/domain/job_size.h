/*
 * job_size: how many bytes a grading run's jobs take once their environments are expanded, and what
 * is too many. A job's size is that of its stages as they are handed out, in bytes of JSON; a run's
 * is the sum of its jobs'. definition_size.h and course_size.h compute it from what was submitted,
 * without building anything, in time proportional to the submitted text. Pure; safe from any
 * thread.
 *
 * Whether Linux can start a stage's program is another question: exec_size.h.
 */
#ifndef COMMON_DOMAIN_JOB_SIZE_H
#define COMMON_DOMAIN_JOB_SIZE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/domain/run_definition.h"
#include "common/base/error.h"
#include "common/domain/job.h"

/* What a value takes as compact JSON; and a string of `length` bytes, with its quotes. */
size_t json_text_bytes(const json_t *value);
size_t json_string_bytes(const char *text, size_t length);

/* A job that is added to a run. */
struct sized_job {
    enum job_kind kind;
    size_t student; /* its index, of a student's job */
    uint64_t bytes;
};

struct run_size {
    const struct definition_limits *limits;
    uint64_t bytes;
    struct sized_job largest; /* of all that were added */
};

/* False: the job is larger than the limit. */
bool run_size_add(struct run_size *size, const struct sized_job *job) BW_CHECKED;

/* When all are added. False: together they are larger than the limit. */
bool run_size_fits(const struct run_size *size) BW_CHECKED;

/* The refusals, BW_TOO_LARGE. `stage` of `pipeline` (its key) is what takes most of the job, or of
 * the largest job. */
enum bw_code run_size_refuse_job(const struct run_size *size, const struct sized_job *job,
                                 const char *pipeline, size_t stage, struct bw_error *error)
    BW_CHECKED;
enum bw_code run_size_refuse(const struct run_size *size, const char *pipeline, size_t stage,
                             struct bw_error *error) BW_CHECKED;

#endif
