#include "scheduler/io/retention.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/base/alloc.h"

enum { CHUNK = 250 };

/* Something that seems to have no owner: a definition by its run's id, a log by its name. */
struct orphan {
    struct log_name name; /* of a definition: job is the run's id, digest "" */
    UT_hash_handle hh;    /* by name */
};

struct retention {
    struct retention_stores stores;
    struct orphan *former; /* what the look before found */
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

enum bw_code retention_remove_run(struct retention *retention, const struct run *run,
                                  struct bw_error *error)
{
    char jobs[CHUNK][JOB_ID_SIZE];
    uint32_t slots = run_job_count(run->has_pre, run->students, run->has_post);
    enum bw_code code = run_store_hide(retention->stores.runs, run->id, error);
    for (uint32_t from = 0; code == BW_OK && from < slots; from += CHUNK) {
        uint32_t count = slots - from < CHUNK ? slots - from : CHUNK;
        for (uint32_t i = 0; i < count; i++) {
            enum job_kind kind;
            uint32_t index;
            run_slot_job(run->has_pre, run->students, from + i, &kind, &index);
            job_id_make(run->id, kind, index, jobs[i]);
        }
        code = remove_jobs(retention, (const char(*)[JOB_ID_SIZE])jobs, count, error);
    }
    if (code == BW_OK)
        code = definition_store_delete(retention->stores.definitions, run->id, error);
    if (code == BW_OK)
        code = run_store_delete(retention->stores.runs, run->id, error);
    return code;
}

/* ---- Orphans ---- */

/* One look at everything: what has an owner is forgotten at once. */
struct look {
    struct retention *retention;
    struct orphan *orphans;
    struct log_name logs[CHUNK]; /* not yet looked up */
    size_t count;
    enum bw_code code;
    struct bw_error *error;
};

static void add_orphan(struct look *look, const struct log_name *name)
{
    struct orphan *orphan = bw_alloc(sizeof *orphan);
    orphan->name = *name;
    HASH_ADD(hh, look->orphans, name, sizeof orphan->name, orphan);
}

/* A run that is being removed removes its definition itself. */
static void look_at_definition(const char *run_id, void *context)
{
    struct look *look = context;
    struct log_name name;
    struct run run;
    if (look->code != BW_OK)
        return;
    enum bw_code code = run_store_read(look->retention->stores.runs, run_id, &run, look->error);
    if (code == BW_OK) {
        run_clear(&run);
    } else if (code == BW_NOT_FOUND) {
        memset(&name, 0, sizeof name);
        memcpy(name.job, run_id, strnlen(run_id, RUN_ID_LENGTH));
        add_orphan(look, &name);
    } else {
        look->code = code;
    }
}

/* The result of its job names it: then it has its owner, and leaves the chunk. */
static void take_owned(const struct result *result, void *context)
{
    struct look *look = context;
    for (size_t i = 0; i < look->count; i++)
        if (strcmp(look->logs[i].job, result->job) == 0 &&
            strcmp(look->logs[i].digest, result->digest) == 0)
            look->logs[i] = look->logs[--look->count];
}

static void look_up_logs(struct look *look)
{
    char jobs[CHUNK][JOB_ID_SIZE];
    size_t count = look->count;
    for (size_t i = 0; i < count; i++)
        memcpy(jobs[i], look->logs[i].job, JOB_ID_SIZE);
    look->code = result_store_read(look->retention->stores.results,
                                   (const char(*)[JOB_ID_SIZE])jobs, count, false, take_owned, look,
                                   look->error);
    for (size_t i = 0; i < look->count; i++)
        add_orphan(look, &look->logs[i]);
    look->count = 0;
}

static void look_at_log(const struct log_name *name, void *context)
{
    struct look *look = context;
    if (look->code != BW_OK)
        return;
    look->logs[look->count++] = *name;
    if (look->count == CHUNK)
        look_up_logs(look);
}

static void look_at_everything(struct look *look)
{
    const struct retention_stores *stores = &look->retention->stores;
    enum bw_code code = definition_store_each(stores->definitions, look_at_definition, look,
                                              look->error);
    if (code == BW_OK && look->code == BW_OK)
        code = log_store_each(stores->logs, look_at_log, look, look->error);
    if (code == BW_OK && look->code == BW_OK && look->count > 0)
        look_up_logs(look);
    if (code != BW_OK)
        look->code = code;
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
    struct look *look = bw_alloc(sizeof *look);
    look->retention = retention;
    look->error = error;
    *removed = 0;
    look_at_everything(look);
    enum bw_code code = look->code;
    if (code == BW_OK)
        code = remove_seen(retention, look->orphans, removed, error);
    if (code == BW_OK) {
        free_orphans(retention->former);
        retention->former = look->orphans;
    } else {
        free_orphans(look->orphans);
    }
    free(look);
    return code;
}
