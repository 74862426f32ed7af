#include "common/base/alloc.h"
#include "common/store/signal_store.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/db/database_mask.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "signals"

enum { RETRY_PAUSE_US = 50000 };

struct signal_store {
    struct store base;
    mongoc_write_concern_t *ephemeral; /* acknowledged by the primary alone: a lost signal delays
                                          work by a few seconds */
};

enum bw_code signal_store_open(struct database *database, struct signal_store **store,
                               struct bw_error *error)
{
    struct signal_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    self->ephemeral = mongoc_write_concern_new();
    mongoc_write_concern_set_w(self->ephemeral, 1);
    *store = self;
    return BW_OK;
}

void signal_store_close(struct signal_store *store)
{
    if (store != NULL)
        mongoc_write_concern_destroy(store->ephemeral);
    store_close(store);
}

int64_t signal_poll_checksum(int64_t poll)
{
    return (int64_t)(((uint64_t)poll * 0x9E3779B97F4A7C15u) >> 1);
}

static void append_polls(bson_t *document, const struct signal *signal)
{
    bson_t list, row;
    char buffer[16];
    BSON_APPEND_ARRAY_BEGIN(document, "polls", &list);
    for (size_t i = 0; i < signal->poll_count; i++) {
        const struct signal_poll *poll = &signal->polls[i];
        BSON_APPEND_DOCUMENT_BEGIN(&list, document_key(i, buffer), &row);
        BSON_APPEND_INT64(&row, "p", poll->poll);
        BSON_APPEND_UTF8(&row, "w", poll->worker);
        if (poll->is_final)
            BSON_APPEND_BOOL(&row, "f", true);
        bson_append_document_end(&list, &row);
    }
    bson_append_array_end(document, &list);
}

static void append_seen(bson_t *document, const struct signal *signal)
{
    bson_t list, row;
    char buffer[16];
    BSON_APPEND_ARRAY_BEGIN(document, "heard", &list);
    for (size_t i = 0; i < signal->seen_count; i++) {
        const struct signal_seen *seen = &signal->seen[i];
        BSON_APPEND_DOCUMENT_BEGIN(&list, document_key(i, buffer), &row);
        BSON_APPEND_UTF8(&row, "w", seen->worker);
        BSON_APPEND_INT32(&row, "a", seen->age_ms);
        BSON_APPEND_INT32(&row, "k", (int32_t)seen->kind);
        bson_append_document_end(&list, &row);
    }
    bson_append_array_end(document, &list);
}

static void append_deliveries(bson_t *document, const struct signal *signal)
{
    bson_t list, row;
    char buffer[16];
    BSON_APPEND_ARRAY_BEGIN(document, "deliveries", &list);
    for (size_t i = 0; i < signal->delivery_count; i++) {
        const struct signal_delivery *delivery = &signal->deliveries[i];
        BSON_APPEND_DOCUMENT_BEGIN(&list, document_key(i, buffer), &row);
        BSON_APPEND_UTF8(&row, "j", delivery->job);
        BSON_APPEND_INT32(&row, "n", (int32_t)delivery->attempt);
        BSON_APPEND_UTF8(&row, "w", delivery->worker);
        bson_append_document_end(&list, &row);
    }
    bson_append_array_end(document, &list);
}

static void append_queries(bson_t *document, const struct signal *signal)
{
    bson_t list, row;
    char buffer[16];
    BSON_APPEND_ARRAY_BEGIN(document, "questions", &list);
    for (size_t i = 0; i < signal->query_count; i++) {
        const struct signal_query *query = &signal->queries[i];
        BSON_APPEND_DOCUMENT_BEGIN(&list, document_key(i, buffer), &row);
        BSON_APPEND_INT64(&row, "q", query->number);
        BSON_APPEND_INT32(&row, "k", (int32_t)query->kind);
        BSON_APPEND_UTF8(&row, "s", query->subject);
        BSON_APPEND_INT64(&row, "e", query->epoch);
        bson_append_document_end(&list, &row);
    }
    bson_append_array_end(document, &list);
}

static void append_watches(bson_t *document, const struct signal *signal)
{
    bson_t list, row;
    char buffer[16];
    BSON_APPEND_ARRAY_BEGIN(document, "watches", &list);
    for (size_t i = 0; i < signal->watch_count; i++) {
        const struct signal_watch *watch = &signal->watches[i];
        BSON_APPEND_DOCUMENT_BEGIN(&list, document_key(i, buffer), &row);
        BSON_APPEND_INT64(&row, "w", watch->number);
        BSON_APPEND_UTF8(&row, "s", watch->subject);
        BSON_APPEND_INT64(&row, "l", watch->last);
        bson_append_document_end(&list, &row);
    }
    bson_append_array_end(document, &list);
}

static void append_numbers(bson_t *document, const char *field, const int64_t *numbers,
                           size_t count)
{
    bson_t list;
    char buffer[16];
    bson_append_array_begin(document, field, -1, &list);
    for (size_t i = 0; i < count; i++)
        BSON_APPEND_INT64(&list, document_key(i, buffer), numbers[i]);
    bson_append_array_end(document, &list);
}

static void signal_to_document(const struct signal *signal, int64_t now_ms, bson_t *document)
{
    bson_oid_t oid;
    bson_oid_init(&oid, NULL);
    BSON_APPEND_OID(document, "_id", &oid);
    BSON_APPEND_DATE_TIME(document, "at", now_ms);
    BSON_APPEND_UTF8(document, "replica", signal->replica.id);
    BSON_APPEND_UTF8(document, "url", signal->replica.url);
    BSON_APPEND_UTF8(document, "process", signal->replica.process);
    BSON_APPEND_INT64(document, "number", signal->number);
    if (signal->is_resync)
        BSON_APPEND_BOOL(document, "announcement", true);
    if (signal->is_shutting_down)
        BSON_APPEND_BOOL(document, "leaving", true);
    if (signal->is_heartbeat) {
        BSON_APPEND_INT64(document, "parked", signal->parked_count);
        BSON_APPEND_INT64(document, "checksum", signal->parked_checksum);
    }
    if (signal->poll_count > 0)
        append_polls(document, signal);
    if (signal->gone_count > 0)
        append_numbers(document, "gone", signal->gone, signal->gone_count);
    if (signal->seen_count > 0)
        append_seen(document, signal);
    if (signal->delivery_count > 0)
        append_deliveries(document, signal);
    if (signal->query_count > 0)
        append_queries(document, signal);
    if (signal->watch_count > 0)
        append_watches(document, signal);
    if (signal->unwatched_count > 0)
        append_numbers(document, "unwatched", signal->unwatched, signal->unwatched_count);
}

/* One try. A duplicate _id is this very document, stored by an earlier try. */
static bool send_once(struct signal_store *store, const bson_t *document, struct bw_error *error)
{
    mongoc_client_t *client = database_client(store->base.database, error);
    if (client == NULL)
        return false;
    mongoc_collection_t *into = database_collection(store->base.database, client, COLLECTION);
    bson_t options = BSON_INITIALIZER;
    bson_error_t reason;
    mongoc_write_concern_append(store->ephemeral, &options);
    bool ok = mongoc_collection_insert_one(into, document, &options, NULL, &reason) ||
              reason.code == 11000;
    bson_destroy(&options);
    mongoc_collection_destroy(into);
    database_return(store->base.database, client);
    if (!ok)
        bw_fail(error, BW_UNAVAILABLE, "a signal was not stored: %.200s",
                database_mask(reason.message));
    return ok;
}

enum bw_code signal_store_send(struct signal_store *store, const struct signal *signal,
                               int64_t try_ms, struct bw_error *error)
{
    bson_t document = BSON_INITIALIZER;
    int64_t until_ms = clock_boot_ms() + try_ms;
    signal_to_document(signal, database_now_ms(store->base.database), &document);
    bool ok = send_once(store, &document, error);
    while (!ok && clock_boot_ms() < until_ms) {
        usleep(RETRY_PAUSE_US);
        ok = send_once(store, &document, error);
    }
    bson_destroy(&document);
    return ok ? BW_OK : BW_UNAVAILABLE;
}

/* Opens the array `field` and allocates memory for its elements. Returns their number. */
static size_t signal_store_open_list(const bson_t *document, const char *field, size_t element_size,
                                     bson_iter_t *rows, void **elements)
{
    bson_iter_t found, count;
    size_t length = 0;
    *elements = NULL;
    if (!bson_iter_init_find(&found, document, field) || !BSON_ITER_HOLDS_ARRAY(&found) ||
        !bson_iter_recurse(&found, &count))
        return 0;
    while (bson_iter_next(&count))
        length++;
    bson_iter_recurse(&found, rows);
    *elements = bw_alloc_array(length, element_size);
    return length;
}

/* A row of an array as a document of its own, borrowed. False: it is none. */
static bool row_document(bson_iter_t *rows, bson_t *row)
{
    const uint8_t *bytes;
    uint32_t length;
    if (!bson_iter_next(rows) || !BSON_ITER_HOLDS_DOCUMENT(rows))
        return false;
    bson_iter_document(rows, &length, &bytes);
    return bson_init_static(row, bytes, length);
}

static void read_polls(const bson_t *document, struct signal *signal)
{
    bson_iter_t rows;
    bson_t row;
    void *elements;
    size_t length = signal_store_open_list(document, "polls", sizeof *signal->polls, &rows,
                                           &elements);
    signal->polls = elements;
    while (signal->poll_count < length && row_document(&rows, &row)) {
        struct signal_poll *poll = &signal->polls[signal->poll_count++];
        poll->poll = document_integer(&row, "p", 0);
        document_text(&row, "w", poll->worker, sizeof poll->worker);
        poll->is_final = document_boolean(&row, "f", false);
    }
}

static size_t read_numbers(const bson_t *document, const char *field, int64_t **numbers)
{
    bson_iter_t rows;
    void *elements;
    size_t count = 0,
           length = signal_store_open_list(document, field, sizeof **numbers, &rows, &elements);
    *numbers = elements;
    while (count < length && bson_iter_next(&rows))
        (*numbers)[count++] = bson_iter_as_int64(&rows);
    return count;
}

static void read_seen(const bson_t *document, struct signal *signal)
{
    bson_iter_t rows;
    bson_t row;
    void *elements;
    size_t length = signal_store_open_list(document, "heard", sizeof *signal->seen, &rows,
                                           &elements);
    signal->seen = elements;
    while (signal->seen_count < length && row_document(&rows, &row)) {
        struct signal_seen *seen = &signal->seen[signal->seen_count++];
        document_text(&row, "w", seen->worker, sizeof seen->worker);
        seen->age_ms = (int32_t)document_integer(&row, "a", 0);
        seen->kind = document_integer(&row, "k", 0) == SEEN_RESULT ? SEEN_RESULT : SEEN_HEARTBEAT;
    }
}

static void read_deliveries(const bson_t *document, struct signal *signal)
{
    bson_iter_t rows;
    bson_t row;
    void *elements;
    size_t length = signal_store_open_list(document, "deliveries", sizeof *signal->deliveries,
                                           &rows, &elements);
    signal->deliveries = elements;
    while (signal->delivery_count < length && row_document(&rows, &row)) {
        struct signal_delivery *delivery = &signal->deliveries[signal->delivery_count++];
        document_text(&row, "j", delivery->job, sizeof delivery->job);
        delivery->attempt = (uint32_t)document_integer(&row, "n", 0);
        document_text(&row, "w", delivery->worker, sizeof delivery->worker);
    }
}

static void read_queries(const bson_t *document, struct signal *signal)
{
    bson_iter_t rows;
    bson_t row;
    void *elements;
    size_t length = signal_store_open_list(document, "questions", sizeof *signal->queries, &rows,
                                           &elements);
    signal->queries = elements;
    while (signal->query_count < length && row_document(&rows, &row)) {
        struct signal_query *query = &signal->queries[signal->query_count++];
        query->number = document_integer(&row, "q", 0);
        query->kind = (enum query_kind)document_integer(&row, "k", 0);
        document_text(&row, "s", query->subject, sizeof query->subject);
        query->epoch = document_integer(&row, "e", 0);
    }
}

static void read_watches(const bson_t *document, struct signal *signal)
{
    bson_iter_t rows;
    bson_t row;
    void *elements;
    size_t length = signal_store_open_list(document, "watches", sizeof *signal->watches, &rows,
                                           &elements);
    signal->watches = elements;
    while (signal->watch_count < length && row_document(&rows, &row)) {
        struct signal_watch *watch = &signal->watches[signal->watch_count++];
        watch->number = document_integer(&row, "w", 0);
        document_text(&row, "s", watch->subject, sizeof watch->subject);
        watch->last = document_integer(&row, "l", WATCH_NOTIFIED_NOTHING);
    }
}

bool signal_from_document(const bson_t *document, struct signal *signal)
{
    memset(signal, 0, sizeof *signal);
    if (!document_text(document, "replica", signal->replica.id, sizeof signal->replica.id))
        return false;
    document_text(document, "url", signal->replica.url, sizeof signal->replica.url);
    document_text(document, "process", signal->replica.process, sizeof signal->replica.process);
    signal->number = document_integer(document, "number", 0);
    signal->is_resync = document_boolean(document, "announcement", false);
    signal->is_shutting_down = document_boolean(document, "leaving", false);
    signal->parked_count = document_integer(document, "parked", -1);
    signal->parked_checksum = document_integer(document, "checksum", 0);
    signal->is_heartbeat = signal->parked_count >= 0;
    read_polls(document, signal);
    signal->gone_count = read_numbers(document, "gone", &signal->gone);
    read_seen(document, signal);
    read_deliveries(document, signal);
    read_queries(document, signal);
    read_watches(document, signal);
    signal->unwatched_count = read_numbers(document, "unwatched", &signal->unwatched);
    return true;
}

struct signal_list {
    struct signal *signals;
    size_t count, room;
};

static void collect_signal(const bson_t *document, void *context)
{
    struct signal_list *list = context;
    if (list->count == list->room) {
        list->room = list->room * 2 + 64;
        list->signals = bw_grow(list->signals, list->room, sizeof *list->signals);
    }
    if (signal_from_document(document, &list->signals[list->count]))
        list->count++;
}

static int compare_numbers(const void *left, const void *right)
{
    const struct signal *a = left, *b = right;
    return (a->number > b->number) - (a->number < b->number);
}

enum bw_code signal_store_read(struct signal_store *store, int64_t since_ms,
                               struct signal **signals, size_t *count, struct bw_error *error)
{
    struct signal_list list = {0};
    bson_t filter = BSON_INITIALIZER, condition;
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "at", &condition);
    BSON_APPEND_DATE_TIME(&condition, "$gte", since_ms);
    bson_append_document_end(&filter, &condition);
    enum bw_code code = database_find(store->base.database, COLLECTION, &filter, NULL,
                                      collect_signal, &list, error);
    bson_destroy(&filter);
    if (list.count > 1)
        qsort(list.signals, list.count, sizeof *list.signals, compare_numbers);
    *signals = list.signals;
    *count = list.count;
    return code;
}
