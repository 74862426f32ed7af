/*
 * course_definition: what a grading run of the course protocol is made of: the assignment's config
 * as it was when the run started, and the environments that came with the run. As it is stored:
 *
 *     {"course": C, "assignment": A, "config": {...}, "run": {"students_env": [...], ...}}
 *
 * The tables of what may stand in a config and in a run, the environment of a stage, and the body
 * of a hand-out. A stage's env is an object, merged, later wins: the config's env and
 * GRADING_RUN_ID; the stage's own; the run's for that job and GRADING_JOB_ID. No `$X`, no "" here:
 * values of any JSON type pass through. Pure; safe from any thread.
 */
#ifndef COMMON_DOMAIN_COURSE_DEFINITION_H
#define COMMON_DOMAIN_COURSE_DEFINITION_H

#include <jansson.h>
#include <stdbool.h>

#include "common/domain/run_definition.h"
#include "common/base/error.h"
#include "common/domain/job.h"
#include "common/base/json.h"

/* For json_check, whose context is a struct definition_limits. */
extern const struct json_field course_config_fields[];
extern const struct json_field course_run_fields[];

/* The stored object of a run; all are borrowed. An env must not be given for a step that the config
 * lacks: BW_BAD_REQUEST. course_size.h says whether its jobs are too large. On BW_OK *object is a
 * new reference. */
enum bw_code course_definition_make(const char *course, const char *assignment, json_t *config,
                                    json_t *run, json_t **object, struct bw_error *error)
    BW_CHECKED;

/* Is a stored object one of these, and is it whole? */
bool is_course_definition(const json_t *object);
bool course_definition_is_sound(const json_t *object);

/* The stages of that kind of job, borrowed; NULL: there is no such job. Null and [] both mean none
 * before and after; students' jobs always have a list. */
const json_t *course_definition_pipeline(const json_t *object, enum job_kind kind);

/* The key under which they stand in a config. Static. */
const char *course_pipeline_name(enum job_kind kind);

/* The run's environment for a job of that kind, borrowed; NULL: none was given. `index` counts
 * students. */
json_t *course_definition_job_env(const json_t *object, enum job_kind kind, size_t index);

/* The environments of the students, one per job; borrowed. */
const json_t *course_definition_students(const json_t *object);

/* To whom a hand-out is written: a grader that polls gets it in the envelope of answers, one with a
 * websocket bare, and without `logs` where that says the usual (its schema does not know the key).
 */
enum course_grader { COURSE_GRADER_HTTP, COURSE_GRADER_SOCKET };

/* {"grading_job_id", "stages"}; new text, free(). BW_NOT_FOUND: the run has no such job. */
enum bw_code course_job_payload(const json_t *object, const struct job_id *job,
                                enum course_grader grader, char **payload, struct bw_error *error)
    BW_CHECKED;

/* How long a value of an env is once a grader has made it text: a string as it is, anything else as
 * JSON. Pure. */
size_t course_value_length(const json_t *value);

/* {NAME: [distinct values over the job's stages]}. New reference; NULL: no memory, or no such job.
 */
json_t *course_job_env(const json_t *object, const struct job_id *job);

#endif
