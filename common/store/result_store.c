#include "common/base/alloc.h"
#include "common/store/result_store.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/db/document.h"

#define COLLECTION "job_results"

struct result_store {
    struct database *database;
    struct group_commit *commits;
};

enum bw_code result_store_open(struct database *database, struct fence fence,
                               struct result_store **store, struct bw_error *error)
{
    const struct group_commit_settings settings = {
        .fence = fence,
        .collection = COLLECTION,
        .max_documents = 512,
        .max_bytes = 8 * 1024 * 1024,
        .fetches_duplicates = true,
        .excluded_fields = {"result"},
    };
    struct result_store *self = bw_alloc(sizeof *self);
    self->database = database;
    enum bw_code code = group_commit_open(database, &settings, &self->commits, error);
    if (code != BW_OK) {
        free(self);
        return code;
    }
    *store = self;
    return BW_OK;
}

void result_store_close(struct result_store *store)
{
    if (store == NULL)
        return;
    group_commit_close(store->commits);
    free(store);
}

bool result_from_document(const bson_t *document, struct result *result)
{
    memset(result, 0, sizeof *result);
    char outcome[16];
    if (!document_text(document, "_id", result->job, sizeof result->job) ||
        !document_text(document, "outcome", outcome, sizeof outcome))
        return false;
    result->outcome = outcome_parse(outcome);
    document_text(document, "worker", result->worker, sizeof result->worker);
    document_text(document, "reason", result->reason, sizeof result->reason);
    document_text(document, "note", result->note, sizeof result->note);
    document_text(document, "digest", result->digest, sizeof result->digest);
    result->is_silent = document_boolean(document, "silent", false);
    result->attempts = (uint32_t)document_integer(document, "attempts", 0);
    result->finished_ms = document_date(document, "finished_at");
    return result->outcome != OUTCOME_NONE;
}

static void result_store_settled(struct commit_item *item, enum commit_outcome outcome,
                                 const bson_t *existing)
{
    struct result_commit *commit = (struct result_commit *)item;
    bson_destroy(item->document);
    FAILPOINT("after_result_insert");
    struct result found;
    bool is_found = existing != NULL && result_from_document(existing, &found);
    commit->settled(commit, outcome, is_found ? &found : NULL);
}

void result_store_insert(struct result_store *store, struct result_commit *commit, int64_t try_ms)
{
    struct result *result = &commit->result;
    commit->nonce = nonce_new();
    result->finished_ms = database_now_ms(store->database);
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", result->job);
    BSON_APPEND_INT64(document, DOCUMENT_NONCE, commit->nonce);
    BSON_APPEND_UTF8(document, "outcome", outcome_name(result->outcome));
    if (result->worker[0] != '\0')
        BSON_APPEND_UTF8(document, "worker", result->worker);
    if (result->is_silent)
        BSON_APPEND_BOOL(document, "silent", true);
    if (result->attempts > 0)
        BSON_APPEND_INT32(document, "attempts", (int32_t)result->attempts);
    if (result->reason[0] != '\0')
        BSON_APPEND_UTF8(document, "reason", result->reason);
    if (result->note[0] != '\0')
        BSON_APPEND_UTF8(document, "note", result->note);
    if (result->digest[0] != '\0')
        BSON_APPEND_UTF8(document, "digest", result->digest);
    BSON_APPEND_DATE_TIME(document, "finished_at", result->finished_ms);
    if (result->text != NULL)
        bson_append_utf8(document, "result", -1, result->text, (int)result->text_length);
    commit->item = (struct commit_item){
        .document = document,
        .expires_ms = clock_boot_ms() + try_ms,
        .settled = result_store_settled,
    };
    group_commit_submit(store->commits, &commit->item);
}

struct visit {
    void (*each)(const struct result *result, void *context);
    void *context;
};

static void visit_result(const bson_t *document, void *context)
{
    struct visit *visit = context;
    struct result result;
    if (!result_from_document(document, &result))
        return;
    bson_iter_t field;
    uint32_t length;
    if (bson_iter_init_find(&field, document, "result") && BSON_ITER_HOLDS_UTF8(&field)) {
        result.text = bson_iter_dup_utf8(&field, &length);
        result.text_length = length;
    }
    visit->each(&result, visit->context);
    bson_free(result.text);
}

/* free() */
static const char **name_results(const char (*jobs)[JOB_ID_SIZE], size_t count)
{
    const char **ids = bw_alloc((count + 1) * sizeof *ids);
    for (size_t i = 0; i < count; i++)
        ids[i] = jobs[i];
    return ids;
}

enum bw_code result_store_read(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                               size_t count, bool with_text,
                               void (*each)(const struct result *result, void *context),
                               void *context, struct bw_error *error)
{
    struct visit visit = {each, context};
    const char **ids = name_results(jobs, count);
    bson_t projection = BSON_INITIALIZER;
    if (!with_text)
        BSON_APPEND_INT32(&projection, "result", 0);
    enum bw_code code = database_find_ids(store->database, COLLECTION, ids, count, &projection,
                                          visit_result, &visit, error);
    bson_destroy(&projection);
    free(ids);
    return code;
}

enum bw_code result_store_delete(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                                 size_t count, struct bw_error *error)
{
    const char **ids = name_results(jobs, count);
    enum bw_code code = database_delete_ids(store->database, COLLECTION, ids, count, NULL, error);
    free(ids);
    return code;
}
