#include "common/store/definition_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/group_commit.h"
#include "common/store/document.h"

#define COLLECTION "run_definitions"

enum { TRY_MS = 10000, DOCUMENT_ROOM = 256 };

struct definition_store {
    struct database *database;
    struct group_commit *commits;
};

enum bw_code definition_store_open(struct database *database, struct definition_store **store,
                                   struct bw_error *error)
{
    static const struct group_commit_settings settings = {
        .collection = COLLECTION,
        .max_documents = 256,
        .max_bytes = 16 * 1024 * 1024,
        .is_hasty = true,
        .fetches_duplicates = true,
        .heavy_fields = {"definition"},
    };
    struct definition_store *self = calloc(1, sizeof *self);
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

void definition_store_close(struct definition_store *store)
{
    if (store == NULL)
        return;
    group_commit_close(store->commits);
    free(store);
}

static void settled(struct commit_item *item, enum commit_outcome outcome, const bson_t *existing)
{
    struct definition_commit *commit = (struct definition_commit *)item;
    (void)existing;
    bson_destroy(item->document);
    commit->settled(commit, outcome);
}

void definition_store_insert(struct definition_store *store, struct definition_commit *commit)
{
    bson_t *document = bson_sized_new(commit->length + DOCUMENT_ROOM);
    BSON_APPEND_UTF8(document, "_id", commit->run_id);
    BSON_APPEND_INT64(document, DOCUMENT_NONCE, nonce_new());
    BSON_APPEND_DATE_TIME(document, "created_at", database_now_ms(store->database));
    if (commit->digest[0] != '\0')
        BSON_APPEND_UTF8(document, "digest", commit->digest);
    bson_append_utf8(document, "definition", -1, commit->text, (int)commit->length);
    commit->item = (struct commit_item){
        .document = document,
        .expires_ms = clock_boot_ms() + TRY_MS,
        .settled = settled,
    };
    group_commit_submit(store->commits, &commit->item);
}

struct reading {
    char *text;
    size_t length;
};

static void take_text(const bson_t *document, void *context)
{
    struct reading *reading = context;
    bson_iter_t field;
    uint32_t length;
    if (!bson_iter_init_find(&field, document, "definition") || !BSON_ITER_HOLDS_UTF8(&field) ||
        reading->text != NULL)
        return;
    const char *text = bson_iter_utf8(&field, &length);
    reading->text = malloc((size_t)length + 1);
    if (reading->text == NULL)
        abort();
    memcpy(reading->text, text, (size_t)length + 1);
    reading->length = length;
}

enum bw_code definition_store_read(struct definition_store *store, const char *run_id, char **text,
                                   size_t *length, struct bw_error *error)
{
    struct reading reading = {0};
    enum bw_code code = database_find_ids(store->database, COLLECTION, &run_id, 1, NULL, take_text,
                                          &reading, error);
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

struct digest_reading {
    char *digest;
    bool is_found;
};

static void take_digest(const bson_t *document, void *context)
{
    struct digest_reading *reading = context;
    document_text(document, "digest", reading->digest, SHA256_TEXT_SIZE);
    reading->is_found = true;
}

enum bw_code definition_store_read_digest(struct definition_store *store, const char *run_id,
                                          char digest[SHA256_TEXT_SIZE], struct bw_error *error)
{
    struct digest_reading reading = {.digest = digest};
    bson_t projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&projection, "definition", 0);
    enum bw_code code = database_find_ids(store->database, COLLECTION, &run_id, 1, &projection,
                                          take_digest, &reading, error);
    bson_destroy(&projection);
    if (code == BW_OK && !reading.is_found)
        return bw_fail(error, BW_NOT_FOUND, "there is no definition of the grading run '%s'",
                       run_id);
    return code;
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
    enum bw_code code = database_find(store->database, COLLECTION, &everything, &projection,
                                      visit_id, &visit, error);
    bson_destroy(&everything);
    bson_destroy(&projection);
    return code;
}

enum bw_code definition_store_delete(struct definition_store *store, const char *run_id,
                                     struct bw_error *error)
{
    return database_delete_ids(store->database, COLLECTION, &run_id, 1, NULL, error);
}
