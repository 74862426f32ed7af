#include "common/base/alloc.h"
#include "common/store/log_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/db/document.h"
#include "common/base/text_cut.h"

#define COLLECTION "job_logs"

enum { LOG_ID_SIZE = JOB_ID_SIZE + DIGEST_SIZE };

struct log_store {
    struct database *database;
    struct group_commit *commits;
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
    struct log_store *self = bw_alloc(sizeof *self);
    self->database = database;
    self->max_bytes = max_bytes;
    enum bw_code code = group_commit_open(database, &settings, &self->commits, error);
    if (code != BW_OK) {
        free(self);
        return code;
    }
    *store = self;
    return BW_OK;
}

void log_store_close(struct log_store *store)
{
    if (store == NULL)
        return;
    group_commit_close(store->commits);
    free(store);
}

static void log_store_settled(struct commit_item *item, enum commit_outcome outcome,
                              const bson_t *existing)
{
    (void)existing;
    struct log_commit *commit = (struct log_commit *)item;
    bson_destroy(item->document);
    FAILPOINT("after_log_insert");
    /* The id holds a digest of the content: what stands there is the same log. */
    commit->settled(commit, outcome == COMMIT_DUPLICATE ? COMMIT_DONE : outcome);
}

static void append_log(bson_t *document, const char *field, const char *text, size_t length,
                       size_t limit)
{
    if (text == NULL)
        return;
    if (length <= limit) {
        bson_append_utf8(document, field, -1, text, (int)length);
        return;
    }
    size_t cut_length;
    char *cut = text_cut(text, length, limit, &cut_length);
    if (cut == NULL)
        abort();
    bson_append_utf8(document, field, -1, cut, (int)cut_length);
    free(cut);
}

void log_store_insert(struct log_store *store, struct log_commit *commit, int64_t try_ms)
{
    char id[LOG_ID_SIZE];
    snprintf(id, sizeof id, "%s.%s", commit->job, commit->digest);
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", id);
    BSON_APPEND_DATE_TIME(document, "at", database_now_ms(store->database));
    append_log(document, "stdout", commit->out, commit->out_length, store->max_bytes);
    append_log(document, "stderr", commit->err, commit->err_length, store->max_bytes);
    commit->item = (struct commit_item){
        .document = document,
        .expires_ms = clock_boot_ms() + try_ms,
        .settled = log_store_settled,
    };
    group_commit_submit(store->commits, &commit->item);
}

struct reading {
    char *out, *err;
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

static void take_log(const bson_t *document, void *context)
{
    struct reading *reading = context;
    if (reading->is_found)
        return;
    reading->is_found = true;
    reading->out = copy_text(document, "stdout");
    reading->err = copy_text(document, "stderr");
}

enum bw_code log_store_read(struct log_store *store, const char *job, const char *digest,
                            char **out, char **err, struct bw_error *error)
{
    char id[JOB_ID_SIZE + DIGEST_SIZE + 1];
    const char *ids[1] = {id};
    struct reading reading = {0};
    snprintf(id, sizeof id, "%s.%s", job, digest);
    enum bw_code code = database_find_ids(store->database, COLLECTION, ids, 1, NULL, take_log,
                                          &reading, error);
    if (code == BW_OK && !reading.is_found)
        code = bw_fail(error, BW_NOT_FOUND, "job '%s' has no log", job);
    if (code != BW_OK) {
        free(reading.out);
        free(reading.err);
        return code;
    }
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
    enum bw_code code = database_find(store->database, COLLECTION, &everything, &projection,
                                      visit_name, &visit, error);
    bson_destroy(&everything);
    bson_destroy(&projection);
    return code;
}

enum bw_code log_store_delete(struct log_store *store, const struct log_name *names, size_t count,
                              struct bw_error *error)
{
    char(*texts)[LOG_ID_SIZE] = malloc((count + 1) * sizeof *texts);
    const char **ids = malloc((count + 1) * sizeof *ids);
    if (texts == NULL || ids == NULL)
        abort();
    for (size_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%s.%s", names[i].job, names[i].digest);
        ids[i] = texts[i];
    }
    enum bw_code code = database_delete_ids(store->database, COLLECTION, ids, count, NULL, error);
    free(ids);
    free(texts);
    return code;
}
