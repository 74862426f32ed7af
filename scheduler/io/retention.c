#include "scheduler/io/retention.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/base/alloc.h"
#include "common/store/run_jobs.h"
#include "scheduler/state/deadline.h"

enum {
    CHUNK = 250,
    RUNS_AT_ONCE = 50,
    REMEMBERED_MS = 10000 /* a replica remembers a hand-out so much longer than its deadline */
};

/* Something that seems to have no owner: a definition by its run's id, a log by its name. */
struct orphan {
    struct log_name name; /* of a definition: job is the run's id, digest "" */
    UT_hash_handle hh;    /* by name */
};

struct retention {
    struct retention_stores stores;
    struct orphan *former; /* what the previous scan found */
};

struct retention *retention_new(const struct retention_stores *stores)
{
    struct retention *retention = bw_alloc(sizeof *retention);
    retention->stores = *stores;
    return retention;
}

static void free_orphans(struct orphan *orphans)
{
    struct orphan *orphan, *following;
    HASH_ITER (hh, orphans, orphan, following) {
        HASH_DELETE(hh, orphans, orphan);
        free(orphan);
    }
}

void retention_free(struct retention *retention)
{
    if (retention == NULL)
        return;
    free_orphans(retention->former);
    free(retention);
}

/* ---- Runs ---- */

struct log_list {
    struct log_name names[CHUNK];
    size_t count;
};

static void collect_log(const struct result *result, void *context)
{
    struct log_list *list = context;
    if (result->digest[0] == '\0' || list->count == CHUNK)
        return;
    struct log_name *name = &list->names[list->count++];
    memcpy(name->job, result->job, sizeof name->job);
    memcpy(name->digest, result->digest, sizeof name->digest);
}

/* The results name the logs: so they go after them. */
static enum bw_code remove_jobs(struct retention *retention, const char (*jobs)[JOB_ID_SIZE],
                                size_t count, struct bw_error *error)
{
    const struct retention_stores *stores = &retention->stores;
    struct log_list *logs = bw_alloc(sizeof *logs);
    enum bw_code code = result_store_read(stores->results, jobs, count, false, collect_log, logs,
                                          error);
    if (code == BW_OK)
        code = log_store_delete(stores->logs, logs->names, logs->count, error);
    if (code == BW_OK)
        code = lease_store_delete(stores->leases, jobs, count, error);
    if (code == BW_OK)
        code = result_store_delete(stores->results, jobs, count, error);
    free(logs);
    return code;
}

static enum bw_code remove_run(struct retention *retention, const struct run *run,
                               struct bw_error *error)
{
    char jobs[CHUNK][JOB_ID_SIZE];
    uint32_t slots = run_job_count(run->has_pre, run->students, run->has_post);
    enum bw_code code = run_store_hide(retention->stores.runs, run->id, error);
    for (uint32_t from = 0; code == BW_OK && from < slots; from += CHUNK) {
        uint32_t count = slots - from < CHUNK ? slots - from : CHUNK;
        for (uint32_t i = 0; i < count; i++)
            run_slot_job_id(run, from + i, jobs[i]);
        code = remove_jobs(retention, (const char(*)[JOB_ID_SIZE])jobs, count, error);
    }
    if (code == BW_OK)
        code = file_store_unuse(retention->stores.files, run->id, error);
    if (code == BW_OK)
        code = receipt_store_delete(retention->stores.receipts, run->id, error);
    if (code == BW_OK)
        code = image_pin_store_delete(retention->stores.image_pins, run->id, error);
    if (code == BW_OK)
        code = pause_store_delete_run(retention->stores.pauses, run->id, error);
    if (code == BW_OK)
        code = webhook_store_delete_run(retention->stores.webhooks, run->id, error);
    if (code == BW_OK)
        code = definition_store_delete(retention->stores.definitions, run->id, error);
    if (code == BW_OK)
        code = run_store_delete(retention->stores.runs, run->id, error);
    return code;
}

/* A late result may come as long as a replica remembers a hand-out: it must find its run. */
static bool may_be_removed(const struct run *run, const struct retention_age *age)
{
    int64_t quiet_ms = deadline_of_run(run, age->job_timeout_ms) + REMEMBERED_MS;
    return run->finished_ms + quiet_ms < age->now_ms;
}

enum bw_code retention_remove_runs(struct retention *retention, const struct retention_age *age,
                                   size_t *removed, struct bw_error *error)
{
    struct run *runs;
    size_t count;
    enum bw_code code = run_store_read_ended(retention->stores.runs, age->now_ms - age->retain_ms,
                                             RUNS_AT_ONCE, &runs, &count, error);
    *removed = 0;
    for (size_t i = 0; i < count; i++) {
        if (code == BW_OK && may_be_removed(&runs[i], age)) {
            code = remove_run(retention, &runs[i], error);
            *removed += code == BW_OK;
        }
        run_clear(&runs[i]);
    }
    free(runs);
    return code;
}

/* ---- Orphans ---- */

/* One scan of all definitions and logs: what has an owner is forgotten at once. */
struct orphan_scan {
    struct retention *retention;
    struct orphan *orphans;
    char runs[CHUNK][RUN_ID_SIZE]; /* of definitions; not yet looked up, like the logs */
    size_t run_count;
    struct log_name logs[CHUNK];
    size_t count;
    enum bw_code code;
    struct bw_error *error;
};

static void add_orphan(struct orphan_scan *scan, const struct log_name *name)
{
    struct orphan *orphan = bw_alloc(sizeof *orphan);
    orphan->name = *name;
    HASH_ADD(hh, scan->orphans, name, sizeof orphan->name, orphan);
}

static void take_owner(const char *run_id, void *context)
{
    struct orphan_scan *scan = context;
    for (size_t i = 0; i < scan->run_count; i++)
        if (strcmp(scan->runs[i], run_id) == 0)
            memmove(scan->runs[i], scan->runs[--scan->run_count], sizeof scan->runs[i]);
}

static void scan_find_runs(struct orphan_scan *scan)
{
    scan->code = run_store_find(scan->retention->stores.runs,
                                (const char(*)[RUN_ID_SIZE])scan->runs, scan->run_count, take_owner,
                                scan, scan->error);
    for (size_t i = 0; i < scan->run_count; i++) {
        struct log_name name = {.digest = ""};
        snprintf(name.job, sizeof name.job, "%s", scan->runs[i]);
        add_orphan(scan, &name);
    }
    scan->run_count = 0;
}

/* A run that is being removed removes its definition itself. */
static void scan_add_definition(const char *run_id, void *context)
{
    struct orphan_scan *scan = context;
    if (scan->code != BW_OK)
        return;
    snprintf(scan->runs[scan->run_count++], RUN_ID_SIZE, "%s", run_id);
    if (scan->run_count == CHUNK)
        scan_find_runs(scan);
}

/* The result of its job names it: then it has its owner, and leaves the chunk. */
static void take_owned(const struct result *result, void *context)
{
    struct orphan_scan *scan = context;
    for (size_t i = 0; i < scan->count; i++)
        if (strcmp(scan->logs[i].job, result->job) == 0 &&
            strcmp(scan->logs[i].digest, result->digest) == 0)
            scan->logs[i] = scan->logs[--scan->count];
}

static void scan_find_results(struct orphan_scan *scan)
{
    char jobs[CHUNK][JOB_ID_SIZE];
    size_t count = scan->count;
    for (size_t i = 0; i < count; i++)
        memcpy(jobs[i], scan->logs[i].job, JOB_ID_SIZE);
    scan->code = result_store_read(scan->retention->stores.results,
                                   (const char(*)[JOB_ID_SIZE])jobs, count, false, take_owned, scan,
                                   scan->error);
    for (size_t i = 0; i < scan->count; i++)
        add_orphan(scan, &scan->logs[i]);
    scan->count = 0;
}

static void scan_add_log(const struct log_name *name, void *context)
{
    struct orphan_scan *scan = context;
    if (scan->code != BW_OK)
        return;
    scan->logs[scan->count++] = *name;
    if (scan->count == CHUNK)
        scan_find_results(scan);
}

static void scan_all(struct orphan_scan *scan)
{
    const struct retention_stores *stores = &scan->retention->stores;
    enum bw_code code = definition_store_each(stores->definitions, scan_add_definition, scan,
                                              scan->error);
    if (code == BW_OK && scan->code == BW_OK && scan->run_count > 0)
        scan_find_runs(scan);
    if (code == BW_OK && scan->code == BW_OK)
        code = log_store_each(stores->logs, scan_add_log, scan, scan->error);
    if (code == BW_OK && scan->code == BW_OK && scan->count > 0)
        scan_find_results(scan);
    if (code != BW_OK)
        scan->code = code;
}

static bool was_seen(const struct retention *retention, const struct orphan *orphan)
{
    const struct orphan *former;
    HASH_FIND(hh, retention->former, &orphan->name, sizeof orphan->name, former);
    return former != NULL;
}

static enum bw_code remove_seen(struct retention *retention, const struct orphan *orphans,
                                size_t *removed, struct bw_error *error)
{
    const struct retention_stores *stores = &retention->stores;
    enum bw_code code = BW_OK;
    const struct orphan *orphan;
    for (orphan = orphans; code == BW_OK && orphan != NULL; orphan = orphan->hh.next) {
        if (!was_seen(retention, orphan))
            continue;
        bool is_log = orphan->name.digest[0] != '\0';
        code = is_log ? log_store_delete(stores->logs, &orphan->name, 1, error)
                      : definition_store_delete(stores->definitions, orphan->name.job, error);
        *removed += code == BW_OK;
    }
    return code;
}

enum bw_code retention_remove_orphans(struct retention *retention, size_t *removed,
                                      struct bw_error *error)
{
    struct orphan_scan *scan = bw_alloc(sizeof *scan);
    scan->retention = retention;
    scan->error = error;
    *removed = 0;
    scan_all(scan);
    enum bw_code code = scan->code;
    if (code == BW_OK)
        code = remove_seen(retention, scan->orphans, removed, error);
    if (code == BW_OK) {
        free_orphans(retention->former);
        retention->former = scan->orphans;
    } else {
        free_orphans(scan->orphans);
    }
    free(scan);
    return code;
}
