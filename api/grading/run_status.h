/*
 * run_status: the answer to "how is this run?", as a function of the run, its definition and a few
 * facts per job, written piece by piece. No I/O but what `result` does, no clock. run_facts.h
 * collects the facts, status_answer.h sends the answer.
 *
 * status of a job: Created (run not started, or the job's phase not reached), Queued, Running
 * (handed out, no result), Finished. In a run that is over every job is Finished; one without a
 * result of its own has the outcome cancelled. progress: total counts all jobs, pre and post
 * included; every job is in at most one of the other counts: those that are Created are in none but
 * total, those that are Finished in that of their outcome.
 */
#ifndef API_GRADING_RUN_STATUS_H
#define API_GRADING_RUN_STATUS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/domain/run_definition.h"
#include "common/base/error.h"
#include "common/domain/run.h"
#include "common/store/run_store.h"
#include "common/base/text_buffer.h"

/* What is known of one job. */
struct job_fact {
    enum job_outcome outcome; /* OUTCOME_NONE: no result yet */
    uint32_t attempts;        /* leases that counted: released ones don't, one that runs does */
    bool is_live;             /* its last lease has not ended */
};

/* What is to be shown. */
struct run_view {
    bool with_students, with_results;
    uint32_t offset, limit; /* of student_statuses; progress and state are of all */
};

/* The phase by the facts, a fact per slot (common/domain/run.h); what is on record as over stays
 * so. */
enum run_phase run_status_phase(const struct run *run, const struct job_fact *facts);

/* Does any job wait for a grader? */
bool run_status_has_queued(const struct run *run, const struct job_fact *facts);

/* An answer that is being written; all but its place in it is set by the caller. */
struct run_status {
    const struct run *run;
    const struct definition *definition; /* may be NULL if no student is to be shown */
    const struct job_fact *facts;
    struct run_view view;
    int64_t last_result_ms;  /* the date of the latest result, which stands for the end of a run
                                whose end is not on record yet; 0: not known */
    const char *waiting_for; /* static; NULL: nothing that is missing */
    /* With results: adds what the grader of a job that has an outcome sent, as JSON, or the reason
     * in its place; behind it, where it was mended or cut, a member "note". */
    enum bw_code (*result)(void *context, uint32_t slot, struct text_buffer *text,
                           struct bw_error *error);
    void *context;

    bool is_begun;
    enum run_phase phase;
    uint32_t next, end; /* the students that are still to be shown, as slots */
};

/* Adds the next piece: a student's job, or all that comes before or after them. *is_last: that was
 * the end. Fails only if `result` does. */
enum bw_code run_status_write(struct run_status *status, struct text_buffer *text, bool *is_last,
                              struct bw_error *error) BW_CHECKED;

#endif
