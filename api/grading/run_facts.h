/*
 * run_facts: collects from the stores what run_status needs, reading as little as is exact. Waits
 * for the database: for the thread pool's threads. No state; safe from any thread.
 *
 * What the run's summary knows as ended is not read again. Of the rest, in order: the first leases,
 * up to the first chunk in which there is none (first attempts are handed out in order, in batches
 * smaller than a chunk); results of jobs that were handed out; further attempts of those whose
 * first one ended. A result that was acknowledged before the reading began is always seen, since
 * its lease was there even earlier.
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
    int64_t last_result_ms; /* date of the latest result that was read; 0: none was */
};

/* Reads the facts of `run`; what graders sent is read later, by result_texts.h. On BW_OK
 * run_facts_clear is owed. BW_UNAVAILABLE. */
enum bw_code run_facts_read(const struct run_facts_sources *sources, const struct run *run,
                            struct run_facts_found *found, struct bw_error *error) BW_CHECKED;

void run_facts_clear(struct run_facts_found *found);

#endif
