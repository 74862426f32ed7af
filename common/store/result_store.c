#include "common/base/alloc.h"
#include "common/store/result_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "job_results"

struct result_store {
    struct store base;
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
        .excluded_fields = {"result", "files", "tests", "receipt", "drift"},
    };
    struct result_store *self = store_open(sizeof *self, database, &settings, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void result_store_close(struct result_store *store)
{
    store_close(store);
}

/* Whether there is a number of that name. */
static bool result_take_number(const bson_t *document, const char *name, double *number)
{
    bson_iter_t field;
    bool is_there = bson_iter_init_find(&field, document, name) && BSON_ITER_HOLDS_DOUBLE(&field);
    if (is_there)
        *number = bson_iter_double(&field);
    return is_there;
}

bool result_from_document(const bson_t *document, struct result *result)
{
    memset(result, 0, sizeof *result);
    char outcome[16], owner[16], reported[16];
    if (!document_text(document, "_id", result->job, sizeof result->job) ||
        !document_text(document, "outcome", outcome, sizeof outcome))
        return false;
    result->outcome = outcome_parse(outcome);
    document_text(document, "worker", result->worker, sizeof result->worker);
    document_text(document, "reason", result->reason, sizeof result->reason);
    document_text(document, "note", result->note, sizeof result->note);
    document_text(document, "digest", result->digest, sizeof result->digest);
    document_text(document, "signature", result->signature, sizeof result->signature);
    if (document_text(document, "owner", owner, sizeof owner))
        result->owner = owner_parse(owner);
    document_text(document, "receipt_signature", result->receipt.signature,
                  sizeof result->receipt.signature);
    document_text(document, "receipt_key", result->receipt.key, sizeof result->receipt.key);
    document_text(document, "superseded_by", result->superseded_by, sizeof result->superseded_by);
    document_text(document, "holder", result->holder, sizeof result->holder);
    if (document_text(document, "reported", reported, sizeof reported))
        result->reported = outcome_parse(reported);
    result->has_score = result_take_number(document, "score", &result->score);
    result->has_max_score = result_take_number(document, "max_score", &result->max_score);
    result->is_silent = document_boolean(document, "silent", false);
    result->has_drift = document_boolean(document, "has_drift", false);
    result->attempts = (uint32_t)document_integer(document, "attempts", 0);
    result->started_ms = document_date(document, "started_at");
    result->finished_ms = document_date(document, "finished_at");
    result->held_until_ms = document_date(document, "held_until");
    return result->outcome != OUTCOME_NONE;
}

static void result_store_completed(struct commit_item *item, enum commit_outcome outcome,
                                   const bson_t *existing)
{
    struct result_commit *commit = (struct result_commit *)item;
    bson_destroy(item->document);
    FAILPOINT("after_result_insert");
    struct result found;
    bool is_found = existing != NULL && result_from_document(existing, &found);
    commit->completed(commit, outcome, is_found ? &found : NULL);
}

static void append_receipt(bson_t *document, const struct stored_receipt *receipt)
{
    if (receipt->text == NULL)
        return;
    BSON_APPEND_UTF8(document, "receipt", receipt->text);
    BSON_APPEND_UTF8(document, "receipt_signature", receipt->signature);
    BSON_APPEND_UTF8(document, "receipt_key", receipt->key);
}

static void result_append_scores(bson_t *document, const struct result *result)
{
    if (result->has_score)
        BSON_APPEND_DOUBLE(document, "score", result->score);
    if (result->has_max_score)
        BSON_APPEND_DOUBLE(document, "max_score", result->max_score);
    if (result->tests != NULL)
        BSON_APPEND_UTF8(document, "tests", result->tests);
}

/* Appends what a grader sends, as far as it is there. */
static void append_report(bson_t *document, const struct result *result)
{
    if (result->worker[0] != '\0')
        BSON_APPEND_UTF8(document, "worker", result->worker);
    if (result->is_silent)
        BSON_APPEND_BOOL(document, "silent", true);
    if (result->signature[0] != '\0')
        BSON_APPEND_UTF8(document, "signature", result->signature);
    if (result->note[0] != '\0')
        BSON_APPEND_UTF8(document, "note", result->note);
    if (result->digest[0] != '\0')
        BSON_APPEND_UTF8(document, "digest", result->digest);
    if (result->text != NULL)
        bson_append_utf8(document, "result", -1, result->text, (int)result->text_length);
    if (result->files != NULL)
        BSON_APPEND_UTF8(document, "files", result->files);
    result_append_scores(document, result);
    if (result->drift != NULL) {
        BSON_APPEND_BOOL(document, "has_drift", true);
        BSON_APPEND_UTF8(document, "drift", result->drift);
    }
}

void result_store_insert(struct result_store *store, struct result_commit *commit, int64_t try_ms)
{
    struct result *result = &commit->result;
    commit->nonce = nonce_new();
    if (result->finished_ms == 0)
        result->finished_ms = database_now_ms(store->base.database);
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", result->job);
    BSON_APPEND_INT64(document, DOCUMENT_NONCE, commit->nonce);
    BSON_APPEND_UTF8(document, "outcome", outcome_name(result->outcome));
    if (result->attempts > 0)
        BSON_APPEND_INT32(document, "attempts", (int32_t)result->attempts);
    if (result->reason[0] != '\0')
        BSON_APPEND_UTF8(document, "reason", result->reason);
    if (result->owner != OWNER_UNSAID)
        BSON_APPEND_UTF8(document, "owner", owner_name(result->owner));
    if (result->superseded_by[0] != '\0')
        BSON_APPEND_UTF8(document, "superseded_by", result->superseded_by);
    if (result->holder[0] != '\0')
        BSON_APPEND_UTF8(document, "holder", result->holder);
    if (result->started_ms != 0)
        BSON_APPEND_DATE_TIME(document, "started_at", result->started_ms);
    BSON_APPEND_DATE_TIME(document, "finished_at", result->finished_ms);
    append_report(document, result);
    append_receipt(document, &result->receipt);
    commit->item = (struct commit_item){
        .document = document,
        .expires_ms = clock_boot_ms() + try_ms,
        .completed = result_store_completed,
    };
    group_commit_submit(store->base.commits, &commit->item);
}

bool result_is_held(const struct result *result)
{
    return result->outcome == OUTCOME_SUPERSEDED && result->holder[0] != '\0' &&
           result->worker[0] == '\0' && result->held_until_ms == 0;
}

bool result_is_held_by(const struct result *result, const char *worker)
{
    return result_is_held(result) && strcmp(result->holder, worker) == 0;
}

/* {_id, holder, worker: there is none, held_until: there is none} */
static void result_build_held_filter(bson_t *filter, const char *job, const char *holder)
{
    static const char *const absent[] = {"worker", "held_until"};
    bson_t condition;
    BSON_APPEND_UTF8(filter, "_id", job);
    BSON_APPEND_UTF8(filter, "holder", holder);
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++) {
        bson_append_document_begin(filter, absent[i], -1, &condition);
        BSON_APPEND_BOOL(&condition, "$exists", false);
        bson_append_document_end(filter, &condition);
    }
}

enum bw_code result_store_end_holding(struct result_store *store, const char *job,
                                      const char *holder, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set;
    bool is_ended;
    result_build_held_filter(&filter, job, holder);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_DATE_TIME(&set, "held_until", database_now_ms(store->base.database));
    bson_append_document_end(&update, &set);
    enum bw_code code = database_update(store->base.database, COLLECTION, &filter, &update,
                                        &is_ended, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

enum bw_code result_store_keep(struct result_store *store, const struct result *result,
                               bool *is_kept, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set;
    result_build_held_filter(&filter, result->job, result->worker);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_DATE_TIME(&set, "held_until", database_now_ms(store->base.database));
    BSON_APPEND_UTF8(&set, "reported", outcome_name(result->outcome));
    append_report(&set, result);
    bson_append_document_end(&update, &set);
    enum bw_code code = database_update(store->base.database, COLLECTION, &filter, &update, is_kept,
                                        error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

struct visit {
    void (*each)(const struct result *result, void *context);
    void *context;
};

/* free(); NULL: there is no such text. */
static char *copy_text(const bson_t *document, const char *name)
{
    bson_iter_t field;
    bool is_there = bson_iter_init_find(&field, document, name) && BSON_ITER_HOLDS_UTF8(&field);
    return is_there ? bw_copy(bson_iter_utf8(&field, NULL)) : NULL;
}

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
    result.files = copy_text(document, "files");
    result.tests = copy_text(document, "tests");
    result.receipt.text = copy_text(document, "receipt");
    result.drift = copy_text(document, "drift");
    visit->each(&result, visit->context);
    bson_free(result.text);
    free(result.files);
    free(result.tests);
    free(result.receipt.text);
    free(result.drift);
}

/* free() */
static const char **name_results(const char (*jobs)[JOB_ID_SIZE], size_t count)
{
    const char **ids = bw_alloc((count + 1) * sizeof *ids);
    for (size_t i = 0; i < count; i++)
        ids[i] = jobs[i];
    return ids;
}

/* Reads all fields but those of the list `excluded`, which NULL ends. */
static enum bw_code result_store_visit(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                                       size_t count, const char *const *excluded,
                                       struct visit *visit, struct bw_error *error)
{
    const char **ids = name_results(jobs, count);
    bson_t projection = BSON_INITIALIZER;
    for (; *excluded != NULL; excluded++)
        BSON_APPEND_INT32(&projection, *excluded, 0);
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, ids, count, &projection,
                                          visit_result, visit, error);
    bson_destroy(&projection);
    free(ids);
    return code;
}

enum bw_code result_store_read(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                               size_t count, bool with_text,
                               void (*each)(const struct result *result, void *context),
                               void *context, struct bw_error *error)
{
    static const char *const excluded[] = {"receipt", "drift", "result", "files", "tests", NULL};
    static const char *const excluded_with_text[] = {"receipt", "drift", NULL};
    struct visit visit = {each, context};
    return result_store_visit(store, jobs, count, with_text ? excluded_with_text : excluded, &visit,
                              error);
}

enum bw_code result_store_read_receipts(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                                        size_t count,
                                        void (*each)(const struct result *result, void *context),
                                        void *context, struct bw_error *error)
{
    static const char *const excluded[] = {"result", "files", "tests", NULL};
    struct visit visit = {each, context};
    return result_store_visit(store, jobs, count, excluded, &visit, error);
}

static void take_one(const struct result *result, void *context)
{
    struct result *found = context;
    *found = *result;
    found->text = found->files = found->tests = NULL;
}

enum bw_code result_store_read_one(struct result_store *store, const char *job,
                                   struct result *result, struct bw_error *error)
{
    char id[1][JOB_ID_SIZE];
    struct result found = {.job = ""};
    snprintf(id[0], sizeof id[0], "%s", job);
    enum bw_code code = result_store_read(store, (const char(*)[JOB_ID_SIZE])id, 1, false, take_one,
                                          &found, error);
    if (code == BW_OK && found.job[0] == '\0')
        return bw_fail(error, BW_NOT_FOUND, "job '%s' has no result", job);
    if (code == BW_OK)
        *result = found;
    return code;
}

static void take_files(const bson_t *document, void *context)
{
    char **files = context;
    free(*files);
    *files = copy_text(document, "files");
}

enum bw_code result_store_read_files(struct result_store *store, const char *job, char **files,
                                     struct bw_error *error)
{
    char *found = NULL;
    bson_t projection = BSON_INITIALIZER;
    BSON_APPEND_INT32(&projection, "files", 1);
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, &job, 1, &projection,
                                          take_files, &found, error);
    bson_destroy(&projection);
    if (code == BW_OK)
        *files = found;
    else
        free(found);
    return code;
}

enum bw_code result_store_delete(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                                 size_t count, struct bw_error *error)
{
    const char **ids = name_results(jobs, count);
    enum bw_code code = database_delete_ids(store->base.database, COLLECTION, ids, count, NULL,
                                            error);
    free(ids);
    return code;
}
