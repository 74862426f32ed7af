/*
 * course_status: the course protocol's answers to "how is this run?" and "with what environment?",
 * as pure functions of the run, its definition and a few facts per job. No I/O; safe from any
 * thread.
 *
 * A step's jobs show from the moment it begins; before, null stands for the one before or after,
 * and {} for the students'.
 */
#ifndef API_COURSE_STATUS_H
#define API_COURSE_STATUS_H

#include <jansson.h>

#include "api/run_status.h"
#include "common/definition.h"
#include "common/store/run_store.h"

/* "students grading jobs have been scheduled" and its like. Static. */
const char *course_run_state(enum run_phase phase);

/* {"state", "pre_processing_job_state", "post_processing_job_state", "student_jobs_state"}, the
 * last in the order of students; and "waiting_for", unless that is NULL. New reference. */
json_t *course_status_answer(const struct run *run, const struct job_fact *facts,
                             const char *waiting_for);

/* {"pre_processing_env", "post_processing_env", "student_env"}. New reference. */
json_t *course_env_answer(const struct run *run, const struct definition *definition,
                          const struct job_fact *facts);

#endif
