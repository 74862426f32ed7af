#include "common/store/replica_store.h"

#include <string.h>

#include "common/db/database_mask.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "api_replicas"

struct replica_store {
    struct store base;
};

enum bw_code replica_store_open(struct database *database, struct replica_store **store,
                                struct bw_error *error)
{
    struct replica_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void replica_store_close(struct replica_store *store)
{
    store_close(store);
}

/* Two concurrent upserts of a new document can conflict; the second try then finds the document. */
static bool replica_store_upsert(mongoc_collection_t *into, const bson_t *filter,
                                 const bson_t *update, bson_error_t *reason)
{
    bson_t options = BSON_INITIALIZER;
    BSON_APPEND_BOOL(&options, "upsert", true);
    bool ok = mongoc_collection_update_one(into, filter, update, &options, NULL, reason) ||
              (reason->code == 11000 &&
               mongoc_collection_update_one(into, filter, update, &options, NULL, reason));
    bson_destroy(&options);
    return ok;
}

enum bw_code replica_store_write(struct replica_store *store, const struct replica *replica,
                                 struct bw_error *error)
{
    mongoc_client_t *client = database_client(store->base.database, error);
    if (client == NULL)
        return BW_UNAVAILABLE;
    mongoc_collection_t *into = database_collection(store->base.database, client, COLLECTION);
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set, dates;
    bson_error_t reason;
    BSON_APPEND_UTF8(&filter, "_id", replica->id);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_UTF8(&set, "url", replica->url);
    BSON_APPEND_UTF8(&set, "process", replica->process);
    bson_append_document_end(&update, &set);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &dates);
    BSON_APPEND_BOOL(&dates, "last_seen", true);
    bson_append_document_end(&update, &dates);
    bool ok = replica_store_upsert(into, &filter, &update, &reason);
    bson_destroy(&filter);
    bson_destroy(&update);
    mongoc_collection_destroy(into);
    database_return(store->base.database, client);
    return ok ? BW_OK
              : bw_fail(error, BW_UNAVAILABLE, "the heartbeat was not stored: %.200s",
                        database_mask(reason.message));
}

enum bw_code replica_store_remove(struct replica_store *store, const char *id, const char *process,
                                  struct bw_error *error)
{
    mongoc_client_t *client = database_client(store->base.database, error);
    if (client == NULL)
        return BW_UNAVAILABLE;
    mongoc_collection_t *from = database_collection(store->base.database, client, COLLECTION);
    bson_t filter = BSON_INITIALIZER;
    bson_error_t reason;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_UTF8(&filter, "process", process);
    bool ok = mongoc_collection_delete_one(from, &filter, NULL, NULL, &reason);
    bson_destroy(&filter);
    mongoc_collection_destroy(from);
    database_return(store->base.database, client);
    return ok ? BW_OK
              : bw_fail(error, BW_UNAVAILABLE, "the replica was not removed: %.200s",
                        database_mask(reason.message));
}

struct visit {
    void (*each)(const struct replica *replica, void *context);
    void *context;
};

static void visit_replica(const bson_t *document, void *context)
{
    struct visit *visit = context;
    struct replica replica = {0};
    if (!document_text(document, "_id", replica.id, sizeof replica.id))
        return;
    document_text(document, "url", replica.url, sizeof replica.url);
    document_text(document, "process", replica.process, sizeof replica.process);
    replica.last_seen_ms = document_date(document, "last_seen");
    visit->each(&replica, visit->context);
}

enum bw_code replica_store_each(struct replica_store *store,
                                void (*each)(const struct replica *replica, void *context),
                                void *context, struct bw_error *error)
{
    struct visit visit = {each, context};
    bson_t everything = BSON_INITIALIZER;
    enum bw_code code = database_find(store->base.database, COLLECTION, &everything, NULL,
                                      visit_replica, &visit, error);
    bson_destroy(&everything);
    return code;
}
