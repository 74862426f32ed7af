/*
 * job_cancel: ends one job as cancelled, by a client's request. The result `cancelled` is inserted
 * like any result, so it counts if it is the first one: whatever races with it (a hand-out, a
 * grader's result, the cancelling of the run), the job has one result. Before that the run is
 * marked, so that readers look for results of jobs that were never handed out. The scheduler sees
 * the result and drops the job from its queue, or the job's lease. A job that was superseded stays
 * so; the grader that goes on with it is stopped, and what it reports is refused. Callers: handlers
 * of both protocols, on the thread pool.
 */
#ifndef API_GRADING_JOB_CANCEL_H
#define API_GRADING_JOB_CANCEL_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/domain/job.h"
#include "common/store/run_store.h"

struct api;
struct exchange;

struct job_cancel_outcome {
    const char *job;   /* its id; borrowed */
    enum bw_code code; /* BW_OK: it is cancelled, now or before, or it was superseded and no
                          grader goes on with it any more. BW_CONFLICT: it has ended
                          otherwise, or its run is not under way. BW_UNAVAILABLE: unknown */
    enum job_outcome
        outcome;           /* the job's; OUTCOME_NONE: its run is not started, or it is unknown */
    struct bw_error error; /* why it is refused */
};

struct job_cancel_request {
    const struct run *run; /* as read for this request; borrowed */
    uint32_t slot;         /* of the job in the run */
    struct exchange *exchange;
    /* Answers the exchange. Called once, from any thread, perhaps before job_cancel_begin returns.
     */
    void (*answer)(struct exchange *exchange, const struct job_cancel_outcome *outcome);
};

/* Begins the cancelling of a job. `request` is copied. Waits for the database. */
void job_cancel_begin(struct api *api, const struct job_cancel_request *request);

#endif
