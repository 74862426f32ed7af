/*
 * job_leases: reads the leases of a run's jobs by their computed ids, as few as is exact. For those
 * who want to know what became of jobs: a run's status, and recovery. Their results are read by
 * common/store/job_results.h.
 *
 * Two invariants bound the reads. First attempts are handed out in the order of slots, in batches
 * smaller than a chunk, so no lease follows a chunk without leases. Attempts are numbered without
 * gaps, and no attempt follows a live one. No state; safe from any thread; blocks on the database.
 */
#ifndef COMMON_STORE_JOB_LEASES_H
#define COMMON_STORE_JOB_LEASES_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/store/lease_store.h"
#include "common/store/run_jobs.h"
#include "common/store/run_store.h"

/* Jobs that are read at once; more than a batch of the scheduler's leases: no gap can be as long.
 */
enum { JOB_LEASES_CHUNK = 320 };

struct job_leases {
    struct lease_store *store;
    const struct run *run;
    /* Called for every lease that is found, in no order; `lease` is borrowed. */
    void (*take)(uint32_t slot, const struct lease *lease, void *context);
    void *context;
};

/* Reads the first attempts, up to the first chunk of `slots` without any, and cuts `slots` to the
 * jobs that have one. BW_UNAVAILABLE: some leases may have been taken. */
enum bw_code job_leases_read_first(const struct job_leases *reader, struct slot_list *slots,
                                   struct bw_error *error) BW_CHECKED;

/* Reads the attempts from `first` on, of jobs whose earlier attempts have ended. Reads several
 * attempts at a time, and continues for jobs of which all of these exist and have ended. `slots` is
 * used as scratch. BW_UNAVAILABLE as above. */
enum bw_code job_leases_read_on(const struct job_leases *reader, struct slot_list *slots,
                                uint32_t first, struct bw_error *error) BW_CHECKED;

/* Finds those of many runs that have leases: one read looks for the first attempts of many runs'
 * jobs. The caller sets the first three members; a probe belongs to one thread. */
struct job_leases_probe {
    struct lease_store *store;
    /* Called for every first attempt that is found, with the id of its run (borrowed), in no order.
     */
    void (*take)(const char *run, void *context);
    void *context;
    char (*jobs)[JOB_ID_SIZE]; /* private, as is `count` */
    uint32_t count;
};

/* Adds the jobs of `run` at the slots first..end-1. Reads when many have come together, so `take`
 * may be called, also for runs added earlier. BW_UNAVAILABLE: as above. */
enum bw_code job_leases_probe_add(struct job_leases_probe *probe, const struct run *run,
                                  uint32_t first, uint32_t end, struct bw_error *error) BW_CHECKED;

/* Reads what was added since the last read. */
enum bw_code job_leases_probe_flush(struct job_leases_probe *probe, struct bw_error *error)
    BW_CHECKED;

/* Frees what the probe owns, not the probe. */
void job_leases_probe_clear(struct job_leases_probe *probe);

#endif
