/*
 * run_listing: reads runs from the collection grading_runs in the order in which they were created,
 * the newest first, by their terms (common/domain/run_terms.h) and their state. run_store writes
 * the fields. Safe from any thread; waits for the database.
 *
 * Two indices answer a list without a scan: terms with the date, and scope and state with the date.
 * Of several filters one is looked up, and the others are compared, run by run, within a bound.
 */
#ifndef COMMON_STORE_RUN_LISTING_H
#define COMMON_STORE_RUN_LISTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/store/run_store.h"

/* The last date that a filter may have: the end of the year 9998, in UTC milliseconds since 1970.
 */
#define LISTING_LAST_MS INT64_C(253370764799999)

/* Which runs are wanted; everything is borrowed. */
struct run_listing {
    const char *course;                           /* "": runs of the classic protocol */
    const char *name, *label, *assignment;        /* NULL: any; `label` is KEY or KEY=VALUE */
    const enum run_phase *state;                  /* as it is stored; NULL: any */
    int64_t before_ms;                            /* only runs that were created before this one: */
    const char *before;                           /* its date, LISTING_LAST_MS at most, and its id;
                                                       NULL: all */
    bool (*each)(struct run *run, void *context); /* false: the reading ends; `run` is cleared
                                                     afterwards */
    void *context;
};

/* Where a reading ended. */
struct run_listing_end {
    bool is_cut;        /* at the bound: more runs may follow */
    int64_t created_ms; /* the run that was looked at last */
    char id[RUN_ID_SIZE];
};

/* Calls `each` for the runs that are wanted, in order. A run has its labels and its summary, but
 * neither keys nor reruns. `expected`: about how many runs are read. At most some thousand runs are
 * looked at. BW_UNAVAILABLE: some may have been reported. */
enum bw_code run_listing_read(struct database *database, const struct run_listing *listing,
                              size_t expected, struct run_listing_end *end, struct bw_error *error)
    BW_CHECKED;

#endif
