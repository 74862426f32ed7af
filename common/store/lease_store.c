#include "common/store/lease_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "job_leases"

enum { LEASE_ID_SIZE = JOB_ID_SIZE + 12, STAMP_CHUNK = 500 };

static const char *const end_names[] = {
    [LEASE_LIVE] = "",
    [LEASE_LOST] = "lost",
    [LEASE_EXPIRED] = "expired",
    [LEASE_UNDELIVERABLE] = "undeliverable",
    [LEASE_RELEASED] = "released",
    [LEASE_RETURNED] = "returned",
};

struct lease_store {
    struct store base;
};

const char *lease_end_name(enum lease_end end)
{
    return end_names[end];
}

static enum lease_end end_parse(const char *name)
{
    for (int end = LEASE_LOST; end <= LEASE_RELEASED; end++)
        if (strcmp(name, end_names[end]) == 0)
            return (enum lease_end)end;
    return LEASE_LIVE;
}

enum bw_code lease_store_open(struct database *database, struct fence fence,
                              struct lease_store **store, struct bw_error *error)
{
    const struct group_commit_settings settings = {
        .fence = fence,
        .collection = COLLECTION,
        .max_documents = 256, /* smaller than the chunks in which readers probe */
        .max_bytes = 4 * 1024 * 1024,
        .fetches_duplicates = true,
    };
    struct lease_store *self = store_open(sizeof *self, database, &settings, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void lease_store_close(struct lease_store *store)
{
    store_close(store);
}

static const char *lease_id(const char *job, uint32_t attempt, char id[LEASE_ID_SIZE])
{
    snprintf(id, LEASE_ID_SIZE, "%.32s.%u", job, attempt);
    return id;
}

/* One that a grader has returned has an owner. */
static void lease_read_return(const bson_t *document, struct lease *lease)
{
    char owner[16];
    if (lease->end != LEASE_RELEASED || !document_text(document, "owner", owner, sizeof owner))
        return;
    lease->end = LEASE_RETURNED;
    document_text(document, "reason", lease->reason, sizeof lease->reason);
    lease->is_ruled = document_boolean(document, "ruled", false);
}

bool lease_from_document(const bson_t *document, struct lease *lease)
{
    memset(lease, 0, sizeof *lease);
    char id[LEASE_ID_SIZE], end[32];
    if (!document_text(document, "_id", id, sizeof id) || strlen(id) <= JOB_ID_LENGTH ||
        id[JOB_ID_LENGTH] != '.')
        return false;
    memcpy(lease->job, id, JOB_ID_LENGTH);
    lease->attempt = (uint32_t)strtoul(id + JOB_ID_LENGTH + 1, NULL, 10);
    document_text(document, "worker", lease->worker, sizeof lease->worker);
    lease->term = document_integer(document, "term", 0);
    lease->leased_ms = document_date(document, "leased_at");
    lease->deadline_ms = document_date(document, "deadline");
    lease->limit_ms = document_integer(document, "limit_ms", 0);
    if (document_text(document, "ended", end, sizeof end))
        lease->end = end_parse(end);
    lease->ended_ms = document_date(document, "ended_at");
    document_text(document, "traceparent", lease->traceparent, sizeof lease->traceparent);
    lease_read_return(document, lease);
    return lease->attempt > 0;
}

static void lease_store_completed(struct commit_item *item, enum commit_outcome outcome,
                                  const bson_t *existing)
{
    struct lease_commit *commit = (struct lease_commit *)item;
    bson_destroy(item->document);
    FAILPOINT("after_lease_insert");
    struct lease found;
    bool is_found = existing != NULL && lease_from_document(existing, &found);
    commit->completed(commit, outcome, is_found ? &found : NULL);
}

void lease_store_insert(struct lease_store *store, struct lease_commit *commit, int64_t try_ms)
{
    const struct lease *lease = &commit->lease;
    char id[LEASE_ID_SIZE];
    commit->nonce = nonce_new();
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", lease_id(lease->job, lease->attempt, id));
    BSON_APPEND_INT64(document, DOCUMENT_NONCE, commit->nonce);
    BSON_APPEND_UTF8(document, "worker", lease->worker);
    BSON_APPEND_INT64(document, "term", lease->term);
    BSON_APPEND_DATE_TIME(document, "leased_at", lease->leased_ms);
    BSON_APPEND_DATE_TIME(document, "deadline", lease->deadline_ms);
    BSON_APPEND_INT64(document, "limit_ms", lease->limit_ms);
    if (lease->traceparent[0] != '\0')
        BSON_APPEND_UTF8(document, "traceparent", lease->traceparent);
    commit->item = (struct commit_item){
        .document = document,
        .expires_ms = clock_boot_ms() + try_ms,
        .completed = lease_store_completed,
    };
    group_commit_submit(store->base.commits, &commit->item);
}

/* {_id, ended: absent}: a lease that is live as far as `ended` tells. */
static void append_live_filter(bson_t *filter, const char *job, uint32_t attempt)
{
    char id[LEASE_ID_SIZE];
    bson_t condition;
    BSON_APPEND_UTF8(filter, "_id", lease_id(job, attempt, id));
    BSON_APPEND_DOCUMENT_BEGIN(filter, "ended", &condition);
    BSON_APPEND_BOOL(&condition, "$exists", false);
    bson_append_document_end(filter, &condition);
}

/* {_id: {$in: [...]}, ended: absent} */
static void append_live_leases(bson_t *filter, const struct lease *leases, size_t count)
{
    bson_t condition, list, absent;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "_id", &condition);
    BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &list);
    for (size_t i = 0; i < count; i++) {
        char buffer[16], id[LEASE_ID_SIZE];
        const char *key = document_key(i, buffer);
        BSON_APPEND_UTF8(&list, key, lease_id(leases[i].job, leases[i].attempt, id));
    }
    bson_append_array_end(&condition, &list);
    bson_append_document_end(filter, &condition);
    BSON_APPEND_DOCUMENT_BEGIN(filter, "ended", &absent);
    BSON_APPEND_BOOL(&absent, "$exists", false);
    bson_append_document_end(filter, &absent);
}

static void note_end_nonce(const bson_t *document, void *context)
{
    *(int64_t *)context = document_integer(document, "end_nonce", 0);
}

/* The update did not match: finds out whether an earlier try of it has ended the lease. */
static enum bw_code classify_end(struct lease_store *store, const char *job, uint32_t attempt,
                                 int64_t nonce, bool *ended, struct bw_error *error)
{
    char id[LEASE_ID_SIZE];
    const char *ids[] = {lease_id(job, attempt, id)};
    int64_t found = 0;
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, ids, 1, NULL,
                                          note_end_nonce, &found, error);
    if (code == BW_OK)
        *ended = found == nonce;
    return code;
}

enum bw_code lease_store_end(struct lease_store *store, const char *job, uint32_t attempt,
                             int64_t term, enum lease_end end, bool *ended, struct bw_error *error)
{
    int64_t nonce = nonce_new();
    bool matched = false;
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set, dates;
    append_live_filter(&filter, job, attempt);
    BSON_APPEND_INT64(&filter, "term", term);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_UTF8(&set, "ended", lease_end_name(end));
    BSON_APPEND_INT64(&set, "ended_term", term);
    BSON_APPEND_INT64(&set, "end_nonce", nonce);
    bson_append_document_end(&update, &set);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &dates);
    BSON_APPEND_BOOL(&dates, "ended_at", true);
    bson_append_document_end(&update, &dates);
    enum bw_code code = database_update(store->base.database, COLLECTION, &filter, &update,
                                        &matched, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    if (code != BW_OK)
        return code;
    if (!matched)
        return classify_end(store, job, attempt, nonce, ended, error);
    *ended = true;
    return BW_OK;
}

enum bw_code lease_store_return(struct lease_store *store, const struct lease *returned, bool *done,
                                struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, set, dates;
    append_live_filter(&filter, returned->job, returned->attempt);
    BSON_APPEND_UTF8(&filter, "worker", returned->worker);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_UTF8(&set, "ended", lease_end_name(LEASE_RELEASED));
    BSON_APPEND_UTF8(&set, "owner", owner_name(OWNER_INFRASTRUCTURE));
    BSON_APPEND_UTF8(&set, "reason", returned->reason);
    if (returned->is_ruled)
        BSON_APPEND_BOOL(&set, "ruled", true);
    bson_append_document_end(&update, &set);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$currentDate", &dates);
    BSON_APPEND_BOOL(&dates, "ended_at", true);
    bson_append_document_end(&update, &dates);
    enum bw_code code = database_update_try(store->base.database, COLLECTION, &filter, &update,
                                            done, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

enum bw_code lease_store_stamp(struct lease_store *store, const struct lease *leases, size_t count,
                               int64_t term, struct bw_error *error)
{
    bson_t update = BSON_INITIALIZER, set;
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &set);
    BSON_APPEND_INT64(&set, "term", term);
    bson_append_document_end(&update, &set);
    enum bw_code code = BW_OK;
    for (size_t from = 0; code == BW_OK && from < count; from += STAMP_CHUNK) {
        size_t chunk = count - from < STAMP_CHUNK ? count - from : STAMP_CHUNK;
        bson_t filter = BSON_INITIALIZER;
        append_live_leases(&filter, leases + from, chunk);
        uint64_t matched = 0;
        code = database_update_many(store->base.database, COLLECTION, &filter, &update, &matched,
                                    error);
        bson_destroy(&filter);
        if (code == BW_OK && matched < chunk)
            code = bw_fail(error, BW_CONFLICT, "leases have ended that were live a moment ago");
    }
    bson_destroy(&update);
    return code;
}

struct visit {
    void (*each)(const struct lease *lease, void *context);
    void *context;
};

static void visit_lease(const bson_t *document, void *context)
{
    struct visit *visit = context;
    struct lease lease;
    if (lease_from_document(document, &lease))
        visit->each(&lease, visit->context);
}

static void visit_returned(const bson_t *document, void *context)
{
    struct visit *visit = context;
    struct lease lease;
    if (lease_from_document(document, &lease) && lease.end == LEASE_RETURNED)
        visit->each(&lease, visit->context);
}

/* The ids of attempts first .. first+window-1 of the jobs: `ids` points into `texts`; free both. */
static size_t name_leases(const char (*jobs)[JOB_ID_SIZE], size_t count, uint32_t first,
                          uint32_t window, char (**texts)[LEASE_ID_SIZE], const char ***ids)
{
    size_t total = count * window;
    *texts = bw_alloc_array(total, sizeof **texts);
    *ids = bw_alloc_array(total, sizeof **ids);
    for (size_t i = 0; i < total; i++)
        (*ids)[i] = lease_id(jobs[i / window], first + (uint32_t)(i % window), (*texts)[i]);
    return total;
}

enum bw_code lease_store_read(struct lease_store *store, const char (*jobs)[JOB_ID_SIZE],
                              size_t count, uint32_t first, uint32_t window,
                              void (*each)(const struct lease *lease, void *context), void *context,
                              struct bw_error *error)
{
    struct visit visit = {each, context};
    char(*texts)[LEASE_ID_SIZE];
    const char **ids;
    size_t total = name_leases(jobs, count, first, window, &texts, &ids);
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, ids, total, NULL,
                                          visit_lease, &visit, error);
    free(ids);
    free(texts);
    return code;
}

enum bw_code lease_store_read_returned(struct lease_store *store, const char (*jobs)[JOB_ID_SIZE],
                                       const uint32_t *attempts, size_t count,
                                       void (*each)(const struct lease *lease, void *context),
                                       void *context, struct bw_error *error)
{
    struct visit visit = {each, context};
    char(*texts)[LEASE_ID_SIZE] = bw_alloc_array(count + 1, sizeof *texts);
    const char **ids = bw_alloc_array(count + 1, sizeof *ids);
    for (size_t i = 0; i < count; i++)
        ids[i] = lease_id(jobs[i], attempts[i], texts[i]);
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, ids, count, NULL,
                                          visit_returned, &visit, error);
    free(ids);
    free(texts);
    return code;
}

enum bw_code lease_store_delete(struct lease_store *store, const char (*jobs)[JOB_ID_SIZE],
                                size_t count, struct bw_error *error)
{
    enum { WINDOW = 4 };
    enum bw_code code = BW_OK;
    uint64_t deleted = 1;
    for (uint32_t first = 1; code == BW_OK && deleted > 0; first += WINDOW) {
        char(*texts)[LEASE_ID_SIZE];
        const char **ids;
        size_t total = name_leases(jobs, count, first, WINDOW, &texts, &ids);
        code = database_delete_ids(store->base.database, COLLECTION, ids, total, &deleted, error);
        free(ids);
        free(texts);
    }
    return code;
}
