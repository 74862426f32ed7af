/*
 * retention: deletes old data: runs that ended longer than --retain-runs ago, with their logs,
 * leases, results, uses of files and definitions; and orphans of processes that died between two
 * writes: definitions without a run, logs that no result names. An orphan is removed only after two
 * scans, --orphan-age apart, have seen it. When this is done is in rules/retention_schedule.h.
 * Called by the database jobs alone, one scan of a kind at a time; waits for the database.
 */
#ifndef SCHEDULER_IO_RETENTION_H
#define SCHEDULER_IO_RETENTION_H

#include <stddef.h>
#include <stdint.h>

#include "common/store/definition_store.h"
#include "common/store/file_store.h"
#include "common/store/image_pin_store.h"
#include "common/store/lease_store.h"
#include "common/store/log_store.h"
#include "common/store/pause_store.h"
#include "common/store/receipt_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "common/store/webhook_store.h"

struct retention;

/* Borrowed until retention_free. */
struct retention_stores {
    struct definition_store *definitions;
    struct run_store *runs;
    struct lease_store *leases;
    struct result_store *results;
    struct log_store *logs;
    struct file_store *files;
    struct receipt_store *receipts;
    struct image_pin_store *image_pins;
    struct pause_store *pauses;
    struct webhook_store *webhooks;
};

struct retention *retention_new(const struct retention_stores *stores);
void retention_free(struct retention *retention); /* NULL is fine */

/* How old a run must be. */
struct retention_age {
    int64_t now_ms;         /* the database's date */
    int64_t retain_ms;      /* how long a run is kept after its end */
    int64_t job_timeout_ms; /* of a stage that has none */
};

/* Removes some of the runs that are old enough, each with everything of it, the run itself last.
 * *removed counts them, also where it fails. May be repeated. */
enum bw_code retention_remove_runs(struct retention *retention, const struct retention_age *age,
                                   size_t *removed, struct bw_error *error) BW_CHECKED;

/* Scans for orphans, and removes those that the previous scan found as well. *removed counts them.
 */
enum bw_code retention_remove_orphans(struct retention *retention, size_t *removed,
                                      struct bw_error *error) BW_CHECKED;

#endif
