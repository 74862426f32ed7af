/*
 * course_size: how large the jobs of a course's run are (common/domain/job_size.h), from its
 * definition (common/domain/course_definition.h). Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_COURSE_SIZE_H
#define COMMON_DOMAIN_COURSE_SIZE_H

#include <jansson.h>

#include "common/domain/run_definition.h"
#include "common/base/error.h"

/* `object` is what course_definition_make made. BW_BAD_REQUEST: a stage's program can't be started
 * with its arguments and environment (exec_size.h). BW_TOO_LARGE: a job, or the run, is larger than
 * the limits say; the sentence names the pipeline, the stage, the student and the size. */
enum bw_code course_definition_check_size(const json_t *object,
                                          const struct definition_limits *limits,
                                          struct bw_error *error) BW_CHECKED;

#endif
