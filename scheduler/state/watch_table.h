/*
 * watch_table: the jobs and runs that clients follow at one replica, and what was last sent about
 * each. A table is a hash by number; NULL is an empty one. Belongs to the scheduler's core thread.
 * Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_WATCH_TABLE_H
#define SCHEDULER_STATE_WATCH_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/job.h"
#include "common/domain/run.h"

struct watch {
    int64_t number;            /* key, within the replica's process */
    char subject[JOB_ID_SIZE]; /* a job or a run */
    int64_t last;              /* the position that was last sent */
    /* of a run */
    enum run_phase phase;
    bool has_phase;
    bool is_paused;      /* as last sent */
    uint32_t done, live; /* as last sent */
    int64_t notified_ms;
    int64_t estimated_ms; /* clock_boot_ms when its end was last estimated; 0: never */
    int64_t ends_ms;      /* the date of its end as last sent; 0: none was */
    bool is_listed;       /* scratch: listed by the current full resync */
    UT_hash_handle hh;
};

/* NULL: there is none with that number. */
struct watch *watch_table_find(struct watch *watches, int64_t number);

/* Adds a watch whose number is not in the table; zeroed except for its number and subject. */
struct watch *watch_table_add(struct watch **watches, int64_t number, const char *subject);

/* Removes the watch and frees it; NULL is allowed. */
void watch_table_remove(struct watch **watches, struct watch *watch);

/* Removes and frees all watches. */
void watch_table_clear(struct watch **watches);

#endif
