/*
 * definition_size: whether the environments of a classic run's jobs resolve, whether programs can
 * be started with them, and how large the jobs are (common/domain/job_size.h). For
 * definition_shape.c, which has checked the shape before. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_DEFINITION_SIZE_H
#define COMMON_DOMAIN_DEFINITION_SIZE_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/domain/job.h"
#include "common/domain/job_size.h"

/* Checks all jobs of a kind and adds them to `size`. With no students the student pipeline is not
 * resolved: nothing in it is refused for a missing name. BW_BAD_REQUEST (also: a stage's program
 * can't be started with its arguments and environment, exec_size.h), BW_TOO_LARGE. */
enum bw_code definition_check_jobs(const json_t *object, enum job_kind kind, struct run_size *size,
                                   struct bw_error *error) BW_CHECKED;

/* When all kinds are added. BW_TOO_LARGE: the run is larger than the limit. */
enum bw_code definition_check_size(const json_t *object, const struct run_size *size,
                                   struct bw_error *error) BW_CHECKED;

#endif
