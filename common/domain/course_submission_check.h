/*
 * course_submission_check: what an assignment's config and a run of the course protocol may
 * contain: the tables of their keys, with the sentences that refuse them. course_submission_size.h
 * checks how large the run's jobs become. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_COURSE_SUBMISSION_CHECK_H
#define COMMON_DOMAIN_COURSE_SUBMISSION_CHECK_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/base/json.h"

/* For json_check, whose context is a struct submission_limits. */
extern const struct json_field course_config_fields[];
extern const struct json_field course_run_fields[];

/* Both were checked by their tables. BW_BAD_REQUEST: the run has an env for a step that the config
 * lacks, or its files don't fit together (common/domain/run_files.h). */
enum bw_code course_submission_check_steps(const json_t *config, const json_t *run,
                                           struct bw_error *error) BW_CHECKED;

#endif
