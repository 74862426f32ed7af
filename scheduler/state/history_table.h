/*
 * history_table: what has happened since the last sample of the history, by course. It outlives a
 * recovery (scheduler_reset), so that a sample misses nothing that this leader has done. Belongs to
 * the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_HISTORY_TABLE_H
#define SCHEDULER_STATE_HISTORY_TABLE_H

#include <stdint.h>
#include <uthash.h>

#include "common/domain/duration_buckets.h"
#include "common/domain/history.h"

enum { HISTORY_KEY_SIZE = WORKER_ID_SIZE + 4 };

/* A course, or the runs of a protocol without courses. */
struct history_entry {
    char key[HISTORY_KEY_SIZE];
    struct history_course course;
    UT_hash_handle hh;
};

struct history_table {
    struct history_entry *entries;
    struct duration_buckets waits;
    int64_t term; /* of this leader, when it began to count; 0: it has not */
    int64_t step; /* the number of the last sample, or of the step in which it began */
};

/* Frees what the table holds; it is empty then. */
void history_table_clear(struct history_table *table);

/* The course's entry; it is added if it is missing. */
struct history_course *history_table_course(struct history_table *table, enum protocol protocol,
                                            const char *name);

#endif
