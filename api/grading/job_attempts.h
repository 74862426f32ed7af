/*
 * job_attempts: the attempts of one job, as the endpoint of a job shows them. Reads the job's
 * leases and the graders that had them. Safe from any thread; waits for the database.
 */
#ifndef API_GRADING_JOB_ATTEMPTS_H
#define API_GRADING_JOB_ATTEMPTS_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/store/lease_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "common/store/worker_store.h"

struct job_attempts_sources {
    struct lease_store *leases;
    struct worker_store *workers;
    int64_t date_ms; /* the database's */
};

/* Writes a worker's id as the API shows it: without most of one that is its grader's credential. */
void job_attempts_show_worker(enum protocol protocol, const char *worker,
                              char shown[WORKER_ID_SIZE]);

/* Makes the list of the attempts of the job at `slot`: {"attempt", "worker"[, "hostname"],
 * "started_at", "ended_at", "end"[, "reason"]} in their order. `result` is the job's, NULL while it
 * has none. On BW_OK *attempts is a new reference. BW_UNAVAILABLE. */
enum bw_code job_attempts_make(const struct job_attempts_sources *sources, const struct run *run,
                               uint32_t slot, const struct result *result, json_t **attempts,
                               struct bw_error *error) BW_CHECKED;

#endif
