/*
 * returned_jobs: which workers have returned a job of a run because they can't run it, and why. A
 * worker that has returned a job does not get it again for a while: 30 s, twice as long each time,
 * eight minutes at most.
 *
 * A table of one run, by the jobs' slots; NULL is empty. Belongs to the scheduler's core thread.
 * Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_RETURNED_JOBS_H
#define SCHEDULER_STATE_RETURNED_JOBS_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/job.h"
#include "common/store/lease_store.h"

enum {
    RETURNED_MOST_WORKERS = 5, /* have returned a job: it fails; so it does after as many returns by
                                  owner rules, whichever workers had it */
    RETURNED_PAUSE_MS = 30000
};

struct returning_worker {
    char id[WORKER_ID_SIZE];
    unsigned times;
    int64_t until_ms; /* clock_boot_ms until which it does not get the job */
};

struct returned_job {
    uint32_t slot;                   /* key */
    uint32_t attempt;                /* the last one that was returned */
    char reason[RETURN_REASON_SIZE]; /* of that one */
    unsigned count;                  /* of workers */
    unsigned ruled;                  /* returns by owner rules of its run */
    struct returning_worker workers[RETURNED_MOST_WORKERS];
    UT_hash_handle hh;
};

/* NULL: nobody has returned it. */
struct returned_job *returned_jobs_find(struct returned_job *jobs, uint32_t slot);

/* Notes a returned lease. */
void returned_jobs_note(struct returned_job **jobs, uint32_t slot, const struct lease *lease,
                        int64_t now_ms);

/* Forgets one job, or all. */
void returned_jobs_remove(struct returned_job **jobs, uint32_t slot);
void returned_jobs_clear(struct returned_job **jobs);

/* Has the worker returned the job a moment ago? `job` may be NULL. */
bool returned_job_excludes(const struct returned_job *job, const char *worker, int64_t now_ms);

/* Was it returned by so many workers, or so often by owner rules, that it is not tried again? `job`
 * may be NULL. */
bool returned_job_is_hopeless(const struct returned_job *job);

/* How many of its returns count: the workers, or the returns by rules if those are more. `job` may
 * be NULL. */
unsigned returned_job_count(const struct returned_job *job);

#endif
