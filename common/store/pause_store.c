#include "common/store/pause_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/db/database_insert.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "pauses"

struct pause_store {
    struct store base;
};

enum bw_code pause_store_open(struct database *database, struct pause_store **store,
                              struct bw_error *error)
{
    struct pause_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void pause_store_close(struct pause_store *store)
{
    store_close(store);
}

/* ---- Documents ---- */

static bson_t *pause_document(const struct pause *pause)
{
    char id[PAUSE_ID_SIZE];
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", pause_id(pause->kind, pause->name, pause->is_automatic, id));
    BSON_APPEND_UTF8(document, "by", pause->by);
    BSON_APPEND_UTF8(document, "note", pause->note);
    BSON_APPEND_DATE_TIME(document, "at", pause->at_ms);
    if (pause->until_ms != 0)
        BSON_APPEND_DATE_TIME(document, "until", pause->until_ms);
    if (pause->resumed_ms != 0)
        BSON_APPEND_DATE_TIME(document, "resumed_at", pause->resumed_ms);
    if (pause->is_drain)
        BSON_APPEND_BOOL(document, "drain", true);
    return document;
}

static bool pause_from_document(const bson_t *document, struct pause *pause)
{
    char id[PAUSE_ID_SIZE];
    memset(pause, 0, sizeof *pause);
    if (!document_text(document, "_id", id, sizeof id) || !pause_id_parse(id, pause))
        return false;
    document_text(document, "by", pause->by, sizeof pause->by);
    document_text(document, "note", pause->note, sizeof pause->note);
    pause->at_ms = document_date(document, "at");
    pause->until_ms = document_date(document, "until");
    pause->resumed_ms = document_date(document, "resumed_at");
    pause->is_drain = document_boolean(document, "drain", false);
    return true;
}

/* ---- Writes ---- */

static enum bw_code pause_store_replace(struct pause_store *store, const struct pause *pause,
                                        struct bw_error *error)
{
    bson_t *document = pause_document(pause);
    const bson_t *const documents[1] = {document};
    enum bw_code code = database_replace_each(store->base.database, COLLECTION, documents, 1,
                                              error);
    bson_destroy(document);
    return code;
}

enum bw_code pause_store_put(struct pause_store *store, struct pause *pause, int64_t timeout_ms,
                             struct bw_error *error)
{
    pause->at_ms = database_now_ms(store->base.database);
    pause->until_ms = timeout_ms == 0 ? 0 : pause->at_ms + timeout_ms;
    return pause_store_replace(store, pause, error);
}

enum bw_code pause_store_insert(struct pause_store *store, const struct pause *pause,
                                struct bw_error *error)
{
    bson_t *document = pause_document(pause);
    const bson_t *const documents[1] = {document};
    enum bw_code code = database_insert_missing(store->base.database, COLLECTION, documents, 1,
                                                NULL, error);
    bson_destroy(document);
    return code;
}

static enum bw_code pause_store_delete_ids(struct pause_store *store, enum pause_kind kind,
                                           const char *name, bool with_automatic,
                                           struct bw_error *error)
{
    char ids[2][PAUSE_ID_SIZE];
    const char *const texts[2] = {pause_id(kind, name, false, ids[0]),
                                  pause_id(kind, name, true, ids[1])};
    return database_delete_ids(store->base.database, COLLECTION, texts, with_automatic ? 2 : 1,
                               NULL, error);
}

enum bw_code pause_store_resume(struct pause_store *store, enum pause_kind kind, const char *name,
                                struct bw_error *error)
{
    struct pause resumed = {.kind = kind, .is_automatic = true};
    enum bw_code code = BW_OK;
    if (kind == PAUSE_RUN) {
        snprintf(resumed.name, sizeof resumed.name, "%s", name);
        snprintf(resumed.by, sizeof resumed.by, "scheduler");
        resumed.at_ms = resumed.resumed_ms = database_now_ms(store->base.database);
        code = pause_store_replace(store, &resumed, error);
    }
    return code == BW_OK ? pause_store_delete_ids(store, kind, name, false, error) : code;
}

/* {_id: ID, until: its end} */
enum bw_code pause_store_delete_passed(struct pause_store *store, const struct pause *pause,
                                       struct bw_error *error)
{
    char id[PAUSE_ID_SIZE];
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "_id", pause_id(pause->kind, pause->name, pause->is_automatic, id));
    BSON_APPEND_DATE_TIME(&filter, "until", pause->until_ms);
    enum bw_code code = database_delete(store->base.database, COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}

enum bw_code pause_store_delete_worker(struct pause_store *store, const char *worker,
                                       struct bw_error *error)
{
    return pause_store_delete_ids(store, PAUSE_WORKER, worker, false, error);
}

enum bw_code pause_store_delete_run(struct pause_store *store, const char *run,
                                    struct bw_error *error)
{
    return pause_store_delete_ids(store, PAUSE_RUN, run, true, error);
}

/* ---- Reads ---- */

struct pause_reading {
    struct pause *list;
    size_t count, room;
};

static void pause_store_take(const bson_t *document, void *context)
{
    struct pause_reading *reading = context;
    if (reading->count == reading->room) {
        reading->room = reading->room * 2 + 16;
        reading->list = bw_grow(reading->list, reading->room, sizeof *reading->list);
    }
    reading->count += pause_from_document(document, &reading->list[reading->count]);
}

static int pause_compare(const void *left, const void *right)
{
    const struct pause *one = left, *other = right;
    if (one->kind != other->kind)
        return one->kind < other->kind ? -1 : 1;
    int order = strcmp(one->name, other->name);
    return order != 0 ? order : one->is_automatic - other->is_automatic;
}

enum bw_code pause_store_read(struct pause_store *store, struct pause **pauses, size_t *count,
                              struct bw_error *error)
{
    struct pause_reading reading = {0};
    bson_t all = BSON_INITIALIZER;
    enum bw_code code = database_find(store->base.database, COLLECTION, &all, NULL,
                                      pause_store_take, &reading, error);
    bson_destroy(&all);
    if (code != BW_OK) {
        free(reading.list);
        return code;
    }
    if (reading.count > 0)
        qsort(reading.list, reading.count, sizeof *reading.list, pause_compare);
    *pauses = reading.list;
    *count = reading.count;
    return BW_OK;
}

enum bw_code pause_store_find(struct pause_store *store, const char (*ids)[PAUSE_ID_SIZE],
                              size_t count, void (*each)(const struct pause *pause, void *context),
                              void *context, struct bw_error *error)
{
    struct pause_reading reading = {0};
    const char **texts = bw_alloc_array(count, sizeof *texts);
    for (size_t i = 0; i < count; i++)
        texts[i] = ids[i];
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, texts, count, NULL,
                                          pause_store_take, &reading, error);
    for (size_t i = 0; code == BW_OK && i < reading.count; i++)
        each(&reading.list[i], context);
    free(reading.list);
    free(texts);
    return code;
}
