/*
 * job_results: reads the results of a run's jobs by their computed ids. For those who want to know
 * what became of jobs: a run's status, and recovery. Their leases are read by
 * common/store/job_leases.h. No state; safe from any thread; waits for the database.
 */
#ifndef COMMON_STORE_JOB_RESULTS_H
#define COMMON_STORE_JOB_RESULTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/result_store.h"
#include "common/store/run_jobs.h"
#include "common/store/run_store.h"

struct job_results {
    struct result_store *store;
    const struct run *run;
    bool with_text;
    /* Called for every result that is found, in no order; `result` is borrowed. */
    void (*take)(uint32_t slot, const struct result *result, void *context);
    void *context;
};

/* Reads the results of the jobs at `slots`, many at a time. BW_UNAVAILABLE: some results may have
 * been taken. */
enum bw_code job_results_read(const struct job_results *reader, const struct slot_list *slots,
                              struct bw_error *error) BW_CHECKED;

#endif
