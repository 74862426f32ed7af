#include "common/base/alloc.h"
#include "common/store/worker_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "workers"

struct worker_store {
    struct store base;
};

enum bw_code worker_store_open(struct database *database, struct worker_store **store,
                               struct bw_error *error)
{
    static const struct group_commit_settings settings = {
        .collection = COLLECTION,
        .max_documents = 512,
        .max_bytes = 4 * 1024 * 1024,
        .fails_fast = true,
        .fetches_duplicates = true,
    };
    struct worker_store *self = store_open(sizeof *self, database, &settings, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void worker_store_close(struct worker_store *store)
{
    store_close(store);
}

bool worker_from_document(const bson_t *document, struct worker *worker)
{
    memset(worker, 0, sizeof *worker);
    if (!document_text(document, "_id", worker->id, sizeof worker->id))
        return false;
    document_text(document, "hostname", worker->hostname, sizeof worker->hostname);
    document_text(document, "tags", worker->tags, sizeof worker->tags);
    document_text(document, "fault", worker->fault, sizeof worker->fault);
    char protocol[16];
    document_text(document, "protocol", protocol, sizeof protocol);
    worker->protocol = protocol_parse(protocol);
    worker->concurrency = (int)document_integer(document, "concurrency", 0);
    /* Absent in documents of earlier versions, where an empty hostname means that none was stated.
     */
    worker->sends_heartbeats = document_boolean(
        document, "sends_heartbeats", worker->hostname[0] != '\0' || worker->concurrency > 0);
    worker->epoch = document_integer(document, "epoch", 1);
    worker->is_socket = document_text(document, "replica", worker->replica, sizeof worker->replica);
    worker->takes_files = document_boolean(document, "takes_files", false);
    worker->takes_digests = document_boolean(document, "takes_digests", false);
    worker->wants_cancels = document_boolean(document, "wants_cancels", false);
    document_text(document, "process", worker->process, sizeof worker->process);
    worker->jobs_processed = document_integer(document, "jobs_processed", 0);
    worker->is_alive = document_boolean(document, "alive", true);
    worker->beats_at_work = document_boolean(document, "beats_at_work", false);
    worker->registered_ms = document_date(document, "registered_at");
    worker->last_seen_ms = document_date(document, "last_seen");
    return true;
}

static void worker_store_completed(struct commit_item *item, enum commit_outcome outcome,
                                   const bson_t *existing)
{
    (void)existing;
    struct worker_commit *commit = (struct worker_commit *)item;
    bson_destroy(item->document);
    commit->completed(commit, outcome);
}

void worker_store_insert(struct worker_store *store, struct worker_commit *commit, int64_t try_ms)
{
    struct worker *worker = &commit->worker;
    commit->nonce = nonce_new();
    worker->registered_ms = worker->last_seen_ms = database_now_ms(store->base.database);
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", worker->id);
    BSON_APPEND_INT64(document, DOCUMENT_NONCE, commit->nonce);
    BSON_APPEND_UTF8(document, "hostname", worker->hostname);
    BSON_APPEND_UTF8(document, "tags", worker->tags);
    BSON_APPEND_UTF8(document, "fault", worker->fault);
    BSON_APPEND_UTF8(document, "protocol", protocol_name(worker->protocol));
    BSON_APPEND_INT32(document, "concurrency", worker->concurrency);
    BSON_APPEND_BOOL(document, "sends_heartbeats", worker->sends_heartbeats);
    BSON_APPEND_BOOL(document, "takes_files", worker->takes_files);
    BSON_APPEND_BOOL(document, "takes_digests", worker->takes_digests);
    BSON_APPEND_BOOL(document, "wants_cancels", worker->wants_cancels);
    BSON_APPEND_BOOL(document, "alive", true);
    worker->epoch = 1;
    BSON_APPEND_INT64(document, "epoch", worker->epoch);
    if (worker->is_socket) {
        BSON_APPEND_UTF8(document, "replica", worker->replica);
        BSON_APPEND_UTF8(document, "process", worker->process);
    }
    BSON_APPEND_DATE_TIME(document, "registered_at", worker->registered_ms);
    BSON_APPEND_DATE_TIME(document, "last_seen", worker->last_seen_ms);
    commit->item = (struct commit_item){
        .document = document,
        .expires_ms = clock_boot_ms() + try_ms,
        .completed = worker_store_completed,
    };
    group_commit_submit(store->base.commits, &commit->item);
}

struct reading {
    struct worker *worker;
    bool is_found;
};

static void worker_store_take_worker(const bson_t *document, void *context)
{
    struct reading *reading = context;
    reading->is_found = worker_from_document(document, reading->worker);
}

enum bw_code worker_store_read(struct worker_store *store, const char *id, struct worker *worker,
                               struct bw_error *error)
{
    struct worker found;
    struct reading reading = {.worker = &found};
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, &id, 1, NULL,
                                          worker_store_take_worker, &reading, error);
    if (code != BW_OK)
        return code;
    if (!reading.is_found)
        return bw_fail(error, BW_NOT_FOUND, "no worker has this id");
    if (worker != NULL)
        *worker = found;
    return BW_OK;
}

static void append_registration(bson_t *set, bson_t *unset, const struct worker *worker,
                                int64_t nonce)
{
    BSON_APPEND_INT64(set, "epoch", worker->epoch);
    BSON_APPEND_INT64(set, "epoch_nonce", nonce);
    BSON_APPEND_UTF8(set, "hostname", worker->hostname);
    BSON_APPEND_UTF8(set, "tags", worker->tags);
    BSON_APPEND_UTF8(set, "fault", worker->fault);
    BSON_APPEND_INT32(set, "concurrency", worker->concurrency);
    BSON_APPEND_BOOL(set, "sends_heartbeats", worker->sends_heartbeats);
    BSON_APPEND_BOOL(set, "takes_files", worker->takes_files);
    BSON_APPEND_BOOL(set, "takes_digests", worker->takes_digests);
    BSON_APPEND_BOOL(set, "wants_cancels", worker->wants_cancels);
    BSON_APPEND_BOOL(set, "alive", true);
    BSON_APPEND_DATE_TIME(set, "registered_at", worker->registered_ms);
    BSON_APPEND_DATE_TIME(set, "last_seen", worker->last_seen_ms);
    bson_t *where = worker->is_socket ? set : unset;
    BSON_APPEND_UTF8(where, "replica", worker->replica);
    BSON_APPEND_UTF8(where, "process", worker->process);
}

static void take_nonce(const bson_t *document, void *context)
{
    *(int64_t *)context = document_integer(document, "epoch_nonce", 0);
}

/* After a mismatch, finds the reason: an earlier try of the same call may have succeeded. */
static enum bw_code classify_renewal(struct worker_store *store, const char *id, int64_t nonce,
                                     bool *done, struct bw_error *error)
{
    int64_t found = 0;
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, &id, 1, NULL,
                                          take_nonce, &found, error);
    *done = found == nonce;
    return code;
}

enum bw_code worker_store_renew(struct worker_store *store, struct worker *worker,
                                int64_t former_epoch, int64_t nonce, bool *done,
                                struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set, unset = BSON_INITIALIZER;
    worker->epoch = former_epoch + 1;
    worker->registered_ms = worker->last_seen_ms = database_now_ms(store->base.database);
    BSON_APPEND_UTF8(&filter, "_id", worker->id);
    BSON_APPEND_INT64(&filter, "epoch", former_epoch);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    append_registration(&set, &unset, worker, nonce);
    bson_append_document_end(&update, &set);
    if (!bson_empty(&unset))
        BSON_APPEND_DOCUMENT(&update, "$unset", &unset);
    enum bw_code code = database_update_try(store->base.database, COLLECTION, &filter, &update,
                                            done, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    bson_destroy(&unset);
    if (code != BW_OK || *done)
        return code;
    return classify_renewal(store, worker->id, nonce, done, error);
}

/* {_id, epoch, fault: {$ne: FAULT}}: an absent fault matches too. */
static void build_fault_filter(bson_t *filter, const char *id, int64_t epoch, const char *fault)
{
    bson_t condition;
    BSON_APPEND_UTF8(filter, "_id", id);
    if (epoch > 0)
        BSON_APPEND_INT64(filter, "epoch", epoch);
    BSON_APPEND_DOCUMENT_BEGIN(filter, "fault", &condition);
    BSON_APPEND_UTF8(&condition, "$ne", fault);
    bson_append_document_end(filter, &condition);
}

enum bw_code worker_store_note_fault(struct worker_store *store, const char *id, int64_t epoch,
                                     const char *fault, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set;
    bool is_changed;
    build_fault_filter(&filter, id, epoch, fault);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_UTF8(&set, "fault", fault);
    bson_append_document_end(&update, &set);
    enum bw_code code = database_update_try(store->base.database, COLLECTION, &filter, &update,
                                            &is_changed, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

/* {_id, epoch, term: {$not: {$gt: TERM}}}: an absent term matches too. All conditions are beside
 * _id, so every server finds the document by its _id; with a $or SecantusDB scans the whole
 * collection. */
static void build_mark_filter(bson_t *filter, const struct worker_mark *mark)
{
    bson_t condition, later;
    BSON_APPEND_UTF8(filter, "_id", mark->id);
    BSON_APPEND_INT64(filter, "epoch", mark->epoch);
    BSON_APPEND_DOCUMENT_BEGIN(filter, "term", &condition);
    BSON_APPEND_DOCUMENT_BEGIN(&condition, "$not", &later);
    BSON_APPEND_INT64(&later, "$gt", mark->term);
    bson_append_document_end(&condition, &later);
    bson_append_document_end(filter, &condition);
}

static void build_mark(bson_t *update, const struct worker_mark *mark)
{
    bson_t set;
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &set);
    BSON_APPEND_INT64(&set, "term", mark->term);
    BSON_APPEND_BOOL(&set, "alive", mark->is_alive);
    BSON_APPEND_INT64(&set, "jobs_processed", mark->jobs_processed);
    if (mark->beats_at_work)
        BSON_APPEND_BOOL(&set, "beats_at_work", true);
    BSON_APPEND_DATE_TIME(&set, "last_seen", mark->last_seen_ms);
    bson_append_document_end(update, &set);
}

enum bw_code worker_store_mark(struct worker_store *store, const struct worker_mark *marks,
                               size_t count, struct bw_error *error)
{
    struct database_change *changes = bw_alloc_array(count + 1, sizeof *changes);
    for (size_t i = 0; i < count; i++) {
        bson_init(&changes[i].filter);
        bson_init(&changes[i].update);
        build_mark_filter(&changes[i].filter, &marks[i]);
        build_mark(&changes[i].update, &marks[i]);
    }
    enum bw_code code = database_update_each(store->base.database, COLLECTION, changes, count,
                                             error);
    for (size_t i = 0; i < count; i++) {
        bson_destroy(&changes[i].filter);
        bson_destroy(&changes[i].update);
    }
    free(changes);
    return code;
}

enum bw_code worker_store_delete(struct worker_store *store, const char *id, struct bw_error *error)
{
    return database_delete_ids(store->base.database, COLLECTION, &id, 1, NULL, error);
}

struct visit {
    void (*each)(const struct worker *worker, void *context);
    void *context;
};

static void visit_worker(const bson_t *document, void *context)
{
    struct visit *visit = context;
    struct worker worker;
    if (worker_from_document(document, &worker))
        visit->each(&worker, visit->context);
}

enum bw_code worker_store_each(struct worker_store *store,
                               void (*each)(const struct worker *worker, void *context),
                               void *context, struct bw_error *error)
{
    struct visit visit = {each, context};
    bson_t everything = BSON_INITIALIZER;
    enum bw_code code = database_find(store->base.database, COLLECTION, &everything, NULL,
                                      visit_worker, &visit, error);
    bson_destroy(&everything);
    return code;
}

enum bw_code worker_store_find(struct worker_store *store, const char *const *ids, size_t count,
                               void (*each)(const struct worker *worker, void *context),
                               void *context, struct bw_error *error)
{
    struct visit visit = {each, context};
    return database_find_ids(store->base.database, COLLECTION, ids, count, NULL, visit_worker,
                             &visit, error);
}
