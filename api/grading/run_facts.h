/*
 * run_facts: collects the facts for run_status from the stores, with as few reads as possible.
 * Waits for the database, so it is used on the thread pool. No state; safe from any thread.
 *
 * Jobs that have ended according to the run's summary are not read again. For the others it reads,
 * in this order: the first leases, up to the first chunk without any (first attempts are handed out
 * in order, in batches smaller than a chunk); the results of jobs that were handed out; the further
 * attempts of jobs whose first one ended. A result that was acknowledged before the reads began is
 * always found, since its lease was stored even earlier. If a job of the run was to be cancelled
 * alone, the results of all jobs are read first.
 */
#ifndef API_GRADING_RUN_FACTS_H
#define API_GRADING_RUN_FACTS_H

#include <stdint.h>

#include "api/grading/run_status.h"
#include "common/base/error.h"
#include "common/store/lease_store.h"
#include "common/store/result_store.h"

struct run_facts_sources {
    struct lease_store *leases;
    struct result_store *results;
};

struct run_facts_found {
    struct job_fact *jobs; /* by slot */
    uint32_t count;
    int64_t last_result_ms; /* date of the latest result that was read (UTC ms); 0: none was read */
    char reason[RETURN_REASON_SIZE]; /* of the latest lease that was read and had been returned */
};

/* Reads the facts of `run`, but no results' texts (see result_pages.h). On BW_OK the caller must
 * call run_facts_clear. BW_UNAVAILABLE. */
enum bw_code run_facts_read(const struct run_facts_sources *sources, const struct run *run,
                            struct run_facts_found *found, struct bw_error *error) BW_CHECKED;

void run_facts_clear(struct run_facts_found *found);

#endif
