#include "common/store/file_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/db/database_insert.h"
#include "common/db/document.h"
#include "common/store/file_store_internal.h"

enum { CHUNKS_AT_ONCE = 16 };

enum bw_code file_store_open(struct database *database, struct file_store **store,
                             struct bw_error *error)
{
    struct file_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void file_store_close(struct file_store *store)
{
    store_close(store);
}

/* ---- Names ---- */

const char *file_id_make(const char *scope, const char *hex, char id[FILE_ID_SIZE])
{
    snprintf(id, FILE_ID_SIZE, "%s/%s", scope, hex);
    return id;
}

static const char *file_chunk_id_make(const char *content, uint32_t number,
                                      char id[FILE_CHUNK_ID_SIZE])
{
    snprintf(id, FILE_CHUNK_ID_SIZE, "%s/%08u", content, (unsigned)number);
    return id;
}

/* '0' is the character behind '/'. */
void file_append_prefix(bson_t *filter, const char *prefix)
{
    char from[FILE_CHUNK_ID_SIZE], to[FILE_CHUNK_ID_SIZE];
    bson_t range;
    snprintf(from, sizeof from, "%s/", prefix);
    snprintf(to, sizeof to, "%s0", prefix);
    BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &range);
    BSON_APPEND_UTF8(&range, "$gte", from);
    BSON_APPEND_UTF8(&range, "$lt", to);
    bson_append_document_end(filter, &range);
}

/* ---- Contents ---- */

static enum bw_code insert_one(struct database *database, const char *collection,
                               const bson_t *document, bool *is_new, struct bw_error *error)
{
    size_t existing = 0;
    enum bw_code code = database_insert_missing(database, collection, &document, 1, &existing,
                                                error);
    *is_new = existing == 0;
    return code;
}

static enum bw_code file_upload_begin(struct database *database, const char *content,
                                      struct bw_error *error)
{
    bson_t document = BSON_INITIALIZER;
    bool unused;
    BSON_APPEND_UTF8(&document, "_id", content);
    BSON_APPEND_INT32(&document, "state", FILE_UPLOAD_UPLOADING);
    BSON_APPEND_DATE_TIME(&document, "at", database_now_ms(database));
    enum bw_code code = insert_one(database, UPLOADS_COLLECTION, &document, &unused, error);
    bson_destroy(&document);
    return code;
}

enum bw_code file_upload_move(struct database *database, const char *content,
                              enum file_upload_state from, enum file_upload_state to,
                              bool *is_moved, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set;
    BSON_APPEND_UTF8(&filter, "_id", content);
    BSON_APPEND_INT32(&filter, "state", from);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_INT32(&set, "state", to);
    BSON_APPEND_DATE_TIME(&set, "at", database_now_ms(database));
    bson_append_document_end(&update, &set);
    enum bw_code code = database_update(database, UPLOADS_COLLECTION, &filter, &update, is_moved,
                                        error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

enum bw_code file_content_delete(struct database *database, const char *content,
                                 struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER;
    file_append_prefix(&filter, content);
    enum bw_code code = database_delete(database, CHUNKS_COLLECTION, &filter, error);
    bson_destroy(&filter);
    if (code == BW_OK)
        code = database_delete_ids(database, UPLOADS_COLLECTION, &content, 1, NULL, error);
    return code;
}

/* ---- Storing ---- */

/* A content on its way into the database. */
struct file_upload {
    struct database *database;
    const struct file_source *source;
    char id[FILE_ID_SIZE], content[FILE_CONTENT_SIZE];
};

static enum bw_code read_chunk_of_source(const struct file_source *source, int64_t offset,
                                         char *bytes, size_t length, struct bw_error *error)
{
    for (size_t done = 0; done < length;) {
        ssize_t count = pread(source->fd, bytes + done, length - done, (off_t)offset + (off_t)done);
        if (count <= 0)
            return bw_fail(error, BW_INTERNAL, "the received file can't be read back");
        done += (size_t)count;
    }
    return BW_OK;
}

static bson_t *make_chunk(const struct file_upload *upload, uint32_t number, const char *bytes,
                          size_t length)
{
    char id[FILE_CHUNK_ID_SIZE];
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", file_chunk_id_make(upload->content, number, id));
    BSON_APPEND_UTF8(document, "files_id", upload->id);
    BSON_APPEND_INT32(document, "n", (int32_t)number);
    bson_append_binary(document, "data", -1, BSON_SUBTYPE_BINARY, (const uint8_t *)bytes,
                       (uint32_t)length);
    return document;
}

/* Stores the chunks from number `first` on, CHUNKS_AT_ONCE at most. */
static enum bw_code store_chunks(const struct file_upload *upload, uint32_t first, char *bytes,
                                 struct bw_error *error)
{
    bson_t *documents[CHUNKS_AT_ONCE];
    size_t count = 0;
    int64_t left = upload->source->size - (int64_t)first * FILE_CHUNK_BYTES;
    enum bw_code code = BW_OK;
    for (uint32_t number = first; code == BW_OK && count < CHUNKS_AT_ONCE && left > 0; number++) {
        size_t length = left < FILE_CHUNK_BYTES ? (size_t)left : FILE_CHUNK_BYTES;
        code = read_chunk_of_source(upload->source, (int64_t)number * FILE_CHUNK_BYTES, bytes,
                                    length, error);
        if (code == BW_OK)
            documents[count++] = make_chunk(upload, number, bytes, length);
        left -= (int64_t)length;
    }
    if (code == BW_OK && count > 0)
        code = database_insert_missing(upload->database, CHUNKS_COLLECTION,
                                       (const bson_t *const *)documents, count, NULL, error);
    for (size_t i = 0; i < count; i++)
        bson_destroy(documents[i]);
    return code;
}

static enum bw_code store_content(const struct file_upload *upload, struct bw_error *error)
{
    char *bytes = bw_alloc(FILE_CHUNK_BYTES);
    enum bw_code code = file_upload_begin(upload->database, upload->content, error);
    for (uint32_t first = 0;
         code == BW_OK && (int64_t)first * FILE_CHUNK_BYTES < upload->source->size;
         first += CHUNKS_AT_ONCE) {
        code = store_chunks(upload, first, bytes, error);
        FAILPOINT("after_file_chunks");
    }
    free(bytes);
    return code;
}

/* Renews the date of use of a stored file, and withdraws a mark for its removal. */
static enum bw_code file_store_renew(struct database *database, const char *id, bool *is_stored,
                                     struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_DATE_TIME(&part, "used_at", database_now_ms(database));
    bson_append_document_end(&update, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
    BSON_APPEND_BOOL(&part, "removing", true);
    bson_append_document_end(&update, &part);
    enum bw_code code = database_update(database, FILES_COLLECTION, &filter, &update, is_stored,
                                        error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

static enum bw_code insert_file(const struct file_upload *upload, bool *is_new,
                                struct bw_error *error)
{
    bson_t document = BSON_INITIALIZER;
    int64_t now_ms = database_now_ms(upload->database);
    BSON_APPEND_UTF8(&document, "_id", upload->id);
    BSON_APPEND_INT64(&document, "length", upload->source->size);
    BSON_APPEND_INT32(&document, "chunkSize", FILE_CHUNK_BYTES);
    BSON_APPEND_DATE_TIME(&document, "uploadDate", now_ms);
    BSON_APPEND_DATE_TIME(&document, "used_at", now_ms);
    BSON_APPEND_UTF8(&document, "content", upload->content);
    enum bw_code code = insert_one(upload->database, FILES_COLLECTION, &document, is_new, error);
    bson_destroy(&document);
    return code;
}

static void take_stored_file(const bson_t *document, void *context)
{
    struct stored_file *file = context;
    document_text(document, "content", file->content, sizeof file->content);
    file->size = document_integer(document, "length", 0);
    file->chunk_bytes = (int)document_integer(document, "chunkSize", FILE_CHUNK_BYTES);
    if (file->chunk_bytes > 0)
        file->chunks = (uint32_t)((file->size + file->chunk_bytes - 1) / file->chunk_bytes);
}

static enum bw_code file_store_find_id(struct database *database, const char *id,
                                       struct stored_file *file, struct bw_error *error)
{
    struct stored_file found = {.content = ""};
    enum bw_code code = database_find_ids(database, FILES_COLLECTION, &id, 1, NULL,
                                          take_stored_file, &found, error);
    if (code == BW_OK && found.content[0] == '\0')
        code = bw_fail(error, BW_NOT_FOUND, "this file is not stored");
    if (code == BW_OK)
        *file = found;
    return code;
}

/* Deletes the content of an upload, whose chunks are known by their ids. */
static enum bw_code file_upload_discard(const struct file_upload *upload, struct bw_error *error)
{
    enum { AT_ONCE = 32 };
    char texts[AT_ONCE][FILE_CHUNK_ID_SIZE];
    const char *ids[AT_ONCE], *content = upload->content;
    int64_t chunks = (upload->source->size + FILE_CHUNK_BYTES - 1) / FILE_CHUNK_BYTES;
    enum bw_code code = BW_OK;
    for (int64_t from = 0; code == BW_OK && from < chunks; from += AT_ONCE) {
        size_t count = 0;
        for (int64_t number = from; number < chunks && count < AT_ONCE; number++, count++)
            ids[count] = file_chunk_id_make(content, (uint32_t)number, texts[count]);
        code = database_delete_ids(upload->database, CHUNKS_COLLECTION, ids, count, NULL, error);
    }
    if (code == BW_OK)
        code = database_delete_ids(upload->database, UPLOADS_COLLECTION, &content, 1, NULL, error);
    return code;
}

/* The stored file is this upload's own, perhaps by an earlier try, or another's. Whatever can't be
 * cleaned up here is found by the scan for half-stored contents (file_removal.h): the file is
 * stored. */
static enum bw_code file_upload_compare(const struct file_upload *upload, bool *is_stored,
                                        struct bw_error *error)
{
    struct stored_file stored;
    struct bw_error unused;
    const char *content = upload->content;
    enum bw_code code = file_store_find_id(upload->database, upload->id, &stored, error);
    *is_stored = code != BW_NOT_FOUND; /* it has just been removed */
    if (code == BW_OK && strcmp(stored.content, content) != 0)
        (void)!file_upload_discard(upload, &unused);
    else if (code == BW_OK)
        (void)!database_delete_ids(upload->database, UPLOADS_COLLECTION, &content, 1, NULL,
                                   &unused);
    return code == BW_NOT_FOUND ? BW_OK : code;
}

/* Ends an upload: its content becomes the file's, or is removed. *is_stored: one of them is. */
static enum bw_code file_upload_end(const struct file_upload *upload, bool *is_stored,
                                    struct bw_error *error)
{
    enum bw_code code = insert_file(upload, is_stored, error);
    if (code == BW_OK && !*is_stored)
        code = file_store_renew(upload->database, upload->id, is_stored, error);
    if (code == BW_OK && *is_stored)
        code = file_upload_compare(upload, is_stored, error);
    return code;
}

static enum bw_code file_upload_run(const struct file_upload *upload, struct bw_error *error)
{
    bool is_moved = false, is_stored = false;
    enum bw_code code = store_content(upload, error);
    if (code == BW_OK)
        code = file_upload_move(upload->database, upload->content, FILE_UPLOAD_UPLOADING,
                                FILE_UPLOAD_STORED, &is_moved, error);
    if (code != BW_OK || !is_moved)
        return code != BW_OK
                   ? code
                   : bw_fail(error, BW_UNAVAILABLE, "storing the file took too long: try again");
    while (code == BW_OK && !is_stored)
        code = file_upload_end(upload, &is_stored, error);
    return code;
}

enum bw_code file_store_put(struct file_store *store, const char *scope,
                            const struct file_source *source, struct bw_error *error)
{
    struct file_upload upload = {.database = store->base.database, .source = source};
    char random[25];
    bool is_stored = false;
    file_id_make(scope, source->hex, upload.id);
    enum bw_code code = file_store_renew(upload.database, upload.id, &is_stored, error);
    if (code != BW_OK || is_stored)
        return code;
    secret_random_hex(random, sizeof random);
    snprintf(upload.content, sizeof upload.content, "%s/%s", upload.id, random);
    return file_upload_run(&upload, error);
}

/* ---- Reading ---- */

enum bw_code file_store_find(struct file_store *store, const char *scope, const char *hex,
                             struct stored_file *file, struct bw_error *error)
{
    char id[FILE_ID_SIZE];
    return file_store_find_id(store->base.database, file_id_make(scope, hex, id), file, error);
}

struct chunk_reading {
    char *bytes;
    size_t length;
};

static void take_chunk(const bson_t *document, void *context)
{
    struct chunk_reading *reading = context;
    bson_iter_t data;
    const uint8_t *bytes;
    uint32_t length;
    if (reading->bytes != NULL || !bson_iter_init_find(&data, document, "data") ||
        !BSON_ITER_HOLDS_BINARY(&data))
        return;
    bson_iter_binary(&data, NULL, &length, &bytes);
    reading->bytes = bw_alloc(length + 1);
    memcpy(reading->bytes, bytes, length);
    reading->length = length;
}

static size_t chunk_length(const struct stored_file *file, uint32_t number)
{
    int64_t left = file->size - (int64_t)number * file->chunk_bytes;
    return left < file->chunk_bytes ? (size_t)left : (size_t)file->chunk_bytes;
}

enum bw_code file_store_read_chunk(struct file_store *store, const struct stored_file *file,
                                   uint32_t number, char **bytes, size_t *length,
                                   struct bw_error *error)
{
    char text[FILE_CHUNK_ID_SIZE];
    const char *id = file_chunk_id_make(file->content, number, text);
    struct chunk_reading reading = {NULL, 0};
    enum bw_code code = database_find_ids(store->base.database, CHUNKS_COLLECTION, &id, 1, NULL,
                                          take_chunk, &reading, error);
    if (code == BW_OK && (reading.bytes == NULL || reading.length != chunk_length(file, number)))
        code = bw_fail(error, BW_NOT_FOUND, "the file was removed while it was read");
    if (code != BW_OK) {
        free(reading.bytes);
        return code;
    }
    *bytes = reading.bytes;
    *length = reading.length;
    return BW_OK;
}
