/*
 * job_times_table: how long jobs take: a sketch of durations for each assignment, for each course,
 * and for all; apart by protocol and by kind of job. Classic runs have no course: their assignment
 * is their name, or else their limits. The table outlives a recovery (scheduler_reset); the leader
 * keeps it in the database (rules/job_times). It is bounded: the key that was learned longest ago
 * is dropped first.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_JOB_TIMES_TABLE_H
#define SCHEDULER_STATE_JOB_TIMES_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/job.h"
#include "common/domain/quantile_sketch.h"
#include "common/store/job_times_store.h"
#include "common/store/run_store.h"

/* Of what the times are by which a job is estimated. */
enum job_times_level {
    JOB_TIMES_ASSIGNMENT,
    JOB_TIMES_COURSE,
    JOB_TIMES_ALL, /* of the protocol */
    JOB_TIMES_NONE /* none was seen */
};

struct job_times {
    char key[JOB_TIMES_KEY_SIZE];
    struct quantile_sketch sketch;
    double mean_ms, variance; /* of the sketch, if they are current */
    bool is_measured;         /* they are current */
    bool is_dirty;            /* the database does not have it */
    UT_hash_handle hh;
};

struct job_times_table {
    struct job_times *times; /* by key; the one that was learned longest ago is the first */
    char (*dropped)[JOB_TIMES_KEY_SIZE]; /* to be deleted in the database; owned, or NULL */
    size_t dropped_count;
    int64_t term;      /* of this leader, when it began to learn; 0: it has not */
    bool is_read;      /* the database's times are in it */
    int64_t next_ms;   /* clock_boot_ms from when it is read or saved again */
    bool is_in_flight; /* a read or a save is */
};

/* Frees what the table holds; it is empty then. */
void job_times_table_clear(struct job_times_table *table);

/* A job of the run has taken so long. */
void job_times_learn(struct job_times_table *table, const struct run *run, enum job_kind kind,
                     int64_t took_ms);

/* The times by which a job of the run is estimated: those of the first level that has enough of
 * them, or else any; of jobs of the students if there are none of its kind. *level says which.
 * NULL: none was seen. Valid until the table changes. */
struct job_times *job_times_of(const struct job_times_table *table, const struct run *run,
                               enum job_kind kind, enum job_times_level *level);

/* The mean in ms; times->variance is current then, too. */
double job_times_mean(struct job_times *times);

/* Adds times that were read, which are older than all that the table has. A text that is no sketch
 * changes nothing. */
void job_times_add(struct job_times_table *table, const struct job_times_record *record);

/* Moves what the database does not have into a new list, JOB_TIMES_SAVED_AT_ONCE records at most.
 * NULL: there is nothing. */
struct job_times_record *job_times_take_dirty(struct job_times_table *table, size_t *count);

/* Records could not be saved: they are taken again. */
void job_times_put_back(struct job_times_table *table, const struct job_times_record *records,
                        size_t count);

/* "assignment", "course", "all" or "none". Static. */
const char *job_times_level_name(enum job_times_level level);

#endif
