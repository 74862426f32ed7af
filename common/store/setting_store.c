#include "common/store/setting_store.h"

#include <string.h>

#include "common/db/database_mask.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "settings"

enum { DUPLICATE_KEY = 11000 };

struct setting_store {
    struct store base;
};

enum bw_code setting_store_open(struct database *database, struct setting_store **store,
                                struct bw_error *error)
{
    struct setting_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void setting_store_close(struct setting_store *store)
{
    store_close(store);
}

static void setting_store_take_value(const bson_t *document, void *context)
{
    document_text(document, "value", context, SETTING_SIZE);
}

/* Inserts unless a value exists. BW_OK, BW_CONFLICT (one exists), BW_UNAVAILABLE. */
static enum bw_code setting_store_propose(struct setting_store *store, const char *name,
                                          const char *proposed, struct bw_error *error)
{
    mongoc_client_t *client = database_client(store->base.database, error);
    if (client == NULL)
        return BW_UNAVAILABLE;
    mongoc_collection_t *into = database_collection(store->base.database, client, COLLECTION);
    bson_t document = BSON_INITIALIZER;
    bson_error_t reason;
    BSON_APPEND_UTF8(&document, "_id", name);
    BSON_APPEND_UTF8(&document, "value", proposed);
    bool ok = mongoc_collection_insert_one(into, &document, NULL, NULL, &reason);
    bson_destroy(&document);
    mongoc_collection_destroy(into);
    database_return(store->base.database, client);
    if (ok)
        return BW_OK;
    if (reason.code == DUPLICATE_KEY)
        return bw_fail(error, BW_CONFLICT, "the setting '%s' is there already", name);
    return bw_fail(error, BW_UNAVAILABLE, "the setting '%s' could not be stored: %.200s", name,
                   database_mask(reason.message));
}

enum bw_code setting_store_agree(struct setting_store *store, const char *name,
                                 const char *proposed, char value[SETTING_SIZE], bool *is_new,
                                 struct bw_error *error)
{
    char found[SETTING_SIZE] = "";
    enum bw_code code = setting_store_propose(store, name, proposed, error);
    if (code != BW_OK && code != BW_CONFLICT)
        return code;
    code = database_find_ids(store->base.database, COLLECTION, &name, 1, NULL,
                             setting_store_take_value, found, error);
    if (code != BW_OK)
        return code;
    if (found[0] == '\0')
        return bw_fail(error, BW_UNAVAILABLE, "the setting '%s' can't be read back yet", name);
    memcpy(value, found, sizeof found);
    *is_new = strcmp(found, proposed) ==
              0; /* proposals are random: an equal value is this call's */
    return BW_OK;
}
