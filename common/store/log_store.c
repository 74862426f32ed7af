#include "common/base/alloc.h"
#include "common/store/log_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/db/document.h"
#include "common/base/text_cut.h"
#include "common/store/store.h"

#define COLLECTION "job_logs"

enum { LOG_ID_SIZE = JOB_ID_SIZE + DIGEST_SIZE };

struct log_store {
    struct store base;
    size_t max_bytes;
};

enum bw_code log_store_open(struct database *database, size_t max_bytes, struct log_store **store,
                            struct bw_error *error)
{
    static const struct group_commit_settings settings = {
        .collection = COLLECTION,
        .max_documents = 256,
        .max_bytes = 16 * 1024 * 1024,
    };
    struct log_store *self = store_open(sizeof *self, database, &settings, error);
    if (self == NULL)
        return BW_INTERNAL;
    self->max_bytes = max_bytes;
    *store = self;
    return BW_OK;
}

void log_store_close(struct log_store *store)
{
    store_close(store);
}

static void log_store_completed(struct commit_item *item, enum commit_outcome outcome,
                                const bson_t *existing)
{
    (void)existing;
    struct log_commit *commit = (struct log_commit *)item;
    bson_destroy(item->document);
    FAILPOINT("after_log_insert");
    /* The id contains a digest of the content: an existing document is the same log. */
    commit->completed(commit, outcome == COMMIT_DUPLICATE ? COMMIT_DONE : outcome);
}

static void append_cut(bson_t *document, const char *field, const struct text_cut_place *cut)
{
    bson_t place;
    if (cut->missing == 0)
        return;
    BSON_APPEND_DOCUMENT_BEGIN(document, field, &place);
    BSON_APPEND_INT64(&place, "head", (int64_t)cut->head);
    BSON_APPEND_INT64(&place, "tail", (int64_t)cut->tail);
    BSON_APPEND_INT64(&place, "missing", (int64_t)cut->missing);
    bson_append_document_end(document, &place);
}

struct log_fields {
    const char *text, *cut;
};

static const struct log_fields out_fields = {"stdout", "stdout_cut"},
                               err_fields = {"stderr", "stderr_cut"};

static void append_log(bson_t *document, const struct log_fields *fields, const char *text,
                       size_t length, size_t limit, const struct text_cut_place *cut)
{
    if (text == NULL)
        return;
    if (length <= limit) {
        bson_append_utf8(document, fields->text, -1, text, (int)length);
        append_cut(document, fields->cut, cut);
        return;
    }
    size_t shorter_length;
    struct text_cut_place place;
    char *shorter = text_cut_place(text, length, limit, &shorter_length, &place);
    bson_append_utf8(document, fields->text, -1, shorter, (int)shorter_length);
    append_cut(document, fields->cut, &place);
    free(shorter);
}

void log_store_insert(struct log_store *store, struct log_commit *commit, int64_t try_ms)
{
    char id[LOG_ID_SIZE];
    snprintf(id, sizeof id, "%s.%s", commit->job, commit->digest);
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", id);
    BSON_APPEND_DATE_TIME(document, "at", database_now_ms(store->base.database));
    append_log(document, &out_fields, commit->out, commit->out_length, store->max_bytes,
               &commit->cuts.out);
    append_log(document, &err_fields, commit->err, commit->err_length, store->max_bytes,
               &commit->cuts.err);
    commit->item = (struct commit_item){
        .document = document,
        .expires_ms = clock_boot_ms() + try_ms,
        .completed = log_store_completed,
    };
    group_commit_submit(store->base.commits, &commit->item);
}

struct reading {
    char *out, *err;
    struct log_cuts cuts;
    bool is_found;
};

static char *copy_text(const bson_t *document, const char *field)
{
    bson_iter_t found;
    if (!bson_iter_init_find(&found, document, field) || !BSON_ITER_HOLDS_UTF8(&found))
        return NULL;
    char *copy = bw_copy(bson_iter_utf8(&found, NULL));
    return copy;
}

static size_t read_size(const bson_iter_t *object, const char *field)
{
    bson_iter_t found;
    int64_t size = 0;
    if (bson_iter_recurse(object, &found) && bson_iter_find(&found, field))
        size = bson_iter_as_int64(&found);
    return size > 0 ? (size_t)size : 0;
}

static void read_cut(const bson_t *document, const char *field, struct text_cut_place *cut)
{
    bson_iter_t object;
    if (bson_iter_init_find(&object, document, field) && BSON_ITER_HOLDS_DOCUMENT(&object))
        *cut = (struct text_cut_place){.head = read_size(&object, "head"),
                                       .tail = read_size(&object, "tail"),
                                       .missing = read_size(&object, "missing")};
}

static void take_log(const bson_t *document, void *context)
{
    struct reading *reading = context;
    if (reading->is_found)
        return;
    reading->is_found = true;
    reading->out = copy_text(document, out_fields.text);
    reading->err = copy_text(document, err_fields.text);
    read_cut(document, out_fields.cut, &reading->cuts.out);
    read_cut(document, err_fields.cut, &reading->cuts.err);
}

enum bw_code log_store_read(struct log_store *store, const char *job, const char *digest,
                            char **out, char **err, struct log_cuts *cuts, struct bw_error *error)
{
    char id[JOB_ID_SIZE + DIGEST_SIZE + 1];
    const char *ids[1] = {id};
    struct reading reading = {0};
    snprintf(id, sizeof id, "%s.%s", job, digest);
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, ids, 1, NULL, take_log,
                                          &reading, error);
    if (code == BW_OK && !reading.is_found)
        code = bw_fail(error, BW_NOT_FOUND, "job '%s' has no log", job);
    if (code != BW_OK) {
        free(reading.out);
        free(reading.err);
        return code;
    }
    if (cuts != NULL)
        *cuts = reading.cuts;
    *out = reading.out;
    *err = reading.err;
    return BW_OK;
}

struct visit {
    void (*each)(const struct log_name *name, void *context);
    void *context;
};

static void visit_name(const bson_t *document, void *context)
{
    struct visit *visit = context;
    struct log_name name;
    memset(&name, 0, sizeof name);
    char id[LOG_ID_SIZE];
    if (!document_text(document, "_id", id, sizeof id) || strlen(id) <= JOB_ID_LENGTH ||
        id[JOB_ID_LENGTH] != '.')
        return;
    memcpy(name.job, id, JOB_ID_LENGTH);
    snprintf(name.digest, sizeof name.digest, "%.64s", id + JOB_ID_LENGTH + 1);
    visit->each(&name, visit->context);
}

enum bw_code log_store_each(struct log_store *store,
                            void (*each)(const struct log_name *name, void *context), void *context,
                            struct bw_error *error)
{
    struct visit visit = {each, context};
    bson_t everything = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&projection, "_id", 1);
    enum bw_code code = database_find(store->base.database, COLLECTION, &everything, &projection,
                                      visit_name, &visit, error);
    bson_destroy(&everything);
    bson_destroy(&projection);
    return code;
}

enum bw_code log_store_delete(struct log_store *store, const struct log_name *names, size_t count,
                              struct bw_error *error)
{
    char(*texts)[LOG_ID_SIZE] = bw_alloc_array(count, sizeof *texts);
    const char **ids = bw_alloc_array(count, sizeof *ids);
    for (size_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%s.%s", names[i].job, names[i].digest);
        ids[i] = texts[i];
    }
    enum bw_code code = database_delete_ids(store->base.database, COLLECTION, ids, count, NULL,
                                            error);
    free(ids);
    free(texts);
    return code;
}
