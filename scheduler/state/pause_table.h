/*
 * pause_table: the pauses, as last read from the database, and those that the scheduler has made
 * and that a read may not have found yet. Which of them hold follows from the database's date.
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_PAUSE_TABLE_H
#define SCHEDULER_STATE_PAUSE_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/pause.h"
#include "common/store/run_store.h"

struct known_pause {
    char id[PAUSE_ID_SIZE]; /* key */
    struct pause pause;
    bool is_inserting; /* made by this scheduler, and being inserted or to be inserted */
    bool has_failed;   /* its insert has, and is to be repeated */
    int64_t kept_read; /* reads up to this one may not have found it */
    UT_hash_handle hh;
};

struct pause_table {
    struct known_pause *pauses; /* by id, and in their order after a read */
    uint32_t in_force[PAUSE_KINDS];
    int64_t counted_ms;        /* the date at which those were counted */
    int64_t next_ms;           /* database date when the next one passes; INT64_MAX: none does */
    int64_t reads_begun, read; /* reads are numbered; the last one that is complete */
    int64_t wanted;            /* the read that somebody waits for */
    int64_t retry_ms;          /* clock_boot_ms before which no read begins */
    bool is_reading;
    uint32_t inserting; /* pauses that are being inserted, or to be inserted */
};

/* Frees what the table holds; it is empty then. */
void pause_table_clear(struct pause_table *table);

/* Replaces the table by what read number `read` has found. */
void pause_table_replace(struct pause_table *table, const struct pause *pauses, size_t count,
                         int64_t read);

/* Adds a pause that is being inserted. */
struct known_pause *pause_table_add(struct pause_table *table, const struct pause *pause);

/* The pause with that id, in force or not; NULL: there is none. */
struct known_pause *pause_table_find(const struct pause_table *table, enum pause_kind kind,
                                     const char *name, bool is_automatic);

/* Counts what holds at that date of the database, and finds when that changes next. */
void pause_table_count(struct pause_table *table, int64_t date_ms);

/* The pause of what `kind` and `name` say that is in force, the manual one first; NULL: none. */
const struct pause *pause_table_of(const struct pause_table *table, enum pause_kind kind,
                                   const char *name, int64_t date_ms);

/* The pause that holds back the run's jobs: its own, its assignment's, its course's or the
 * cluster's, the first of them that is in force; NULL: none does. */
const struct pause *pause_table_of_run(const struct pause_table *table, const struct run *run,
                                       int64_t date_ms);

#endif
