#include "common/store/log_chunk_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/db/database_mask.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "log_chunks"

enum {
    KEY_SIZE = JOB_ID_SIZE + 24,
    ID_SIZE = KEY_SIZE + 24,
    DUPLICATE_KEY = 11000,
    HEAD_PARTS = 4,    /* the first part of this number stays */
    REMOVAL_PARTS = 16 /* the oldest chunks are removed when the stream has grown by a part */
};

struct log_chunk_store {
    struct store base;
    int64_t max_bytes;
};

static const char *const stream_names[] = {[LOG_STDOUT] = "stdout", [LOG_STDERR] = "stderr"};

const char *log_stream_name(enum log_stream stream)
{
    return stream_names[stream];
}

bool log_stream_parse(const char *name, enum log_stream *stream)
{
    for (unsigned i = 0; i < sizeof stream_names / sizeof *stream_names; i++)
        if (strcmp(name, stream_names[i]) == 0) {
            *stream = (enum log_stream)i;
            return true;
        }
    return false;
}

enum bw_code log_chunk_store_open(struct database *database, size_t max_bytes,
                                  struct log_chunk_store **store, struct bw_error *error)
{
    struct log_chunk_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    self->max_bytes = (int64_t)max_bytes;
    *store = self;
    return BW_OK;
}

void log_chunk_store_close(struct log_chunk_store *store)
{
    store_close(store);
}

/* ---- Names ---- */

static void log_place_key(const struct log_place *place, char key[KEY_SIZE])
{
    snprintf(key, KEY_SIZE, "%s.%" PRIu32 "/%s", place->job, place->attempt,
             log_stream_name(place->stream));
}

/* Offsets have leading zeros, so that ids sort as they do. */
static void log_chunk_id(const struct log_place *place, int64_t offset, char id[ID_SIZE])
{
    char key[KEY_SIZE];
    log_place_key(place, key);
    snprintf(id, ID_SIZE, "%s/%013" PRId64, key, offset);
}

static int64_t log_chunk_offset(const bson_t *document)
{
    char id[ID_SIZE];
    const char *digits = document_text(document, "_id", id, sizeof id) ? strrchr(id, '/') : NULL;
    int64_t offset;
    return digits != NULL && sscanf(digits + 1, "%" SCNd64, &offset) == 1 ? offset : -1;
}

/* The stream's chunks from `offset` to before `end`; -1: to the last one. '0' is the character
 * behind '/'. */
static void log_chunk_append_range(bson_t *filter, const struct log_place *place, int64_t offset,
                                   int64_t end)
{
    char from[ID_SIZE], key[KEY_SIZE], to[ID_SIZE];
    bson_t range;
    log_chunk_id(place, offset, from);
    log_place_key(place, key);
    snprintf(to, sizeof to, "%s0", key);
    if (end >= 0)
        log_chunk_id(place, end, to);
    BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &range);
    BSON_APPEND_UTF8(&range, "$gte", from);
    BSON_APPEND_UTF8(&range, "$lt", to);
    bson_append_document_end(filter, &range);
}

static bool log_chunk_take(const bson_t *document, struct log_chunk *chunk)
{
    bson_iter_t found;
    bson_subtype_t subtype;
    uint32_t length;
    const uint8_t *bytes;
    chunk->offset = log_chunk_offset(document);
    if (chunk->offset < 0 || !bson_iter_init_find(&found, document, "data") ||
        !BSON_ITER_HOLDS_BINARY(&found))
        return false;
    bson_iter_binary(&found, &subtype, &length, &bytes);
    chunk->bytes = (const char *)bytes;
    chunk->length = length;
    return true;
}

/* ---- Adding ---- */

/* What is known of a stream, and of the place where a chunk is added. */
struct log_chunk_adding {
    const struct log_chunk *chunk;
    int64_t end, cost;       /* of the stream before */
    bool has_chunk, is_same; /* a chunk starts at this offset; its bytes are the same */
    bool is_overlapping;     /* a chunk that starts elsewhere has some of its bytes */
};

static void take_before(const bson_t *document, void *context)
{
    struct log_chunk_adding *adding = context;
    struct log_chunk chunk;
    if (document_integer(document, "end", -1) >= 0) {
        adding->end = document_integer(document, "end", 0);
        adding->cost = document_integer(document, "cost", 0);
    } else if (log_chunk_take(document, &chunk)) {
        adding->has_chunk = true;
        adding->is_same = chunk.length == adding->chunk->length &&
                          memcmp(chunk.bytes, adding->chunk->bytes, chunk.length) == 0;
    }
}

static enum bw_code read_before(struct log_chunk_store *store, const struct log_place *place,
                                struct log_chunk_adding *adding, struct bw_error *error)
{
    char key[KEY_SIZE], id[ID_SIZE];
    const char *ids[] = {key, id};
    log_place_key(place, key);
    log_chunk_id(place, adding->chunk->offset, id);
    return database_find_ids(store->base.database, COLLECTION, ids, 2, NULL, take_before, adding,
                             error);
}

static enum bw_code refuse_overlap(const struct log_place *place,
                                   const struct log_chunk_adding *adding, struct bw_error *error)
{
    const char *stream = log_stream_name(place->stream);
    if (adding->has_chunk)
        return bw_fail(error, BW_CONFLICT,
                       "offset: the %s of job '%s' has another chunk at %" PRId64, stream,
                       place->job, adding->chunk->offset);
    return bw_fail(error, BW_CONFLICT,
                   "offset: the %s of job '%s' has %" PRId64
                   " bytes already, some of them from %" PRId64 " on",
                   stream, place->job, adding->end, adding->chunk->offset);
}

static void take_near(const bson_t *document, void *context)
{
    struct log_chunk_adding *adding = context;
    struct log_chunk chunk;
    if (log_chunk_take(document, &chunk) &&
        chunk.offset + (int64_t)chunk.length > adding->chunk->offset)
        adding->is_overlapping = true;
}

/* The chunk begins before the stream's end: chunks may arrive in another order, and fill a gap. */
static enum bw_code read_near(struct log_chunk_store *store, const struct log_place *place,
                              struct log_chunk_adding *adding, struct bw_error *error)
{
    const struct log_chunk *chunk = adding->chunk;
    int64_t from = chunk->offset > LOG_CHUNK_BYTES ? chunk->offset - LOG_CHUNK_BYTES : 0;
    bson_t filter = BSON_INITIALIZER;
    log_chunk_append_range(&filter, place, from, chunk->offset + (int64_t)chunk->length);
    enum bw_code code = database_find(store->base.database, COLLECTION, &filter, NULL, take_near,
                                      adding, error);
    bson_destroy(&filter);
    return code;
}

/* Options with the write concern of one server: a lost chunk is not missed. */
static void append_concern(bson_t *options)
{
    mongoc_write_concern_t *concern = mongoc_write_concern_new();
    mongoc_write_concern_set_w(concern, 1);
    (void)!mongoc_write_concern_append(concern, options);
    mongoc_write_concern_destroy(concern);
}

static enum bw_code log_chunk_fail(const bson_error_t *reason, struct bw_error *error)
{
    bson_error_t copy = *reason;
    return bw_fail(error, BW_UNAVAILABLE, "the database did not do it: %.200s",
                   database_mask(copy.message));
}

static bool insert_chunk(mongoc_collection_t *into, const struct log_chunk_store *store,
                         const struct log_place *place, const struct log_chunk_adding *adding,
                         bson_error_t *reason)
{
    bson_t document = BSON_INITIALIZER, options = BSON_INITIALIZER;
    char id[ID_SIZE];
    log_chunk_id(place, adding->chunk->offset, id);
    append_concern(&options);
    BSON_APPEND_UTF8(&document, "_id", id);
    BSON_APPEND_DATE_TIME(&document, "at", database_now_ms(store->base.database));
    BSON_APPEND_INT64(&document, "cost", adding->cost);
    bson_append_binary(&document, "data", -1, BSON_SUBTYPE_BINARY,
                       (const uint8_t *)adding->chunk->bytes, (uint32_t)adding->chunk->length);
    bool ok = mongoc_collection_insert_one(into, &document, &options, NULL, reason);
    bson_destroy(&options);
    bson_destroy(&document);
    return ok;
}

static int64_t log_chunk_cost(const struct log_chunk *chunk)
{
    return chunk->length > LOG_CHUNK_COST ? (int64_t)chunk->length : LOG_CHUNK_COST;
}

/* Moves the stream's end behind the chunk. Two first chunks at a time may conflict: the second try
 * then finds the document. */
static bool move_end(mongoc_collection_t *into, const struct log_chunk_store *store,
                     const struct log_place *place, const struct log_chunk *chunk,
                     bson_error_t *reason)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, options = BSON_INITIALIZER, part;
    char key[KEY_SIZE];
    log_place_key(place, key);
    append_concern(&options);
    BSON_APPEND_BOOL(&options, "upsert", true);
    BSON_APPEND_UTF8(&filter, "_id", key);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$max", &part);
    BSON_APPEND_INT64(&part, "end", chunk->offset + (int64_t)chunk->length);
    bson_append_document_end(&update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$inc", &part);
    BSON_APPEND_INT64(&part, "cost", log_chunk_cost(chunk));
    bson_append_document_end(&update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_DATE_TIME(&part, "at", database_now_ms(store->base.database));
    bson_append_document_end(&update, &part);
    bool ok = mongoc_collection_update_one(into, &filter, &update, &options, NULL, reason) ||
              (reason->code == DUPLICATE_KEY &&
               mongoc_collection_update_one(into, &filter, &update, &options, NULL, reason));
    bson_destroy(&options);
    bson_destroy(&update);
    bson_destroy(&filter);
    return ok;
}

/* Writes the chunk, then the end. *is_duplicate: another chunk has this _id. */
static enum bw_code write_chunk(struct log_chunk_store *store, const struct log_place *place,
                                const struct log_chunk_adding *adding, bool *is_duplicate,
                                struct bw_error *error)
{
    mongoc_client_t *client = database_client(store->base.database, error);
    bson_error_t reason;
    if (client == NULL)
        return BW_UNAVAILABLE;
    mongoc_collection_t *into = database_collection(store->base.database, client, COLLECTION);
    bool ok = adding->has_chunk || insert_chunk(into, store, place, adding, &reason);
    *is_duplicate = !ok && reason.code == DUPLICATE_KEY;
    if (ok)
        ok = move_end(into, store, place, adding->chunk, &reason);
    mongoc_collection_destroy(into);
    database_return(store->base.database, client);
    return ok || *is_duplicate ? BW_OK : log_chunk_fail(&reason, error);
}

/* Removes the oldest chunks behind the first quarter, if the stream has grown beyond its limit by
 * another part since the last removal. */
static enum bw_code remove_middle(struct log_chunk_store *store, const struct log_place *place,
                                  const struct log_chunk_adding *adding, struct bw_error *error)
{
    int64_t limit = store->max_bytes, head = limit / HEAD_PARTS, step = limit / REMOVAL_PARTS + 1;
    int64_t before = adding->cost - limit, now = before + log_chunk_cost(adding->chunk);
    bson_t filter = BSON_INITIALIZER, range;
    if (now <= 0 || (before > 0 && before / step == now / step))
        return BW_OK;
    log_chunk_append_range(&filter, place, 0, -1);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "cost", &range);
    BSON_APPEND_INT64(&range, "$gte", head);
    BSON_APPEND_INT64(&range, "$lt", head + now);
    bson_append_document_end(&filter, &range);
    enum bw_code code = database_delete(store->base.database, COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}

static enum bw_code log_chunk_try(struct log_chunk_store *store, const struct log_place *place,
                                  struct log_chunk_adding *adding, bool *is_duplicate,
                                  struct bw_error *error)
{
    const struct log_chunk *chunk = adding->chunk;
    int64_t end = chunk->offset + (int64_t)chunk->length;
    *is_duplicate = false;
    enum bw_code code = read_before(store, place, adding, error);
    if (code == BW_OK && !adding->has_chunk && chunk->offset < adding->end)
        code = read_near(store, place, adding, error);
    if (code != BW_OK)
        return code;
    if (adding->has_chunk ? !adding->is_same : adding->is_overlapping)
        return refuse_overlap(place, adding, error);
    if (adding->has_chunk && adding->end >= end)
        return BW_OK;
    code = write_chunk(store, place, adding, is_duplicate, error);
    if (code == BW_OK && !*is_duplicate)
        code = remove_middle(store, place, adding, error);
    return code;
}

enum bw_code log_chunk_store_add(struct log_chunk_store *store, const struct log_place *place,
                                 const struct log_chunk *chunk, int64_t *size,
                                 struct bw_error *error)
{
    struct log_chunk_adding adding = {.chunk = chunk};
    bool is_duplicate;
    enum bw_code code = log_chunk_try(store, place, &adding, &is_duplicate, error);
    if (code == BW_OK && is_duplicate) /* by another request: now it is found */
        code = log_chunk_try(store, place, &adding, &is_duplicate, error);
    if (code == BW_OK && is_duplicate)
        return bw_fail(error, BW_UNAVAILABLE, "the chunk can't be read back yet");
    if (code != BW_OK)
        return code;
    int64_t end = chunk->offset + (int64_t)chunk->length;
    *size = end > adding.end ? end : adding.end;
    return BW_OK;
}

/* ---- Reading ---- */

struct log_chunk_visit {
    void (*each)(const struct log_chunk *chunk, void *context);
    void *context;
};

static void log_chunk_visit_one(const bson_t *document, void *context)
{
    const struct log_chunk_visit *visit = context;
    struct log_chunk chunk;
    if (log_chunk_take(document, &chunk))
        visit->each(&chunk, visit->context);
}

enum bw_code log_chunk_store_read(struct log_chunk_store *store, const struct log_place *place,
                                  int64_t from,
                                  void (*each)(const struct log_chunk *chunk, void *context),
                                  void *context, struct bw_error *error)
{
    struct log_chunk_visit visit = {each, context};
    bson_t filter = BSON_INITIALIZER;
    log_chunk_append_range(&filter, place, from, -1);
    enum bw_code code = database_find(store->base.database, COLLECTION, &filter, NULL,
                                      log_chunk_visit_one, &visit, error);
    bson_destroy(&filter);
    return code;
}

/* A search for documents by ids, which name the follows that ask for them. */
struct log_follow_search {
    const char **ids;
    size_t count;
    void (*size)(size_t index, int64_t size, void *context);
    void (*chunk)(size_t index, const struct log_chunk *chunk, void *context);
    void *context;
};

static void log_follow_visit(const bson_t *document, void *context)
{
    const struct log_follow_search *search = context;
    struct log_chunk chunk;
    char id[ID_SIZE];
    bool is_chunk = search->chunk != NULL;
    if (!document_text(document, "_id", id, sizeof id) ||
        (is_chunk && !log_chunk_take(document, &chunk)))
        return;
    for (size_t i = 0; i < search->count; i++) {
        if (strcmp(search->ids[i], id) != 0)
            continue;
        if (is_chunk)
            search->chunk(i, &chunk, search->context);
        else
            search->size(i, document_integer(document, "end", 0), search->context);
    }
}

static enum bw_code log_follow_find(struct log_chunk_store *store, const struct log_follow *follows,
                                    struct log_follow_search *search, struct bw_error *error)
{
    char(*texts)[ID_SIZE] = bw_alloc_array(search->count, sizeof *texts);
    search->ids = bw_alloc_array(search->count, sizeof *search->ids);
    for (size_t i = 0; i < search->count; i++) {
        if (search->chunk != NULL)
            log_chunk_id(&follows[i].place, follows[i].offset, texts[i]);
        else
            log_place_key(&follows[i].place, texts[i]);
        search->ids[i] = texts[i];
    }
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, search->ids,
                                          search->count, NULL, log_follow_visit, search, error);
    free(search->ids);
    free(texts);
    return code;
}

enum bw_code log_chunk_store_sizes(struct log_chunk_store *store, const struct log_follow *follows,
                                   size_t count,
                                   void (*each)(size_t index, int64_t size, void *context),
                                   void *context, struct bw_error *error)
{
    struct log_follow_search search = {.count = count, .size = each, .context = context};
    return log_follow_find(store, follows, &search, error);
}

enum bw_code log_chunk_store_find(struct log_chunk_store *store, const struct log_follow *follows,
                                  size_t count,
                                  void (*each)(size_t index, const struct log_chunk *chunk,
                                               void *context),
                                  void *context, struct bw_error *error)
{
    struct log_follow_search search = {.count = count, .chunk = each, .context = context};
    return log_follow_find(store, follows, &search, error);
}

static void take_least(const bson_t *document, void *context)
{
    int64_t *least = context, offset = log_chunk_offset(document);
    if (offset >= 0 && (*least < 0 || offset < *least))
        *least = offset;
}

enum bw_code log_chunk_store_next(struct log_chunk_store *store, const struct log_follow *follow,
                                  int64_t *offset, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    int64_t least = -1;
    log_chunk_append_range(&filter, &follow->place, follow->offset, -1);
    BSON_APPEND_INT32(&projection, "_id", 1);
    enum bw_code code = database_find(store->base.database, COLLECTION, &filter, &projection,
                                      take_least, &least, error);
    bson_destroy(&projection);
    bson_destroy(&filter);
    if (code == BW_OK)
        *offset = least;
    return code;
}

/* ---- Removing ---- */

enum bw_code log_chunk_store_remove(struct log_chunk_store *store, const char *job,
                                    struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, range;
    char from[JOB_ID_SIZE + 1], to[JOB_ID_SIZE + 1];
    snprintf(from, sizeof from, "%s.", job);
    snprintf(to, sizeof to, "%s/", job); /* '/' is the character behind '.' */
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &range);
    BSON_APPEND_UTF8(&range, "$gte", from);
    BSON_APPEND_UTF8(&range, "$lt", to);
    bson_append_document_end(&filter, &range);
    enum bw_code code = database_delete(store->base.database, COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}
