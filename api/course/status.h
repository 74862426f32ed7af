/*
 * course_status: the course protocol's answers to "how is this run?" and "with what environment?",
 * as functions of the run, its definition and a few facts per job, written piece by piece. No I/O;
 * safe from any thread, but each answer belongs to one at a time.
 *
 * A step's jobs show from the moment it begins; before, null stands for the one before or after,
 * and {} for the students'.
 */
#ifndef API_COURSE_STATUS_H
#define API_COURSE_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "api/grading/run_status.h"
#include "common/domain/run_definition.h"
#include "common/store/run_store.h"
#include "common/base/text_buffer.h"

/* "students grading jobs have been scheduled" and its like. Static. */
const char *course_run_state(enum run_phase phase);

/* Which of the two. */
enum course_answer_kind {
    COURSE_ANSWER_STATUS, /* {"state", "pre_processing_job_state", "post_processing_job_state",
                             "student_jobs_state"}, the last in the order of students; and
                             "waiting_for", unless that is NULL */
    COURSE_ANSWER_ENV     /* {"pre_processing_env", "post_processing_env", "student_env"} */
};

/* An answer that is being written; the caller sets all but its place in it. */
struct course_answer {
    enum course_answer_kind kind;
    const struct run *run;
    const struct definition *definition; /* for environments alone */
    const struct job_fact *facts;
    const char *waiting_for; /* of a status: static; NULL: nothing that is missing */

    bool is_begun;
    enum run_phase phase;
    unsigned step;         /* which member is being written */
    uint32_t index, count; /* the next job of it, of so many */
};

/* Adds the next piece, a job at most. True: that was the end. */
bool course_answer_write(struct course_answer *answer, struct text_buffer *text);

#endif
