/*
 * The uses of files, and their sizes.
 *
 * A removal marks a file, checks its uses again, and deletes it by a filter that names the mark; a
 * use is written first, and then withdraws the mark. So either the removal sees the use, or its
 * filter no longer matches, or the file is gone when its size is read afterwards.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/db/database_insert.h"
#include "common/db/document.h"
#include "common/store/file_store_internal.h"

enum { USES_AT_ONCE = 500, MARKS_AT_ONCE = 64 };

/* ---- Sizes ---- */

/* A digest and where it stands in the caller's list: sorted by digest, for look-ups. */
struct sized_file {
    const char *hex;
    size_t index;
};

struct sizing {
    struct sized_file *files;
    size_t count;
    int64_t *sizes;
    bool skips_marked; /* a file that is marked for removal counts as absent */
};

static int compare_files(const void *left, const void *right)
{
    const struct sized_file *one = left, *other = right;
    return strcmp(one->hex, other->hex);
}

/* The position of the first file with this digest; `count` if there is none. */
static size_t sizing_find(const struct sizing *sizing, const char *hex)
{
    size_t from = 0, to = sizing->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (strcmp(sizing->files[middle].hex, hex) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    bool is_there = from < sizing->count && strcmp(sizing->files[from].hex, hex) == 0;
    return is_there ? from : sizing->count;
}

static void sizing_take(const bson_t *document, void *context)
{
    struct sizing *sizing = context;
    char id[FILE_ID_SIZE];
    if (!document_text(document, "_id", id, sizeof id) ||
        (sizing->skips_marked && document_boolean(document, "removing", false)))
        return;
    const char *slash = strrchr(id, '/');
    if (slash == NULL)
        return;
    for (size_t i = sizing_find(sizing, slash + 1);
         i < sizing->count && strcmp(sizing->files[i].hex, slash + 1) == 0; i++)
        sizing->sizes[sizing->files[i].index] = document_integer(document, "length", 0);
}

static enum bw_code file_uses_read_sizes(struct file_store *store, const char *scope,
                                         const char (*hex)[SHA256_TEXT_SIZE], size_t count,
                                         struct sizing *sizing, struct bw_error *error)
{
    char(*ids)[FILE_ID_SIZE] = bw_alloc_array(count, sizeof *ids);
    const char **texts = bw_alloc_array(count, sizeof *texts);
    sizing->files = bw_alloc_array(count, sizeof *sizing->files);
    sizing->count = count;
    for (size_t i = 0; i < count; i++) {
        texts[i] = file_id_make(scope, hex[i], ids[i]);
        sizing->files[i] = (struct sized_file){hex[i], i};
        sizing->sizes[i] = -1;
    }
    qsort(sizing->files, count, sizeof *sizing->files, compare_files);
    enum bw_code code = database_find_ids(store->base.database, FILES_COLLECTION, texts, count,
                                          NULL, sizing_take, sizing, error);
    free(sizing->files);
    free(texts);
    free(ids);
    return code;
}

enum bw_code file_store_sizes(struct file_store *store, const char *scope,
                              const char (*hex)[SHA256_TEXT_SIZE], size_t count, int64_t *sizes,
                              struct bw_error *error)
{
    struct sizing sizing = {.sizes = sizes};
    return file_uses_read_sizes(store, scope, hex, count, &sizing, error);
}

/* ---- Uses ---- */

/* The files of one call that are stored. */
struct file_use {
    struct database *database;
    const char *run;
    char (*files)[FILE_ID_SIZE];
    size_t count;
};

static bson_t *make_use(const struct file_use *use, const char *file)
{
    char id[FILE_USE_ID_SIZE];
    bson_t *document = bson_new();
    snprintf(id, sizeof id, "%s/%s", use->run, file);
    BSON_APPEND_UTF8(document, "_id", id);
    BSON_APPEND_UTF8(document, "file", file);
    BSON_APPEND_DATE_TIME(document, "at", database_now_ms(use->database));
    return document;
}

/* Writes the uses of `count` files from number `first` on. The date of one that exists is renewed:
 * its run may be one that was never stored. */
static enum bw_code file_use_write(const struct file_use *use, size_t first, size_t count,
                                   struct bw_error *error)
{
    bson_t **documents = bw_alloc_array(count, sizeof *documents);
    for (size_t i = 0; i < count; i++)
        documents[i] = make_use(use, use->files[first + i]);
    enum bw_code code = database_replace_each(use->database, USES_COLLECTION,
                                              (const bson_t *const *)documents, count, error);
    for (size_t i = 0; i < count; i++)
        bson_destroy(documents[i]);
    free(documents);
    return code;
}

/* Withdraws the marks for removal of `count` files from number `first` on. */
static enum bw_code file_use_keep(const struct file_use *use, size_t first, size_t count,
                                  struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, part, list;
    char buffer[16];
    uint64_t unused;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "_id", &part);
    BSON_APPEND_ARRAY_BEGIN(&part, "$in", &list);
    for (size_t i = 0; i < count; i++)
        bson_append_utf8(&list, document_key(i, buffer), -1, use->files[first + i], -1);
    bson_append_array_end(&part, &list);
    bson_append_document_end(&filter, &part);
    BSON_APPEND_BOOL(&filter, "removing", true);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &part);
    BSON_APPEND_BOOL(&part, "removing", true);
    bson_append_document_end(&update, &part);
    enum bw_code code = database_update_many(use->database, FILES_COLLECTION, &filter, &update,
                                             &unused, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

typedef enum bw_code file_use_step(const struct file_use *use, size_t first, size_t count,
                                   struct bw_error *error);

static enum bw_code file_use_each(const struct file_use *use, file_use_step *step, size_t at_once,
                                  struct bw_error *error)
{
    enum bw_code code = BW_OK;
    for (size_t first = 0; code == BW_OK && first < use->count; first += at_once) {
        size_t left = use->count - first;
        code = step(use, first, left < at_once ? left : at_once, error);
    }
    return code;
}

static int compare_ids(const void *left, const void *right)
{
    return strcmp(left, right);
}

/* Sorts the ids, and drops repetitions. */
static void file_use_sort(struct file_use *use)
{
    size_t kept = 0;
    qsort(use->files, use->count, sizeof *use->files, compare_ids);
    for (size_t i = 0; i < use->count; i++)
        if (kept == 0 || strcmp(use->files[kept - 1], use->files[i]) != 0)
            memmove(use->files[kept++], use->files[i], sizeof *use->files);
    use->count = kept;
}

/* A marked file is stored, too, until it is gone: its mark is withdrawn. */
static void take_file_id(const bson_t *document, void *context)
{
    struct file_use *use = context;
    use->count += document_text(document, "_id", use->files[use->count], FILE_ID_SIZE);
}

/* Which of the files are stored. */
static enum bw_code file_use_find(struct file_use *use, struct bw_error *error)
{
    size_t count = use->count;
    char(*wanted)[FILE_ID_SIZE] = use->files;
    const char **ids = bw_alloc_array(count, sizeof *ids);
    bson_t projection = BSON_INITIALIZER;
    for (size_t i = 0; i < count; i++)
        ids[i] = wanted[i];
    use->files = bw_alloc_array(count, sizeof *use->files);
    use->count = 0;
    BSON_APPEND_INT32(&projection, "_id", 1);
    enum bw_code code = database_find_ids(use->database, FILES_COLLECTION, ids, count, &projection,
                                          take_file_id, use, error);
    bson_destroy(&projection);
    free(ids);
    free(wanted);
    return code;
}

enum bw_code file_store_use(struct file_store *store, const char *run, const char *scope,
                            const char (*hex)[SHA256_TEXT_SIZE], size_t count, int64_t *sizes,
                            struct bw_error *error)
{
    struct file_use use = {.database = store->base.database, .run = run, .count = count};
    use.files = bw_alloc_array(count, sizeof *use.files);
    for (size_t i = 0; i < count; i++)
        file_id_make(scope, hex[i], use.files[i]);
    file_use_sort(&use);
    enum bw_code code = file_use_find(&use, error);
    if (code == BW_OK)
        code = file_use_each(&use, file_use_write, USES_AT_ONCE, error);
    FAILPOINT("after_file_uses");
    if (code == BW_OK)
        code = file_use_each(&use, file_use_keep, MARKS_AT_ONCE, error);
    free(use.files);
    struct sizing sizing = {.sizes = sizes, .skips_marked = true};
    return code == BW_OK ? file_uses_read_sizes(store, scope, hex, count, &sizing, error) : code;
}

enum bw_code file_store_unuse(struct file_store *store, const char *run, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER;
    file_append_prefix(&filter, run);
    enum bw_code code = database_delete(store->base.database, USES_COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}
