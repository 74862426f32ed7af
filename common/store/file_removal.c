/*
 * How a file and a new use exclude each other: see file_uses.c. The file's document goes first,
 * then its chunks; a document in file_uploads names them meanwhile.
 */
#include "common/store/file_removal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/db/database_insert.h"
#include "common/db/document.h"
#include "common/store/file_store_internal.h"

enum { FILES_AT_ONCE = 64, FIRST_NAMES = 64 };

/* Adds the condition that a date is before `before_ms`. */
static void append_before(bson_t *filter, const char *date, int64_t before_ms)
{
    bson_t range;
    bson_append_document_begin(filter, date, -1, &range);
    BSON_APPEND_DATE_TIME(&range, "$lt", before_ms);
    bson_append_document_end(filter, &range);
}

/* Names that a scan has found. */
struct name_list {
    char (*names)[FILE_CONTENT_SIZE];
    size_t count, capacity;
    const char *field;
};

static void name_list_take(const bson_t *document, void *context)
{
    struct name_list *list = context;
    if (list->count == list->capacity) {
        list->capacity = list->capacity > 0 ? 2 * list->capacity : FIRST_NAMES;
        list->names = bw_grow(list->names, list->capacity, sizeof *list->names);
    }
    list->count += document_text(document, list->field, list->names[list->count],
                                 sizeof *list->names);
}

/* The _ids of the documents whose date is before `before_ms`. */
static enum bw_code name_list_find(struct database *database, const char *collection,
                                   const char *date, int64_t before_ms, struct name_list *list,
                                   struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    *list = (struct name_list){.field = "_id"};
    append_before(&filter, date, before_ms);
    BSON_APPEND_INT32(&projection, "_id", 1);
    enum bw_code code = database_find(database, collection, &filter, &projection, name_list_take,
                                      list, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    return code;
}

/* ---- Files without uses ---- */

static void drop_used(const bson_t *document, void *context)
{
    struct name_list *list = context;
    char file[FILE_CONTENT_SIZE];
    if (!document_text(document, "file", file, sizeof file))
        return;
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->names[i], file) == 0)
            memmove(list->names[i], list->names[--list->count], sizeof *list->names);
}

/* Keeps those of the files (FILES_AT_ONCE at most) that no run uses. */
static enum bw_code keep_unused(struct database *database, struct name_list *list,
                                struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER, part, names;
    char buffer[16];
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "file", &part);
    BSON_APPEND_ARRAY_BEGIN(&part, "$in", &names);
    for (size_t i = 0; i < list->count; i++)
        bson_append_utf8(&names, document_key(i, buffer), -1, list->names[i], -1);
    bson_append_array_end(&part, &names);
    bson_append_document_end(&filter, &part);
    BSON_APPEND_INT32(&projection, "file", 1);
    enum bw_code code = database_find(database, USES_COLLECTION, &filter, &projection, drop_used,
                                      list, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    return code;
}

/* Marks a file, unless it was sent or used meanwhile. */
static enum bw_code file_removal_mark(struct database *database, const char *id, int64_t before_ms,
                                      bool *is_marked, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part;
    BSON_APPEND_UTF8(&filter, "_id", id);
    append_before(&filter, "used_at", before_ms);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &part);
    BSON_APPEND_BOOL(&part, "removing", true);
    bson_append_document_end(&update, &part);
    enum bw_code code = database_update(database, FILES_COLLECTION, &filter, &update, is_marked,
                                        error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

/* Names the content of a file that is about to go. It may be there from an interrupted removal. */
static enum bw_code file_removal_note(struct database *database, const char *content,
                                      struct bw_error *error)
{
    bson_t document = BSON_INITIALIZER;
    const bson_t *documents[] = {&document};
    BSON_APPEND_UTF8(&document, "_id", content);
    BSON_APPEND_INT32(&document, "state", FILE_UPLOAD_REMOVING);
    BSON_APPEND_DATE_TIME(&document, "at", database_now_ms(database));
    enum bw_code code = database_insert_missing(database, UPLOADS_COLLECTION, documents, 1, NULL,
                                                error);
    bson_destroy(&document);
    return code;
}

/* Deletes a file's document, if its mark is still there. */
static enum bw_code delete_marked(struct database *database, const char *id, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "_id", id);
    BSON_APPEND_BOOL(&filter, "removing", true);
    enum bw_code code = database_delete(database, FILES_COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}

static void take_content(const bson_t *document, void *context)
{
    document_text(document, "content", context, FILE_CONTENT_SIZE);
}

/* The content of a file; "": there is no such file. */
static enum bw_code file_removal_read(struct database *database, const char *id,
                                      char content[FILE_CONTENT_SIZE], struct bw_error *error)
{
    content[0] = '\0';
    return database_find_ids(database, FILES_COLLECTION, &id, 1, NULL, take_content, content,
                             error);
}

/* Deletes a content, unless it is that of a stored file. */
static enum bw_code delete_unnamed(struct database *database, const char *content, size_t *removed,
                                   struct bw_error *error)
{
    char id[FILE_CONTENT_SIZE], current[FILE_CONTENT_SIZE];
    snprintf(id, sizeof id, "%s", content);
    char *slash = strrchr(id, '/');
    if (slash != NULL)
        *slash = '\0';
    enum bw_code code = file_removal_read(database, id, current, error);
    if (code != BW_OK)
        return code;
    if (strcmp(current, content) == 0)
        return database_delete_ids(database, UPLOADS_COLLECTION, &content, 1, NULL, error);
    code = file_content_delete(database, content, error);
    *removed += code == BW_OK;
    return code;
}

/* Removes a marked file. */
static enum bw_code remove_marked(struct database *database, const char *id, size_t *removed,
                                  struct bw_error *error)
{
    char content[FILE_CONTENT_SIZE];
    enum bw_code code = file_removal_read(database, id, content, error);
    if (code != BW_OK || content[0] == '\0')
        return code;
    code = file_removal_note(database, content, error);
    FAILPOINT("before_file_delete");
    if (code == BW_OK)
        code = delete_marked(database, id, error);
    FAILPOINT("after_file_delete");
    return code == BW_OK ? delete_unnamed(database, content, removed, error) : code;
}

/* Removes those of the files (FILES_AT_ONCE at most) that no run uses. */
static enum bw_code remove_unused(struct database *database, struct name_list *list,
                                  int64_t before_ms, size_t *removed, struct bw_error *error)
{
    size_t kept = 0;
    enum bw_code code = keep_unused(database, list, error);
    for (size_t i = 0; code == BW_OK && i < list->count; i++) {
        bool is_marked = false;
        code = file_removal_mark(database, list->names[i], before_ms, &is_marked, error);
        if (is_marked)
            memmove(list->names[kept++], list->names[i], sizeof *list->names);
    }
    FAILPOINT("after_file_mark");
    if (code != BW_OK || kept == 0)
        return code;
    list->count = kept;
    code = keep_unused(database, list, error);
    for (size_t i = 0; code == BW_OK && i < list->count; i++)
        code = remove_marked(database, list->names[i], removed, error);
    return code;
}

enum bw_code file_removal_unused(struct file_store *store, int64_t before_ms, size_t *removed,
                                 struct bw_error *error)
{
    struct database *database = store->base.database;
    struct name_list all;
    *removed = 0;
    enum bw_code code = name_list_find(database, FILES_COLLECTION, "used_at", before_ms, &all,
                                       error);
    for (size_t first = 0; code == BW_OK && first < all.count; first += FILES_AT_ONCE) {
        size_t left = all.count - first;
        struct name_list some = {.names = all.names + first,
                                 .count = left < FILES_AT_ONCE ? left : FILES_AT_ONCE};
        code = remove_unused(database, &some, before_ms, removed, error);
    }
    free(all.names);
    return code;
}

/* ---- Contents without a file ---- */

/* An upload that is still being stored must not end once its chunks are being deleted. */
static enum bw_code remove_partial(struct database *database, const char *content, size_t *removed,
                                   struct bw_error *error)
{
    bool unused;
    enum bw_code code = file_upload_move(database, content, FILE_UPLOAD_UPLOADING,
                                         FILE_UPLOAD_REMOVING, &unused, error);
    return code == BW_OK ? delete_unnamed(database, content, removed, error) : code;
}

enum bw_code file_removal_partial(struct file_store *store, int64_t before_ms, size_t *removed,
                                  struct bw_error *error)
{
    struct database *database = store->base.database;
    struct name_list list;
    *removed = 0;
    enum bw_code code = name_list_find(database, UPLOADS_COLLECTION, "at", before_ms, &list, error);
    for (size_t i = 0; code == BW_OK && i < list.count; i++)
        code = remove_partial(database, list.names[i], removed, error);
    free(list.names);
    return code;
}

/* ---- Uses ---- */

struct user_scan {
    void (*each)(const char *run, void *context);
    void *context;
    char last[RUN_ID_SIZE];
};

static void scan_user(const bson_t *document, void *context)
{
    struct user_scan *scan = context;
    char run[RUN_ID_SIZE];
    if (!document_text(document, "_id", run, sizeof run) || strcmp(run, scan->last) == 0)
        return;
    memcpy(scan->last, run, sizeof run);
    scan->each(run, scan->context);
}

enum bw_code file_removal_each_user(struct file_store *store, int64_t before_ms,
                                    void (*each)(const char *run, void *context), void *context,
                                    struct bw_error *error)
{
    struct user_scan scan = {.each = each, .context = context};
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    append_before(&filter, "at", before_ms);
    BSON_APPEND_INT32(&projection, "_id", 1);
    enum bw_code code = database_find(store->base.database, USES_COLLECTION, &filter, &projection,
                                      scan_user, &scan, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    return code;
}

enum bw_code file_removal_uses(struct file_store *store, const char *run, int64_t before_ms,
                               struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER;
    file_append_prefix(&filter, run);
    append_before(&filter, "at", before_ms);
    enum bw_code code = database_delete(store->base.database, USES_COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}
