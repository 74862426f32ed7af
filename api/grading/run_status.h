/*
 * run_status: writes the status of a run, as a function of the run, its definition and the facts of
 * its jobs, piece by piece. No clock; no I/O except in `result`. run_facts.h collects the facts;
 * status_answer.h sends the answer. Safe from any thread; a struct run_status belongs to one thread
 * at a time.
 *
 * Status of a job: Created (the run is not started, or has not reached the job's phase), Queued,
 * Running (handed out, without a result), Finished. In a run that is over every job is Finished; a
 * job without a result of its own has the outcome cancelled. Progress: `total` counts all jobs, pre
 * and post included. Each job is in at most one of the other counts: a Created job in none of them,
 * a Finished job in that of its outcome.
 */
#ifndef API_GRADING_RUN_STATUS_H
#define API_GRADING_RUN_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/domain/run_definition.h"
#include "common/base/error.h"
#include "common/domain/run.h"
#include "common/store/run_store.h"
#include "common/base/text_buffer.h"

/* The facts of one job. */
struct job_fact {
    enum job_outcome outcome; /* OUTCOME_NONE: no result yet */
    uint32_t attempts;        /* the number of leases, including a live one, excluding released and
                                 returned ones */
    bool is_live;             /* a lease of the job has not ended */
    bool is_returned;         /* a grader has returned it; not set for jobs with an outcome */
    enum job_owner owner;     /* of a failure, or of a job that was cancelled alone */
};

/* The part of the status that is shown. */
struct run_view {
    bool with_students, with_results;
    enum job_outcome outcome; /* only students whose jobs have it; OUTCOME_NONE: all */
    const char *student;    /* only those of this filter (student_filter.h), borrowed; NULL: all */
    uint32_t offset, limit; /* range of student_statuses, of those that are wanted; progress and
                               state count all */
};

/* The run's phase by the facts, one per slot (common/domain/run.h). A run that is stored as over
 * stays over. */
enum run_phase run_status_phase(const struct run *run, const struct job_fact *facts);

/* The state of a job in a run of that phase: "Created", "Queued", "Running" or "Finished".
 * Static. */
const char *run_status_job_state(const struct job_fact *fact, enum run_phase phase,
                                 enum job_kind kind);

/* Its outcome: that of its result; cancelled if its run was over before it had one. */
enum job_outcome run_status_job_outcome(const struct job_fact *fact, enum run_phase phase);

/* Why a job never ran, if its run was over before; else NULL. Static. */
const char *run_status_job_left_over(const struct job_fact *fact, enum run_phase phase);

/* Whether any job waits for a grader. */
bool run_status_has_queued(const struct run *run, const struct job_fact *facts);

/* Whether any job waits that a grader has returned. */
bool run_status_has_returned(const struct run *run, const struct job_fact *facts);

/* An answer that is being written. The caller sets the members up to `context`, and zeroes the
 * others. All pointers are borrowed. */
struct run_status {
    const struct run *run;
    const struct definition *definition; /* may be NULL if no student is shown */
    const struct job_fact *facts;
    struct run_view view;
    int64_t last_result_ms;  /* date of the latest result (UTC ms), which is shown as the end of a
                                run whose end is not stored yet; 0: unknown */
    const char *waiting_for; /* NULL: nothing is missing */
    const json_t *paused;    /* the pause that holds back its jobs; NULL: none does */
    /* With results: appends the result of the job in `slot`, which has an outcome, as JSON, or the
     * reason in its place; then the members "note" (if it was repaired or cut), "files", "score",
     * "max_score", "tests" and "signature" that it has. */
    enum bw_code (*result)(void *context, uint32_t slot, struct text_buffer *text,
                           struct bw_error *error);
    void *context;

    bool is_begun;
    enum run_phase phase;
    uint32_t next, end; /* the slots of the students that may still be shown */
    uint32_t shown;     /* how many were */
};

/* Appends the member "paused", with a comma before, unless `paused` is NULL. */
void run_status_write_pause(const json_t *paused, struct text_buffer *text);

/* Whether some students are not wanted. */
bool run_view_is_filtered(const struct run_view *view);

/* Appends the members "name", "labels", "class" (unless it is normal), "requires", "submitter",
 * "rerun_of", "reruns" and "drift", if the run has them, each
 * with a comma before. */
void run_status_write_links(const struct run *run, struct text_buffer *text);

/* Appends the next piece: a student's job, or everything before or after the students. *is_last:
 * the answer is complete. Fails only if `result` does, with its code. */
enum bw_code run_status_write(struct run_status *status, struct text_buffer *text, bool *is_last,
                              struct bw_error *error) BW_CHECKED;

#endif
