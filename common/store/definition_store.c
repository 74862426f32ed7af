#include "common/store/definition_store.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/db/group_commit.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "run_definitions"

enum { TRY_MS = 10000 };

struct definition_store {
    struct store base;
};

enum bw_code definition_store_open(struct database *database, struct definition_store **store,
                                   struct bw_error *error)
{
    static const struct group_commit_settings settings = {
        .collection = COLLECTION,
        .max_documents = 256,
        .max_bytes = 16 * 1024 * 1024,
        .fails_fast = true,
        .fetches_duplicates = true,
        .excluded_fields = {"definition"},
    };
    struct definition_store *self = store_open(sizeof *self, database, &settings, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void definition_store_close(struct definition_store *store)
{
    store_close(store);
}

static void definition_store_completed(struct commit_item *item, enum commit_outcome outcome,
                                       const bson_t *existing)
{
    struct definition_commit *commit = (struct definition_commit *)item;
    char first[SHA256_TEXT_SIZE];
    bson_destroy(item->document);
    if (existing != NULL)
        document_text(existing, "digest", first, sizeof first);
    commit->completed(commit, outcome, existing != NULL ? first : NULL);
}

void definition_store_insert(struct definition_store *store, struct definition_commit *commit)
{
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", commit->run_id);
    BSON_APPEND_INT64(document, DOCUMENT_NONCE, nonce_new());
    BSON_APPEND_DATE_TIME(document, "created_at", database_now_ms(store->base.database));
    if (commit->digest[0] != '\0')
        BSON_APPEND_UTF8(document, "digest", commit->digest);
    bson_append_utf8(document, "definition", -1, commit->text, (int)commit->length);
    commit->item = (struct commit_item){
        .document = document,
        .expires_ms = clock_boot_ms() + TRY_MS,
        .completed = definition_store_completed,
    };
    group_commit_submit(store->base.commits, &commit->item);
}

static void definition_store_take_text(const bson_t *document, void *context)
{
    document_long_text(document, "definition", context);
}

enum bw_code definition_store_read(struct definition_store *store, const char *run_id, char **text,
                                   size_t *length, struct bw_error *error)
{
    struct long_text reading = {NULL, 0};
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, &run_id, 1, NULL,
                                          definition_store_take_text, &reading, error);
    if (code != BW_OK) {
        free(reading.text);
        return code;
    }
    if (reading.text == NULL)
        return bw_fail(error, BW_NOT_FOUND, "there is no definition of the grading run '%s'",
                       run_id);
    *text = reading.text;
    *length = reading.length;
    return BW_OK;
}

struct visit {
    void (*each)(const char *run_id, void *context);
    void *context;
};

static void visit_id(const bson_t *document, void *context)
{
    struct visit *visit = context;
    char id[RUN_ID_SIZE];
    if (document_text(document, "_id", id, sizeof id))
        visit->each(id, visit->context);
}

enum bw_code definition_store_each(struct definition_store *store,
                                   void (*each)(const char *run_id, void *context), void *context,
                                   struct bw_error *error)
{
    struct visit visit = {each, context};
    bson_t everything = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&projection, "_id", 1);
    enum bw_code code = database_find(store->base.database, COLLECTION, &everything, &projection,
                                      visit_id, &visit, error);
    bson_destroy(&everything);
    bson_destroy(&projection);
    return code;
}

enum bw_code definition_store_delete(struct definition_store *store, const char *run_id,
                                     struct bw_error *error)
{
    return database_delete_ids(store->base.database, COLLECTION, &run_id, 1, NULL, error);
}
