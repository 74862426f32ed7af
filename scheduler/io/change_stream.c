#include "scheduler/io/change_stream.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/db/database_mask.h"
#include "common/db/document.h"
#include "common/store/leader_store.h"

enum { AWAIT_MS = 500 };

struct change_stream {
    struct database *database;
    struct inbox *inbox;
    int64_t generation;
    mongoc_client_t *client;
    mongoc_database_t *handle;
    mongoc_change_stream_t *stream;
    pthread_t thread;
    atomic_bool is_closing;
    _Atomic int64_t seen_ms;
};

/* {operationType: insert, ns.coll: {$in: [...]}} */
static void append_inserts(bson_t *alternatives)
{
    static const char *const collections[] = {"job_results", "signals", "workers"};
    bson_t row, condition, list;
    BSON_APPEND_DOCUMENT_BEGIN(alternatives, "0", &row);
    BSON_APPEND_UTF8(&row, "operationType", "insert");
    BSON_APPEND_DOCUMENT_BEGIN(&row, "ns.coll", &condition);
    BSON_APPEND_ARRAY_BEGIN(&condition, "$in", &list);
    for (uint32_t i = 0; i < sizeof collections / sizeof *collections; i++) {
        char buffer[16];
        const char *key = document_key(i, buffer);
        BSON_APPEND_UTF8(&list, key, collections[i]);
    }
    bson_append_array_end(&condition, &list);
    bson_append_document_end(&row, &condition);
    bson_append_document_end(alternatives, &row);
}

/* {operationType: update, ns.coll: COLLECTION, updateDescription.updatedFields.FIELD: there} */
static void append_update(bson_t *alternatives, const char *key, const char *collection,
                          const char *field)
{
    bson_t row, condition;
    BSON_APPEND_DOCUMENT_BEGIN(alternatives, key, &row);
    BSON_APPEND_UTF8(&row, "operationType", "update");
    BSON_APPEND_UTF8(&row, "ns.coll", collection);
    BSON_APPEND_DOCUMENT_BEGIN(&row, field, &condition);
    BSON_APPEND_BOOL(&condition, "$exists", true);
    bson_append_document_end(&row, &condition);
    bson_append_document_end(alternatives, &row);
}

static void build_pipeline(bson_t *pipeline)
{
    static const char *const left_out[] = {"fullDocument.result",     "fullDocument.files",
                                           "fullDocument.tests",      "fullDocument.receipt",
                                           "fullDocument.drift",      "fullDocument.summary",
                                           "fullDocument.definition", "updateDescription"};
    bson_t stage, match, alternatives, project;
    BSON_APPEND_DOCUMENT_BEGIN(pipeline, "0", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$match", &match);
    BSON_APPEND_ARRAY_BEGIN(&match, "$or", &alternatives);
    append_inserts(&alternatives);
    append_update(&alternatives, "1", "grading_runs", "updateDescription.updatedFields.started_at");
    append_update(&alternatives, "2", "grading_runs",
                  "updateDescription.updatedFields.cancelled_at");
    append_update(&alternatives, "3", "leader", "updateDescription.updatedFields.mark");
    append_update(&alternatives, "4", "workers", "updateDescription.updatedFields.epoch");
    append_update(&alternatives, "5", "workers", "updateDescription.updatedFields.fault");
    append_update(&alternatives, "6", "job_leases", "updateDescription.updatedFields.owner");
    bson_append_array_end(&match, &alternatives);
    bson_append_document_end(&stage, &match);
    bson_append_document_end(pipeline, &stage);
    BSON_APPEND_DOCUMENT_BEGIN(pipeline, "1", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$project", &project);
    for (size_t i = 0; i < sizeof left_out / sizeof *left_out; i++)
        BSON_APPEND_INT32(&project, left_out[i], 0);
    bson_append_document_end(&stage, &project);
    bson_append_document_end(pipeline, &stage);
}

static bool change_stream_read_run(const bson_t *document, struct event *event)
{
    event->kind = EVENT_RUN_CHANGED;
    return run_from_document(document, &event->run);
}

static bool change_stream_read_result(const bson_t *document, struct event *event)
{
    event->kind = EVENT_RESULT;
    return result_from_document(document, &event->result);
}

static bool change_stream_read_return(const bson_t *document, struct event *event)
{
    event->kind = EVENT_RETURNED;
    return lease_from_document(document, &event->returned) && event->returned.end == LEASE_RETURNED;
}

static bool read_signal(const bson_t *document, struct event *event)
{
    event->kind = EVENT_SIGNAL;
    return signal_from_document(document, &event->signal);
}

static bool change_stream_read_worker(const bson_t *document, struct event *event)
{
    event->kind = EVENT_WORKER;
    return worker_from_document(document, &event->worker);
}

static bool read_mark(const bson_t *document, struct event *event)
{
    struct leader leader;
    event->kind = EVENT_MARK;
    if (!leader_from_document(document, &leader))
        return false;
    event->mark = leader.mark;
    return true;
}

static const struct reader {
    const char *collection;
    bool (*read)(const bson_t *document, struct event *event);
} readers[] = {
    {"grading_runs", change_stream_read_run},  {"job_results", change_stream_read_result},
    {"job_leases", change_stream_read_return}, {"signals", read_signal},
    {"workers", change_stream_read_worker},    {"leader", read_mark},
};

/* The document of a change, borrowed. False: it has none, because it was deleted in the meantime.
 */
static bool changed_document(const bson_t *change, bson_t *document)
{
    bson_iter_t field;
    const uint8_t *bytes;
    uint32_t length;
    if (!bson_iter_init_find(&field, change, "fullDocument") || !BSON_ITER_HOLDS_DOCUMENT(&field))
        return false;
    bson_iter_document(&field, &length, &bytes);
    return bson_init_static(document, bytes, length);
}

static void changed_collection(const bson_t *change, char *name, size_t size)
{
    bson_iter_t root, field;
    name[0] = '\0';
    if (!bson_iter_init(&root, change) || !bson_iter_find_descendant(&root, "ns.coll", &field) ||
        !BSON_ITER_HOLDS_UTF8(&field))
        return;
    strncpy(name, bson_iter_utf8(&field, NULL), size - 1);
    name[size - 1] = '\0';
}

/* Turns a change into an event. NULL: the change does not concern the scheduler. */
static struct event *read_change(const struct change_stream *change_stream, const bson_t *change)
{
    char collection[64];
    bson_t document;
    changed_collection(change, collection, sizeof collection);
    if (!changed_document(change, &document))
        return NULL;
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        if (strcmp(readers[i].collection, collection) != 0)
            continue;
        struct event *event = event_new(EVENT_MARK, change_stream->generation);
        if (readers[i].read(&document, event))
            return event;
        free(event);
        return NULL;
    }
    return NULL;
}

static void *change_stream_follow(void *context)
{
    struct change_stream *change_stream = context;
    const bson_t *change, *reply;
    bson_error_t reason;
    while (!atomic_load(&change_stream->is_closing)) {
        bool is_there = mongoc_change_stream_next(change_stream->stream, &change);
        atomic_store(&change_stream->seen_ms, clock_boot_ms());
        if (is_there) {
            struct event *event = read_change(change_stream, change);
            bool is_dropped = event != NULL && event->kind != EVENT_MARK &&
                              FAILPOINT_FAILS(event->kind == EVENT_SIGNAL ? "drop_signal"
                                                                          : "drop_change_event");
            if (is_dropped)
                event_free(event);
            else if (event != NULL && !inbox_post_bounded(change_stream->inbox, event))
                event_free(event);
            continue;
        }
        if (mongoc_change_stream_error_document(change_stream->stream, &reason, &reply)) {
            inbox_post(change_stream->inbox,
                       event_new(EVENT_STREAM_LOST, change_stream->generation));
            return NULL;
        }
    }
    return NULL;
}

static void change_stream_release(struct change_stream *change_stream)
{
    if (change_stream->stream != NULL)
        mongoc_change_stream_destroy(change_stream->stream);
    if (change_stream->handle != NULL)
        mongoc_database_destroy(change_stream->handle);
    if (change_stream->client != NULL)
        database_stream_return(change_stream->database, change_stream->client);
    free(change_stream);
}

/* Opens the stream itself, with one command. */
static enum bw_code open_stream(struct change_stream *change_stream, struct bw_error *error)
{
    change_stream->client = database_stream_client(change_stream->database, error);
    if (change_stream->client == NULL)
        return BW_UNAVAILABLE;
    change_stream->handle = mongoc_client_get_database(change_stream->client,
                                                       database_name(change_stream->database));
    bson_t pipeline = BSON_INITIALIZER, options = BSON_INITIALIZER;
    build_pipeline(&pipeline);
    BSON_APPEND_UTF8(&options, "fullDocument", "updateLookup");
    BSON_APPEND_INT64(&options, "maxAwaitTimeMS", AWAIT_MS);
    change_stream->stream = mongoc_database_watch(change_stream->handle, &pipeline, &options);
    bson_destroy(&pipeline);
    bson_destroy(&options);
    const bson_t *reply;
    bson_error_t reason;
    if (mongoc_change_stream_error_document(change_stream->stream, &reason, &reply))
        return bw_fail(error, BW_UNAVAILABLE, "the change stream can't be opened: %.200s",
                       database_mask(reason.message));
    return BW_OK;
}

enum bw_code change_stream_open(struct database *database, struct inbox *inbox, int64_t generation,
                                struct change_stream **change_stream, struct bw_error *error)
{
    struct change_stream *opened = bw_alloc(sizeof *opened);
    opened->database = database;
    opened->inbox = inbox;
    opened->generation = generation;
    atomic_store(&opened->seen_ms, clock_boot_ms());
    enum bw_code code = open_stream(opened, error);
    if (code == BW_OK && pthread_create(&opened->thread, NULL, change_stream_follow, opened) != 0)
        code = bw_fail(error, BW_INTERNAL, "no thread could be started for the change stream");
    if (code != BW_OK) {
        change_stream_release(opened);
        return code;
    }
    *change_stream = opened;
    return BW_OK;
}

void change_stream_close(struct change_stream *change_stream)
{
    if (change_stream == NULL)
        return;
    atomic_store(&change_stream->is_closing, true);
    inbox_refuse(change_stream->inbox, true);
    pthread_join(change_stream->thread, NULL);
    inbox_refuse(change_stream->inbox, false);
    change_stream_release(change_stream);
}

int64_t change_stream_seen_ms(const struct change_stream *change_stream)
{
    return atomic_load(&change_stream->seen_ms);
}
