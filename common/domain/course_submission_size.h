/*
 * course_submission_size: the size of the jobs of a course's run (common/domain/job_size.h),
 * computed from its definition (common/domain/course_definition.h), and the refusal of a run that
 * is too large. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_COURSE_SUBMISSION_SIZE_H
#define COMMON_DOMAIN_COURSE_SUBMISSION_SIZE_H

#include <jansson.h>

#include "common/domain/submission_limits.h"
#include "common/base/error.h"

/* `object` is from course_definition_make. BW_BAD_REQUEST: a stage's program can't be started with
 * its arguments and environment (exec_size.h). BW_TOO_LARGE: a job, or the run, exceeds the limits;
 * the sentence names the pipeline, the stage, the student and the size. */
enum bw_code course_submission_check_size(const json_t *object,
                                          const struct submission_limits *limits,
                                          struct bw_error *error) BW_CHECKED;

#endif
