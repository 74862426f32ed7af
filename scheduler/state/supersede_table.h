/*
 * supersede_table: for each supersede key, the newest job that has it, among the runs that are
 * started and not finished; and how long jobs usually take, by what they grade. The latter is
 * learned from results, and is gone with its process.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_SUPERSEDE_TABLE_H
#define SCHEDULER_STATE_SUPERSEDE_TABLE_H

#include <stdint.h>
#include <uthash.h>

#include "common/domain/supersede.h"
#include "scheduler/state/queue.h"

/* The newest job with a key. */
struct keyed_job {
    uint8_t key[SUPERSEDE_DIGEST_BYTES]; /* key */
    struct active_run *run;
    uint32_t slot;
    UT_hash_handle hh;
};

/* How long the students' jobs of an assignment take; of classic runs: of those with the same
 * limits. */
struct usual_time {
    char name[2 * WORKER_ID_SIZE]; /* key */
    double mean_ms;                /* a running mean */
    uint32_t jobs;                 /* how many it is the mean of, up to a limit */
    UT_hash_handle hh;
};

struct supersede_table {
    struct keyed_job *jobs;
    struct usual_time *times; /* the first learned is forgotten first */
};

/* Frees what it owns. A zeroed table is empty. */
void supersede_table_destroy(struct supersede_table *table);

/* Forgets all jobs, not the usual times. */
void supersede_table_clear(struct supersede_table *table);

/* The key of the run's student at `slot`; NULL: it has none. Borrowed. */
const uint8_t *supersede_key_of(const struct run *run, uint32_t slot);

/* The newest job with the key; NULL: there is none. Valid until the table changes. */
struct keyed_job *supersede_table_find(const struct supersede_table *table, const uint8_t *key);

/* That job is the newest with the key from now on. */
void supersede_table_set(struct supersede_table *table, const uint8_t *key, struct active_run *run,
                         uint32_t slot);

/* Removes the jobs of a run, which is about to be removed from the queue. */
void supersede_table_remove_run(struct supersede_table *table, const struct active_run *run);

/* A student's job of the run has taken so long. */
void usual_time_learn(struct supersede_table *table, const struct run *run, int64_t took_ms);

/* How long a student's job of the run usually takes, in ms; 0: nothing is known. */
double usual_time_of(const struct supersede_table *table, const struct run *run);

#endif
