/*
 * course_definition: the definition of a grading run of the course protocol: the assignment's
 * config at the time of the run's start, and the environments of the run. The stored form:
 *
 *     {"course": C, "assignment": A, "config": {...}, "run": {"students_env": [...], ...}}
 *
 * course_submission_check.h says what these may contain. This module has the environment of a
 * stage and the body of a hand-out. A stage's env is an object, merged in this order (later values
 * win): the config's env and GRADING_RUN_ID; the stage's own; the run's env for that job and
 * GRADING_JOB_ID. There are no references (`$X`, ""): values of any JSON type are passed on
 * unchanged. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_COURSE_DEFINITION_H
#define COMMON_DOMAIN_COURSE_DEFINITION_H

#include <jansson.h>
#include <stdbool.h>

#include "common/base/error.h"
#include "common/domain/job.h"

/* Makes the stored object of a run; all arguments are borrowed, and were checked
 * (course_submission_check.h). On BW_OK *object is a new reference. */
enum bw_code course_definition_make(const char *course, const char *assignment, json_t *config,
                                    json_t *run, json_t **object, struct bw_error *error)
    BW_CHECKED;

/* Whether a stored object is a complete course definition. */
bool is_course_definition(const json_t *object);
bool course_definition_is_sound(const json_t *object);

/* The stages of that kind of job, borrowed; NULL: there is no such job. Null and [] both mean none
 * before and after; students' jobs always have a list. */
const json_t *course_definition_pipeline(const json_t *object, enum job_kind kind);

/* The same of a config. */
const json_t *course_config_pipeline(const json_t *config, enum job_kind kind);

/* Their key in a config. Static. */
const char *course_pipeline_name(enum job_kind kind);

/* The key of the run's environment (of students' jobs: environments) for jobs of that kind.
 * Static. */
const char *course_env_name(enum job_kind kind);

/* The run's environment for a job of that kind, borrowed; NULL: there is none. `index` counts
 * students. */
json_t *course_definition_job_env(const json_t *object, enum job_kind kind, size_t index);

/* The environments of the students, one per job; borrowed. */
const json_t *course_definition_students(const json_t *object);

/* The receiver of a hand-out. A grader that polls gets it in the envelope of answers. A grader with
 * a websocket gets it without envelope, and without `logs` where that has the default (the grader's
 * schema lacks the key). */
enum course_grader { COURSE_GRADER_HTTP, COURSE_GRADER_SOCKET };

/* {"grading_job_id", "stages"}; new text, free(). BW_NOT_FOUND: the run has no such job. */
enum bw_code course_job_payload(const json_t *object, const struct job_id *job,
                                enum course_grader grader, char **payload, struct bw_error *error)
    BW_CHECKED;

/* The stages of a job that the run has, as they are handed out. New reference. */
json_t *course_job_stages(const json_t *object, const struct job_id *job,
                          enum course_grader grader);

/* The length of an env value as text: a string is unchanged, any other value is converted to JSON.
 * Pure. */
size_t course_value_length(const json_t *value);

/* {NAME: [distinct values over the job's stages]}. New reference; NULL: no memory, or no such job.
 */
json_t *course_job_env(const json_t *object, const struct job_id *job);

#endif
