#include "common/store/webhook_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/secret.h"
#include "common/db/database_insert.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "webhooks"

struct webhook_store {
    struct store base;
};

enum bw_code webhook_store_open(struct database *database, struct webhook_store **store,
                                struct bw_error *error)
{
    struct webhook_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void webhook_store_close(struct webhook_store *store)
{
    store_close(store);
}

void webhook_id_new(char id[WEBHOOK_ID_SIZE])
{
    secret_random_hex(id, WEBHOOK_ID_SIZE);
}

/* ---- Documents ---- */

static bson_t *webhook_document(const struct webhook *webhook)
{
    char scope[WEBHOOK_SCOPE_SIZE];
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", webhook->id);
    BSON_APPEND_UTF8(document, "scope", webhook_scope(webhook->course, webhook->run, scope));
    if (webhook->course[0] != '\0')
        BSON_APPEND_UTF8(document, "course", webhook->course);
    if (webhook->run[0] != '\0')
        BSON_APPEND_UTF8(document, "run", webhook->run);
    BSON_APPEND_UTF8(document, "url", webhook->url);
    BSON_APPEND_UTF8(document, "secret", webhook->secret);
    BSON_APPEND_INT32(document, "events", (int32_t)webhook->events);
    BSON_APPEND_UTF8(document, "format", webhook_format_name(webhook->format));
    BSON_APPEND_DATE_TIME(document, "created_at", webhook->created_ms);
    return document;
}

static bool webhook_from_document(const bson_t *document, struct webhook *webhook)
{
    char format[20];
    memset(webhook, 0, sizeof *webhook);
    if (!document_text(document, "_id", webhook->id, sizeof webhook->id))
        return false;
    document_text(document, "course", webhook->course, sizeof webhook->course);
    document_text(document, "run", webhook->run, sizeof webhook->run);
    document_text(document, "url", webhook->url, sizeof webhook->url);
    document_text(document, "secret", webhook->secret, sizeof webhook->secret);
    document_text(document, "format", format, sizeof format);
    webhook->events = (unsigned)document_integer(document, "events", 0);
    webhook->created_ms = document_date(document, "created_at");
    return webhook_format_parse(format, &webhook->format);
}

/* ---- Writes ---- */

enum bw_code webhook_store_insert(struct webhook_store *store, struct webhook *webhooks,
                                  size_t count, struct bw_error *error)
{
    bson_t **documents = bw_alloc_array(count, sizeof *documents);
    for (size_t i = 0; i < count; i++) {
        webhooks[i].created_ms = database_now_ms(store->base.database);
        documents[i] = webhook_document(&webhooks[i]);
    }
    enum bw_code code = database_insert_missing(
        store->base.database, COLLECTION, (const bson_t *const *)documents, count, NULL, error);
    for (size_t i = 0; i < count; i++)
        bson_destroy(documents[i]);
    free(documents);
    return code;
}

enum bw_code webhook_store_delete(struct webhook_store *store, const char *id,
                                  struct bw_error *error)
{
    return database_delete_ids(store->base.database, COLLECTION, &id, 1, NULL, error);
}

enum bw_code webhook_store_delete_run(struct webhook_store *store, const char *run_id,
                                      struct bw_error *error)
{
    char scope[WEBHOOK_SCOPE_SIZE];
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "scope", webhook_scope("", run_id, scope));
    enum bw_code code = database_delete(store->base.database, COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}

/* ---- Reads ---- */

struct webhook_reading {
    void (*each)(const struct webhook *webhook, void *context);
    void *context;
};

static void webhook_store_take(const bson_t *document, void *context)
{
    const struct webhook_reading *reading = context;
    struct webhook webhook;
    if (webhook_from_document(document, &webhook))
        reading->each(&webhook, reading->context);
}

/* {scope: {$in: [...]}} */
enum bw_code webhook_store_find(struct webhook_store *store,
                                const char (*scopes)[WEBHOOK_SCOPE_SIZE], size_t count,
                                void (*each)(const struct webhook *webhook, void *context),
                                void *context, struct bw_error *error)
{
    struct webhook_reading reading = {each, context};
    bson_t filter = BSON_INITIALIZER, condition, list;
    char buffer[16];
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "scope", &condition);
    BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &list);
    for (size_t i = 0; i < count; i++)
        BSON_APPEND_UTF8(&list, document_key(i, buffer), scopes[i]);
    bson_append_array_end(&condition, &list);
    bson_append_document_end(&filter, &condition);
    enum bw_code code = database_find(store->base.database, COLLECTION, &filter, NULL,
                                      webhook_store_take, &reading, error);
    bson_destroy(&filter);
    return code;
}

struct webhook_found {
    struct webhook webhook;
    bool is_there, is_read;
};

static void webhook_store_take_one(const bson_t *document, void *context)
{
    struct webhook_found *found = context;
    found->is_there = true;
    found->is_read = webhook_from_document(document, &found->webhook);
}

enum bw_code webhook_store_read(struct webhook_store *store, const char *id,
                                struct webhook *webhook, struct bw_error *error)
{
    struct webhook_found found = {.is_there = false};
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, &id, 1, NULL,
                                          webhook_store_take_one, &found, error);
    if (code != BW_OK)
        return code;
    if (!found.is_there)
        return bw_fail(error, BW_NOT_FOUND, "there is no webhook '%s'", id);
    if (!found.is_read)
        return bw_fail(error, BW_UNAVAILABLE, "a later version has stored the webhook '%s'", id);
    *webhook = found.webhook;
    return BW_OK;
}
