/*
 * submission_size: whether the environments of a classic run's jobs resolve, whether programs can
 * be started with them, and how large the jobs are (common/domain/job_size.h). For
 * run_definition.c, which has checked the shape before (submission_check.h). Pure; safe from any
 * thread.
 */
#ifndef COMMON_DOMAIN_SUBMISSION_SIZE_H
#define COMMON_DOMAIN_SUBMISSION_SIZE_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/domain/job.h"
#include "common/domain/job_size.h"

/* Checks all jobs of a kind and adds them to `size`. Without students the references of the student
 * pipeline are not resolved and not checked. BW_BAD_REQUEST (also: a stage's program can't be
 * started with its arguments and environment, exec_size.h), BW_TOO_LARGE. */
enum bw_code submission_check_jobs(const json_t *object, enum job_kind kind, struct run_size *size,
                                   struct bw_error *error) BW_CHECKED;

/* Called when all kinds are added. BW_TOO_LARGE: the run is larger than the limit. */
enum bw_code submission_check_size(const json_t *object, const struct run_size *size,
                                   struct bw_error *error) BW_CHECKED;

#endif
