/*
 * run_status: the answer to "how is this run?", as a pure function of the run, its definition and a
 * few facts per job. No I/O, no clock; safe from any thread. run_facts.h collects the facts.
 *
 * status of a job: Created (run not started, or the job's phase not reached), Queued, Running
 * (handed out, no result), Finished. In a run that is over every job is Finished; one without a
 * result of its own has the outcome cancelled. progress: total counts all jobs, pre and post
 * included; every job is in at most one of the other counts: those that are Created are in none but
 * total, those that are Finished in that of their outcome.
 */
#ifndef API_RUN_STATUS_H
#define API_RUN_STATUS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/definition.h"
#include "common/run.h"
#include "common/store/run_store.h"

/* What is known of one job. */
struct job_fact {
    enum job_outcome outcome; /* OUTCOME_NONE: no result yet */
    uint32_t attempts;        /* leases that counted: released ones don't, one that runs does */
    bool is_live;             /* its last lease has not ended */
    json_t *result; /* what the grader sent, or the reason; NULL: not asked for, or nothing; owned
                       by the facts */
    json_t *note;   /* what was mended or cut in it; the same */
};

/* What is to be shown. */
struct run_view {
    bool with_students, with_results;
    uint32_t offset, limit; /* of student_statuses; progress and state are of all */
};

/* The phase by the facts, a fact per slot (common/run.h); what is on record as over stays so. */
enum run_phase run_status_phase(const struct run *run, const struct job_fact *facts);

/* Does any job wait for a grader? */
bool run_status_has_queued(const struct run *run, const struct job_fact *facts);

/* The answer, in which "waiting_for" is `waiting_for` or null. `definition` may be NULL if no
 * student is to be shown. `last_result_ms`: the date of the latest result, which stands for the end
 * of a run whose end is not on record yet; 0: not known. New reference; NULL: no memory. */
json_t *run_status_answer(const struct run *run, const struct definition *definition,
                          const struct job_fact *facts, const struct run_view *view,
                          int64_t last_result_ms, const char *waiting_for);

#endif
