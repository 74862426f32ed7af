/*
 * retention: what is removed for good: runs that ended long ago, if the operator says so; and what
 * was left behind by a process that died between two writes and never found its owner: definitions
 * without a run, logs that no result names. An orphan is removed only after it was seen at two
 * looks, a day apart. Called by the database jobs alone, one look of a kind at a time; waits for
 * the database.
 */
#ifndef SCHEDULER_IO_RETENTION_H
#define SCHEDULER_IO_RETENTION_H

#include <stddef.h>
#include <stdint.h>

#include "common/store/definition_store.h"
#include "common/store/lease_store.h"
#include "common/store/log_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"

struct retention;

/* Borrowed until retention_free. */
struct retention_stores {
    struct definition_store *definitions;
    struct run_store *runs;
    struct lease_store *leases;
    struct result_store *results;
    struct log_store *logs;
};

struct retention *retention_new(const struct retention_stores *stores);
void retention_free(struct retention *retention); /* NULL is fine */

/* Removes one run and everything of it, the run itself last. May be repeated. */
enum bw_code retention_remove_run(struct retention *retention, const struct run *run,
                                  struct bw_error *error) BW_CHECKED;

/* Looks for orphans, and removes those that the look before found as well. *removed counts them. */
enum bw_code retention_remove_orphans(struct retention *retention, size_t *removed,
                                      struct bw_error *error) BW_CHECKED;

#endif
