/*
 * course_status: writes the course protocol's answers about a run: its status, or the environments
 * of its jobs. Each is a function of the run, its definition and the facts of its jobs, written
 * piece by piece. No I/O. Safe from any thread; a struct course_answer belongs to one thread at a
 * time.
 *
 * The jobs of a step are shown once the step has begun. Before that, the value is null for the job
 * before or after the students, and {} for the students.
 */
#ifndef API_COURSE_STATUS_H
#define API_COURSE_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "api/grading/run_status.h"
#include "common/domain/run_definition.h"
#include "common/store/run_store.h"
#include "common/base/text_buffer.h"

/* The text of a phase in this protocol, e.g. "students grading jobs have been scheduled".
 * Static. */
const char *course_run_state(enum run_phase phase);

/* The text of a job's state in this protocol, by its outcome; a job without one waits. Static. */
const char *course_job_outcome_state(enum job_outcome outcome);

/* The kind of the answer. */
enum course_answer_kind {
    COURSE_ANSWER_STATUS, /* {"state", "pre_processing_job_state", "post_processing_job_state",
                             "student_jobs_state"}, the last in the order of students; and
                             "owners": {job id: "infrastructure"}, if a failure has that; and
                             "waiting_for" and "paused", unless those are NULL; and "rerun_of" and
                             "reruns", if the run has them */
    COURSE_ANSWER_ENV     /* {"pre_processing_env", "post_processing_env", "student_env"} */
};

/* An answer that is being written. The caller sets the first six members, and zeroes the others.
 * All pointers are borrowed. */
struct course_answer {
    enum course_answer_kind kind;
    const struct run *run;
    const struct definition *definition; /* needed for COURSE_ANSWER_ENV */
    const struct job_fact *facts;
    const char *waiting_for; /* for COURSE_ANSWER_STATUS: what jobs wait for; NULL: nothing is
                                missing */
    const json_t *paused;    /* for the same: the pause that holds back its jobs; NULL: none does */

    bool is_begun;
    enum run_phase phase;
    unsigned step;         /* the member that is being written */
    uint32_t index, count; /* the next job of this member, and their number */
    bool has_owners;       /* the member "owners" has begun */
};

/* Adds the next piece, at most one job. True: the answer is complete. */
bool course_answer_write(struct course_answer *answer, struct text_buffer *text);

#endif
