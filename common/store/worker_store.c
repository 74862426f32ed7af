#include "common/store/worker_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/store/document.h"

#define COLLECTION "workers"

struct worker_store {
    struct database *database;
    struct group_commit *commits;
};

enum bw_code worker_store_open(struct database *database, struct worker_store **store,
                               struct bw_error *error)
{
    static const struct group_commit_settings settings = {
        .collection = COLLECTION,
        .max_documents = 512,
        .max_bytes = 4 * 1024 * 1024,
        .is_hasty = true,
        .fetches_duplicates = true,
    };
    struct worker_store *self = calloc(1, sizeof *self);
    if (self == NULL)
        abort();
    self->database = database;
    enum bw_code code = group_commit_open(database, &settings, &self->commits, error);
    if (code != BW_OK) {
        free(self);
        return code;
    }
    *store = self;
    return BW_OK;
}

void worker_store_close(struct worker_store *store)
{
    if (store == NULL)
        return;
    group_commit_close(store->commits);
    free(store);
}

bool worker_from_document(const bson_t *document, struct worker *worker)
{
    memset(worker, 0, sizeof *worker);
    if (!document_text(document, "_id", worker->id, sizeof worker->id))
        return false;
    document_text(document, "hostname", worker->hostname, sizeof worker->hostname);
    worker->concurrency = (int)document_integer(document, "concurrency", 0);
    worker->is_alive = document_boolean(document, "alive", true);
    worker->beats_at_work = document_boolean(document, "beats_at_work", false);
    worker->registered_ms = document_date(document, "registered_at");
    worker->last_seen_ms = document_date(document, "last_seen");
    return true;
}

static void settled(struct commit_item *item, enum commit_outcome outcome, const bson_t *existing)
{
    (void)existing;
    struct worker_commit *commit = (struct worker_commit *)item;
    bson_destroy(item->document);
    commit->settled(commit, outcome);
}

void worker_store_insert(struct worker_store *store, struct worker_commit *commit, int64_t try_ms)
{
    struct worker *worker = &commit->worker;
    commit->nonce = nonce_new();
    worker->registered_ms = worker->last_seen_ms = database_now_ms(store->database);
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", worker->id);
    BSON_APPEND_INT64(document, DOCUMENT_NONCE, commit->nonce);
    BSON_APPEND_UTF8(document, "hostname", worker->hostname);
    BSON_APPEND_UTF8(document, "protocol", "seed");
    BSON_APPEND_INT32(document, "concurrency", worker->concurrency);
    BSON_APPEND_BOOL(document, "alive", true);
    BSON_APPEND_INT64(document, "epoch", 1);
    BSON_APPEND_DATE_TIME(document, "registered_at", worker->registered_ms);
    BSON_APPEND_DATE_TIME(document, "last_seen", worker->last_seen_ms);
    commit->item = (struct commit_item){
        .document = document,
        .expires_ms = clock_boot_ms() + try_ms,
        .settled = settled,
    };
    group_commit_submit(store->commits, &commit->item);
}

struct reading {
    struct worker *worker;
    bool is_found;
};

static void take_worker(const bson_t *document, void *context)
{
    struct reading *reading = context;
    reading->is_found = worker_from_document(document, reading->worker);
}

enum bw_code worker_store_read(struct worker_store *store, const char *id, struct worker *worker,
                               struct bw_error *error)
{
    struct worker found;
    struct reading reading = {.worker = &found};
    enum bw_code code = database_find_ids(store->database, COLLECTION, &id, 1, NULL, take_worker,
                                          &reading, error);
    if (code != BW_OK)
        return code;
    if (!reading.is_found)
        return bw_fail(error, BW_NOT_FOUND, "no worker has this id");
    if (worker != NULL)
        *worker = found;
    return BW_OK;
}

/* {$or: [{term: absent}, {term: {$lte: TERM}}]} */
static void append_term_filter(bson_t *filter, int64_t term)
{
    bson_t alternatives, row, condition;
    BSON_APPEND_ARRAY_BEGIN(filter, "$or", &alternatives);
    BSON_APPEND_DOCUMENT_BEGIN(&alternatives, "0", &row);
    BSON_APPEND_DOCUMENT_BEGIN(&row, "term", &condition);
    BSON_APPEND_BOOL(&condition, "$exists", false);
    bson_append_document_end(&row, &condition);
    bson_append_document_end(&alternatives, &row);
    BSON_APPEND_DOCUMENT_BEGIN(&alternatives, "1", &row);
    BSON_APPEND_DOCUMENT_BEGIN(&row, "term", &condition);
    BSON_APPEND_INT64(&condition, "$lte", term);
    bson_append_document_end(&row, &condition);
    bson_append_document_end(&alternatives, &row);
    bson_append_array_end(filter, &alternatives);
}

enum bw_code worker_store_mark(struct worker_store *store, const char *id,
                               const struct worker_mark *mark, struct bw_error *error)
{
    bool matched;
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set;
    BSON_APPEND_UTF8(&filter, "_id", id);
    append_term_filter(&filter, mark->term);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_INT64(&set, "term", mark->term);
    BSON_APPEND_BOOL(&set, "alive", mark->is_alive);
    if (mark->beats_at_work)
        BSON_APPEND_BOOL(&set, "beats_at_work", true);
    BSON_APPEND_DATE_TIME(&set, "last_seen", mark->last_seen_ms);
    bson_append_document_end(&update, &set);
    enum bw_code code = database_update(store->database, COLLECTION, &filter, &update, &matched,
                                        error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

enum bw_code worker_store_delete(struct worker_store *store, const char *id, struct bw_error *error)
{
    return database_delete_ids(store->database, COLLECTION, &id, 1, NULL, error);
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
    enum bw_code code = database_find(store->database, COLLECTION, &everything, NULL, visit_worker,
                                      &visit, error);
    bson_destroy(&everything);
    return code;
}
