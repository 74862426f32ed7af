#include "common/db/database_insert.h"

#include <stdbool.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/db/database_mask.h"
#include "common/db/document.h"

enum { DUPLICATE_KEY = 11000, TRY_MS = 10000, RETRY_PAUSE_US = 100000 };

static bool has_concern_error(const bson_t *reply)
{
    bson_iter_t list, row;
    return bson_iter_init_find(&list, reply, "writeConcernErrors") &&
           bson_iter_recurse(&list, &row) && bson_iter_next(&row);
}

/* Counts the duplicates among the errors of a failed insert. False: there are other errors. */
static bool count_duplicates(const bson_t *reply, size_t *duplicates)
{
    bson_iter_t list, row;
    if (has_concern_error(reply) || !bson_iter_init_find(&list, reply, "writeErrors") ||
        !bson_iter_recurse(&list, &row))
        return false;
    size_t found = 0;
    for (; bson_iter_next(&row); found++) {
        const uint8_t *bytes;
        uint32_t length;
        bson_t document;
        bson_iter_document(&row, &length, &bytes);
        if (!bson_init_static(&document, bytes, length) ||
            document_integer(&document, "code", 0) != DUPLICATE_KEY)
            return false;
    }
    *duplicates = found;
    return found > 0;
}

/* One try. */
static bool database_insert_once(struct database *database, const char *collection,
                                 const bson_t *const *documents, size_t count, size_t *existing,
                                 bool *may_retry, struct bw_error *error)
{
    mongoc_client_t *client = database_client(database, error);
    *may_retry = true;
    *existing = 0;
    if (client == NULL)
        return false;
    mongoc_collection_t *into = database_collection(database, client, collection);
    bson_t options = BSON_INITIALIZER, reply;
    bson_error_t reason;
    BSON_APPEND_BOOL(&options, "ordered", false);
    bool ok = mongoc_collection_insert_many(into, (const bson_t **)(uintptr_t)documents, count,
                                            &options, &reply, &reason) ||
              count_duplicates(&reply, existing);
    if (!ok) {
        *may_retry = !database_is_refusal(&reason);
        bw_fail(error, BW_UNAVAILABLE, "the database did not do it: %.200s",
                database_mask(reason.message));
    }
    bson_destroy(&reply);
    bson_destroy(&options);
    mongoc_collection_destroy(into);
    database_return(database, client);
    return ok;
}

enum bw_code database_insert_missing(struct database *database, const char *collection,
                                     const bson_t *const *documents, size_t count, size_t *existing,
                                     struct bw_error *error)
{
    int64_t until_ms = clock_boot_ms() + TRY_MS;
    size_t unused;
    bool may_retry;
    while (!database_insert_once(database, collection, documents, count,
                                 existing != NULL ? existing : &unused, &may_retry, error)) {
        if (!may_retry || database_is_unavailable(database) || clock_boot_ms() >= until_ms)
            return BW_UNAVAILABLE;
        usleep(RETRY_PAUSE_US);
    }
    return BW_OK;
}

static bool add_replacements(mongoc_bulk_operation_t *bulk, const bson_t *const *documents,
                             size_t count, bson_error_t *reason)
{
    bson_t options = BSON_INITIALIZER;
    bool ok = true;
    BSON_APPEND_BOOL(&options, "upsert", true);
    for (size_t i = 0; ok && i < count; i++) {
        bson_t filter = BSON_INITIALIZER;
        bson_iter_t id;
        if (bson_iter_init_find(&id, documents[i], "_id"))
            bson_append_iter(&filter, "_id", -1, &id);
        ok = mongoc_bulk_operation_replace_one_with_opts(bulk, &filter, documents[i], &options,
                                                         reason);
        bson_destroy(&filter);
    }
    bson_destroy(&options);
    return ok;
}

/* One try. Another process that stores the same _id at the same time makes it fail. */
static bool database_replace_once(struct database *database, const char *collection,
                                  const bson_t *const *documents, size_t count, bool *may_retry,
                                  struct bw_error *error)
{
    *may_retry = true;
    mongoc_client_t *client = database_client(database, error);
    if (client == NULL)
        return false;
    mongoc_collection_t *into = database_collection(database, client, collection);
    bson_t options = BSON_INITIALIZER;
    BSON_APPEND_BOOL(&options, "ordered", false);
    mongoc_bulk_operation_t *bulk = mongoc_collection_create_bulk_operation_with_opts(into,
                                                                                      &options);
    bson_error_t reason = {0};
    bool ok = add_replacements(bulk, documents, count, &reason) &&
              mongoc_bulk_operation_execute(bulk, NULL, &reason) != 0;
    if (!ok) {
        *may_retry = !database_is_refusal(&reason);
        bw_fail(error, BW_UNAVAILABLE, "the database did not do it: %.200s",
                database_mask(reason.message));
    }
    mongoc_bulk_operation_destroy(bulk);
    bson_destroy(&options);
    mongoc_collection_destroy(into);
    database_return(database, client);
    return ok;
}

enum bw_code database_replace_each(struct database *database, const char *collection,
                                   const bson_t *const *documents, size_t count,
                                   struct bw_error *error)
{
    int64_t until_ms = clock_boot_ms() + TRY_MS;
    bool may_retry;
    while (!database_replace_once(database, collection, documents, count, &may_retry, error)) {
        if (!may_retry || database_is_unavailable(database) || clock_boot_ms() >= until_ms)
            return BW_UNAVAILABLE;
        usleep(RETRY_PAUSE_US);
    }
    return BW_OK;
}
