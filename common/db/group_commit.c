#include "common/base/alloc.h"
#include "common/db/group_commit.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/db/document.h"

enum { RETRY_PAUSE_MS = 100, BATCH_LIMIT = 1024, DUPLICATE_KEY = 11000 };

struct group_commit {
    struct database *database;
    struct group_commit_settings settings;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t changed;
    struct commit_item *head, **tail;
    bool is_closing;
};

/* The outcome of each document of one try. */
enum verdict { VERDICT_DONE, VERDICT_DUPLICATE, VERDICT_REFUSED, VERDICT_AGAIN };

struct batch {
    struct commit_item *items[BATCH_LIMIT];
    enum verdict verdicts[BATCH_LIMIT];
    bson_t *existing[BATCH_LIMIT];
    unsigned count;
};

static void queue_append(struct group_commit *self, struct commit_item *item)
{
    item->next = NULL;
    *self->tail = item;
    self->tail = &item->next;
}

void group_commit_submit(struct group_commit *self, struct commit_item *item)
{
    pthread_mutex_lock(&self->mutex);
    queue_append(self, item);
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
}

/* Takes the next batch off the queue, with the mutex held: as much as the bounds allow, one at
 * least. */
static void batch_take(struct group_commit *self, struct batch *batch)
{
    size_t bytes = 0;
    batch->count = 0;
    while (self->head != NULL && batch->count < self->settings.max_documents) {
        struct commit_item *item = self->head;
        bytes += item->document->len;
        if (batch->count > 0 && bytes > self->settings.max_bytes)
            break;
        self->head = item->next;
        if (self->head == NULL)
            self->tail = &self->head;
        batch->items[batch->count++] = item;
    }
}

/* Blocks until there is something to send. False: closing, and nothing is left. */
static bool batch_wait(struct group_commit *self, struct batch *batch)
{
    pthread_mutex_lock(&self->mutex);
    while (self->head == NULL && !self->is_closing)
        pthread_cond_wait(&self->changed, &self->mutex);
    batch_take(self, batch);
    pthread_mutex_unlock(&self->mutex);
    return batch->count > 0;
}

/* Reads the errors that a reply lists by document into verdicts. True if it listed any. */
static bool read_write_errors(const bson_t *reply, enum verdict *verdicts, unsigned count)
{
    bson_iter_t list, row, field;
    bool any = false;
    if (!bson_iter_init_find(&list, reply, "writeErrors") || !bson_iter_recurse(&list, &row))
        return false;
    while (bson_iter_next(&row)) {
        bson_iter_t inner;
        int64_t index = -1, code = 0;
        if (bson_iter_recurse(&row, &inner) && bson_iter_find_descendant(&inner, "index", &field))
            index = bson_iter_as_int64(&field);
        if (bson_iter_recurse(&row, &inner) && bson_iter_find_descendant(&inner, "code", &field))
            code = bson_iter_as_int64(&field);
        if (index < 0 || index >= count)
            continue;
        bson_error_t reason = {.domain = MONGOC_ERROR_SERVER, .code = (uint32_t)code};
        any = true;
        if (code == DUPLICATE_KEY)
            verdicts[index] = VERDICT_DUPLICATE;
        else
            verdicts[index] = database_is_refusal(&reason) ? VERDICT_REFUSED : VERDICT_AGAIN;
    }
    return any;
}

static bool has_concern_error(const bson_t *reply)
{
    bson_iter_t list, row;
    return bson_iter_init_find(&list, reply, "writeConcernErrors") &&
           bson_iter_recurse(&list, &row) && bson_iter_next(&row);
}

static void group_commit_mark(enum verdict *verdicts, unsigned count, enum verdict verdict)
{
    for (unsigned i = 0; i < count; i++)
        verdicts[i] = verdict;
}

/* One insert of `count` documents. False: it was refused as a whole. */
static bool insert_once(mongoc_collection_t *into, struct batch *batch, unsigned from,
                        unsigned count)
{
    const bson_t *documents[BATCH_LIMIT];
    enum verdict *verdicts = batch->verdicts + from;
    for (unsigned i = 0; i < count; i++)
        documents[i] = batch->items[from + i]->document;
    bson_t options = BSON_INITIALIZER, reply;
    bson_error_t reason;
    BSON_APPEND_BOOL(&options, "ordered", false);
    bool ok = mongoc_collection_insert_many(into, documents, count, &options, &reply, &reason);
    bool failed_whole = false;
    group_commit_mark(verdicts, count, VERDICT_DONE);
    if (!ok && has_concern_error(&reply))
        group_commit_mark(verdicts, count, VERDICT_AGAIN); /* written, but perhaps not durably */
    else if (!ok && !read_write_errors(&reply, verdicts, count)) {
        group_commit_mark(verdicts, count, VERDICT_AGAIN);
        failed_whole = database_is_refusal(&reason);
    }
    bson_destroy(&reply);
    bson_destroy(&options);
    return !failed_whole;
}

/* Inserts a range, and halves it until a document that can't be stored is alone. */
static void insert_range(struct group_commit *self, mongoc_collection_t *into, struct batch *batch,
                         unsigned from, unsigned count)
{
    if (count > 1 && FAILPOINT_IS_SET("half_of_bulk") && insert_once(into, batch, from, count / 2))
        FAILPOINT("half_of_bulk");
    if (insert_once(into, batch, from, count))
        return;
    if (count == 1) {
        batch->verdicts[from] = VERDICT_REFUSED;
        return;
    }
    insert_range(self, into, batch, from, count / 2);
    insert_range(self, into, batch, from + count / 2, count - count / 2);
}

/* An _id is a text or, of runs, an ObjectId. */
static bool has_same_id(const bson_t *left, const bson_t *right)
{
    bson_iter_t mine, other;
    if (!bson_iter_init_find(&mine, left, "_id") || !bson_iter_init_find(&other, right, "_id") ||
        bson_iter_type(&mine) != bson_iter_type(&other))
        return false;
    if (BSON_ITER_HOLDS_OID(&mine))
        return bson_oid_equal(bson_iter_oid(&mine), bson_iter_oid(&other));
    return BSON_ITER_HOLDS_UTF8(&mine) &&
           strcmp(bson_iter_utf8(&mine, NULL), bson_iter_utf8(&other, NULL)) == 0;
}

static void note_existing(const bson_t *document, void *context)
{
    struct batch *batch = context;
    for (unsigned i = 0; i < batch->count; i++)
        if (batch->verdicts[i] == VERDICT_DUPLICATE && batch->existing[i] == NULL &&
            has_same_id(batch->items[i]->document, document))
            batch->existing[i] = bson_copy(document);
}

/* Reads the existing documents under duplicate ids. Documents that can't be read, or that a
 * majority does not have yet, are tried again; the item's own nonce means success. */
static void resolve_duplicates(struct group_commit *self, struct batch *batch)
{
    const bson_t *documents[BATCH_LIMIT];
    size_t count = 0;
    for (unsigned i = 0; i < batch->count; i++)
        if (batch->verdicts[i] == VERDICT_DUPLICATE)
            documents[count++] = batch->items[i]->document;
    if (count == 0 || !self->settings.fetches_duplicates)
        return;
    bson_t projection = BSON_INITIALIZER;
    for (size_t i = 0; i < COMMIT_EXCLUDED_MAX && self->settings.excluded_fields[i] != NULL; i++)
        BSON_APPEND_INT32(&projection, self->settings.excluded_fields[i], 0);
    struct bw_error unused;
    enum bw_code code = database_find_same(self->database, self->settings.collection, documents,
                                           count, &projection, note_existing, batch, &unused);
    bson_destroy(&projection);
    for (unsigned i = 0; i < batch->count; i++) {
        if (batch->verdicts[i] != VERDICT_DUPLICATE)
            continue;
        if (code != BW_OK || batch->existing[i] == NULL)
            batch->verdicts[i] = VERDICT_AGAIN;
        else if (document_integer(batch->existing[i], DOCUMENT_NONCE, 0) ==
                 document_integer(batch->items[i]->document, DOCUMENT_NONCE, 1))
            batch->verdicts[i] = VERDICT_DONE;
    }
}

static bool may_write(const struct group_commit *self)
{
    const struct fence *fence = &self->settings.fence;
    return fence->is_open == NULL || fence->is_open(fence->context);
}

/* Whether an item that was not stored may be tried again. */
static bool may_wait(const struct group_commit *self, const struct commit_item *item)
{
    if (!may_write(self) || clock_boot_ms() >= item->expires_ms)
        return false;
    return !self->settings.fails_fast || !database_is_unavailable(self->database);
}

static void batch_try(struct group_commit *self, struct batch *batch)
{
    memset(batch->existing, 0, sizeof *batch->existing * batch->count);
    group_commit_mark(batch->verdicts, batch->count, VERDICT_AGAIN);
    struct bw_error unused;
    if (!may_write(self))
        return;
    mongoc_client_t *client = database_client(self->database, &unused);
    if (client == NULL)
        return;
    mongoc_collection_t *into = database_collection(self->database, client,
                                                    self->settings.collection);
    insert_range(self, into, batch, 0, batch->count);
    mongoc_collection_destroy(into);
    database_return(self->database, client);
    resolve_duplicates(self, batch);
}

static void group_commit_complete(struct commit_item *item, enum verdict verdict,
                                  const bson_t *existing)
{
    static const enum commit_outcome outcomes[] = {
        [VERDICT_DONE] = COMMIT_DONE,
        [VERDICT_DUPLICATE] = COMMIT_DUPLICATE,
        [VERDICT_REFUSED] = COMMIT_REFUSED,
        [VERDICT_AGAIN] = COMMIT_UNKNOWN,
    };
    item->completed(item, outcomes[verdict], existing);
}

/* Completes the items that are decided, out of time or fenced off; the others return to the head of
 * the queue. True if there are others. */
static bool batch_complete(struct group_commit *self, struct batch *batch)
{
    struct commit_item *again = NULL, **tail = &again;
    for (unsigned i = 0; i < batch->count; i++) {
        struct commit_item *item = batch->items[i];
        if (batch->verdicts[i] == VERDICT_AGAIN && may_wait(self, item)) {
            *tail = item;
            tail = &item->next;
            continue;
        }
        group_commit_complete(item, batch->verdicts[i], batch->existing[i]);
    }
    for (unsigned i = 0; i < batch->count; i++)
        bson_destroy(batch->existing[i]);
    pthread_mutex_lock(&self->mutex);
    if (again != NULL) {
        *tail = self->head;
        if (self->head == NULL)
            self->tail = tail;
        self->head = again;
    }
    pthread_mutex_unlock(&self->mutex);
    return again != NULL;
}

/* While the database is unavailable, items in the queue must still be completed in time. */
static void expire_queued(struct group_commit *self)
{
    struct commit_item *expired = NULL, **tail = &expired;
    pthread_mutex_lock(&self->mutex);
    for (struct commit_item **at = &self->head; *at != NULL;) {
        struct commit_item *item = *at;
        if (may_wait(self, item)) {
            at = &item->next;
            continue;
        }
        *at = item->next;
        *tail = item;
        tail = &item->next;
    }
    self->tail = &self->head;
    while (*self->tail != NULL)
        self->tail = &(*self->tail)->next;
    pthread_mutex_unlock(&self->mutex);
    *tail = NULL;
    while (expired != NULL) {
        struct commit_item *item = expired;
        expired = item->next;
        group_commit_complete(item, VERDICT_AGAIN, NULL);
    }
}

static void pause_before_retry(struct group_commit *self)
{
    struct timespec until = clock_deadline(RETRY_PAUSE_MS);
    pthread_mutex_lock(&self->mutex);
    while (pthread_cond_timedwait(&self->changed, &self->mutex, &until) == 0)
        ; /* new items wait with the old ones */
    pthread_mutex_unlock(&self->mutex);
}

static void *group_commit_run(void *context)
{
    struct group_commit *self = context;
    struct batch *batch = bw_alloc(sizeof *batch);
    while (batch_wait(self, batch)) {
        batch_try(self, batch);
        if (!batch_complete(self, batch))
            continue;
        expire_queued(self);
        pause_before_retry(self);
    }
    free(batch);
    return NULL;
}

enum bw_code group_commit_open(struct database *database,
                               const struct group_commit_settings *settings,
                               struct group_commit **group_commit, struct bw_error *error)
{
    struct group_commit *self = bw_alloc(sizeof *self);
    self->database = database;
    self->settings = *settings;
    if (self->settings.max_documents > BATCH_LIMIT)
        self->settings.max_documents = BATCH_LIMIT;
    self->tail = &self->head;
    pthread_mutex_init(&self->mutex, NULL);
    clock_condition_init(&self->changed);
    if (pthread_create(&self->thread, NULL, group_commit_run, self) != 0) {
        pthread_cond_destroy(&self->changed);
        pthread_mutex_destroy(&self->mutex);
        free(self);
        return bw_fail(error, BW_INTERNAL, "no thread could be started for writes to %s",
                       settings->collection);
    }
    *group_commit = self;
    return BW_OK;
}

void group_commit_close(struct group_commit *self)
{
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->mutex);
    self->is_closing = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->mutex);
    pthread_join(self->thread, NULL);
    pthread_cond_destroy(&self->changed);
    pthread_mutex_destroy(&self->mutex);
    free(self);
}
