/*
 * worker_fault: stores the sentence by which a registered grader says why it can't run jobs, or
 * that it can again. Callers: worker_heartbeat, the websockets' thread. Safe from any thread; no
 * function waits.
 */
#ifndef API_GRADING_WORKER_FAULT_H
#define API_GRADING_WORKER_FAULT_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/domain/job.h"
#include "common/domain/worker_fault.h"

struct api;

struct worker_fault {
    char worker[WORKER_ID_SIZE];
    int64_t epoch;                 /* of its registration; 0: not known */
    char fault[WORKER_FAULT_SIZE]; /* checked by worker_fault_check; "": it has none */
    /* Called once, from any thread. BW_OK: stored, or it was stored already. BW_UNAVAILABLE: say it
     * again. */
    void (*completed)(enum bw_code code, const struct bw_error *error, void *context);
    void *context;
};

/* Stores `said`, which is copied: an ordinary task of the thread pool. */
void worker_fault_store(struct api *api, const struct worker_fault *said);

#endif
