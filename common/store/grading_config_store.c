#include "common/base/alloc.h"
#include "common/store/grading_config_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/domain/job.h"
#include "common/store/definition_store.h"
#include "common/db/database_mask.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "grading_configs"

enum { ID_SIZE = 2 * WORKER_ID_SIZE };

struct grading_config_store {
    struct store base;
};

enum bw_code grading_config_store_open(struct database *database,
                                       struct grading_config_store **store, struct bw_error *error)
{
    struct grading_config_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void grading_config_store_close(struct grading_config_store *store)
{
    store_close(store);
}

/* No name holds a slash. */
static void make_id(const char *course, const char *assignment, char id[ID_SIZE])
{
    snprintf(id, ID_SIZE, "%s/%s", course, assignment);
}

enum bw_code grading_config_store_put(struct grading_config_store *store, const char *course,
                                      const char *assignment, const char *text, size_t length,
                                      struct bw_error *error)
{
    char id[ID_SIZE];
    if (length > DEFINITION_MAX_BYTES)
        return bw_fail(error, BW_TOO_LARGE,
                       "the grading config is too large: %zu bytes, and %d can be stored", length,
                       (int)DEFINITION_MAX_BYTES);
    mongoc_client_t *client = database_client(store->base.database, error);
    if (client == NULL)
        return BW_UNAVAILABLE;
    mongoc_collection_t *into = database_collection(store->base.database, client, COLLECTION);
    bson_t filter = BSON_INITIALIZER, document = BSON_INITIALIZER, options = BSON_INITIALIZER;
    bson_error_t reason;
    make_id(course, assignment, id);
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_UTF8(&document, "_id", id);
    bson_append_utf8(&document, "text", -1, text, (int)length);
    BSON_APPEND_BOOL(&options, "upsert", true);
    bool ok = mongoc_collection_replace_one(into, &filter, &document, &options, NULL, &reason);
    bson_destroy(&filter);
    bson_destroy(&document);
    bson_destroy(&options);
    mongoc_collection_destroy(into);
    database_return(store->base.database, client);
    return ok ? BW_OK
              : bw_fail(error, BW_UNAVAILABLE, "the grading config could not be stored: %.200s",
                        database_mask(reason.message));
}

struct reading {
    char *text;
    size_t length;
};

static void grading_config_store_take_text(const bson_t *document, void *context)
{
    struct reading *reading = context;
    bson_iter_t field;
    uint32_t length;
    if (!bson_iter_init_find(&field, document, "text") || !BSON_ITER_HOLDS_UTF8(&field))
        return;
    const char *text = bson_iter_utf8(&field, &length);
    free(reading->text);
    reading->text = bw_alloc((size_t)length + 1);
    memcpy(reading->text, text, length);
    reading->text[length] = '\0';
    reading->length = length;
}

enum bw_code grading_config_store_get(struct grading_config_store *store, const char *course,
                                      const char *assignment, char **text, size_t *length,
                                      struct bw_error *error)
{
    char id[ID_SIZE];
    const char *ids[1] = {id};
    struct reading reading = {0};
    make_id(course, assignment, id);
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, ids, 1, NULL,
                                          grading_config_store_take_text, &reading, error);
    if (code == BW_OK && reading.text == NULL)
        code = bw_fail(error, BW_NOT_FOUND, "assignment configuration not found");
    if (code != BW_OK) {
        free(reading.text);
        return code;
    }
    *text = reading.text;
    *length = reading.length;
    return BW_OK;
}
