#include "common/store/webhook_delivery_store.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/db/database_insert.h"
#include "common/db/document.h"
#include "common/store/store.h"

#define COLLECTION "webhook_deliveries"

enum {
    INSERTED_AT_ONCE = 200,
    DELIVERY_ID_SIZE = WEBHOOK_ID_SIZE + WEBHOOK_EVENT_ID_SIZE,
    DELIVERY_QUEUE_SIZE = WEBHOOK_ID_SIZE + 24,
    EVENT_NAME_SIZE = 32
};

static const char *const delivery_states[] = {[DELIVERY_PENDING] = "pending",
                                              [DELIVERY_DELIVERED] = "delivered",
                                              [DELIVERY_GIVEN_UP] = "given_up"};

struct webhook_delivery_store {
    struct store base;
};

const char *delivery_state_name(enum delivery_state state)
{
    return delivery_states[state];
}

enum bw_code webhook_delivery_store_open(struct database *database,
                                         struct webhook_delivery_store **store,
                                         struct bw_error *error)
{
    struct webhook_delivery_store *self = store_open(sizeof *self, database, NULL, error);
    if (self == NULL)
        return BW_INTERNAL;
    *store = self;
    return BW_OK;
}

void webhook_delivery_store_close(struct webhook_delivery_store *store)
{
    store_close(store);
}

int64_t webhook_delivery_store_now_ms(const struct webhook_delivery_store *store)
{
    return database_now_ms(store->base.database);
}

/* ---- Documents ---- */

static const char *delivery_id(const char *webhook, const char *event_id, char id[DELIVERY_ID_SIZE])
{
    snprintf(id, DELIVERY_ID_SIZE, "%s/%s", webhook, event_id);
    return id;
}

/* Its place among all pending deliveries: those of a webhook lie together, in their order. */
static const char *delivery_queue(const char *webhook, int64_t number,
                                  char queue[DELIVERY_QUEUE_SIZE])
{
    snprintf(queue, DELIVERY_QUEUE_SIZE, "%s/%019" PRId64, webhook, number);
    return queue;
}

static bson_t *delivery_document(const struct webhook_delivery *delivery)
{
    char id[DELIVERY_ID_SIZE], queue[DELIVERY_QUEUE_SIZE];
    bson_t *document = bson_new();
    BSON_APPEND_UTF8(document, "_id", delivery_id(delivery->webhook, delivery->event_id, id));
    BSON_APPEND_UTF8(document, "webhook", delivery->webhook);
    BSON_APPEND_UTF8(document, "event_id", delivery->event_id);
    BSON_APPEND_UTF8(document, "event", webhook_event_name(delivery->event));
    BSON_APPEND_UTF8(document, "state", delivery_states[DELIVERY_PENDING]);
    BSON_APPEND_UTF8(document, "queue", delivery_queue(delivery->webhook, delivery->number, queue));
    BSON_APPEND_DATE_TIME(document, "at", delivery->at_ms);
    BSON_APPEND_DATE_TIME(document, "since", delivery->since_ms);
    BSON_APPEND_DATE_TIME(document, "next_at", delivery->next_ms);
    BSON_APPEND_INT32(document, "attempts", 0);
    BSON_APPEND_UTF8(document, "payload", delivery->payload);
    return document;
}

static bool delivery_take_state(const bson_t *document, struct webhook_delivery *delivery)
{
    char name[EVENT_NAME_SIZE];
    document_text(document, "state", name, sizeof name);
    for (int state = 0; state < DELIVERY_STATES; state++)
        if (strcmp(delivery_states[state], name) == 0) {
            delivery->state = (enum delivery_state)state;
            return true;
        }
    return false;
}

static bool delivery_take_event(const bson_t *document, struct webhook_delivery *delivery)
{
    char name[EVENT_NAME_SIZE];
    document_text(document, "event", name, sizeof name);
    for (int kind = 0; kind < WEBHOOK_EVENTS; kind++)
        if (strcmp(webhook_event_name((enum webhook_event_kind)kind), name) == 0) {
            delivery->event = (enum webhook_event_kind)kind;
            return true;
        }
    return false;
}

/* On true the caller frees the payload. On false only texts and dates are filled. */
static bool delivery_from_document(const bson_t *document, struct webhook_delivery *delivery)
{
    struct long_text payload = {NULL, 0};
    memset(delivery, 0, sizeof *delivery);
    document_text(document, "webhook", delivery->webhook, sizeof delivery->webhook);
    document_text(document, "event_id", delivery->event_id, sizeof delivery->event_id);
    document_text(document, "error", delivery->error, sizeof delivery->error);
    delivery->at_ms = document_date(document, "at");
    delivery->since_ms = document_date(document, "since");
    delivery->next_ms = document_date(document, "next_at");
    delivery->ended_ms = document_date(document, "ended_at");
    if (!delivery_take_state(document, delivery) || !delivery_take_event(document, delivery) ||
        !document_long_text(document, "payload", &payload))
        return false;
    delivery->attempts = (uint32_t)document_integer(document, "attempts", 0);
    delivery->status = document_integer(document, "status", 0);
    delivery->payload = payload.text;
    return true;
}

/* ---- Writes ---- */

static enum bw_code delivery_insert_chunk(struct webhook_delivery_store *store,
                                          const struct webhook_delivery *deliveries, size_t count,
                                          struct bw_error *error)
{
    bson_t *documents[INSERTED_AT_ONCE] = {NULL};
    for (size_t i = 0; i < count; i++)
        documents[i] = delivery_document(&deliveries[i]);
    enum bw_code code = database_insert_missing(
        store->base.database, COLLECTION, (const bson_t *const *)documents, count, NULL, error);
    for (size_t i = 0; i < count; i++)
        bson_destroy(documents[i]);
    return code;
}

enum bw_code webhook_delivery_store_insert(struct webhook_delivery_store *store,
                                           const struct webhook_delivery *deliveries, size_t count,
                                           struct bw_error *error)
{
    enum bw_code code = BW_OK;
    for (size_t from = 0; code == BW_OK && from < count; from += INSERTED_AT_ONCE) {
        size_t chunk = count - from < INSERTED_AT_ONCE ? count - from : INSERTED_AT_ONCE;
        code = delivery_insert_chunk(store, deliveries + from, chunk, error);
    }
    return code;
}

/* Deliveries of which some exist. */
struct present_reading {
    const struct webhook_delivery *deliveries;
    size_t count;
    bool *is_there; /* one each */
};

static void delivery_take_present(const bson_t *document, void *context)
{
    const struct present_reading *reading = context;
    char id[DELIVERY_ID_SIZE], present[DELIVERY_ID_SIZE];
    document_text(document, "_id", present, sizeof present);
    for (size_t i = 0; i < reading->count; i++) {
        const struct webhook_delivery *delivery = &reading->deliveries[i];
        if (strcmp(delivery_id(delivery->webhook, delivery->event_id, id), present) == 0)
            reading->is_there[i] = true;
    }
}

static enum bw_code delivery_find_present(struct webhook_delivery_store *store,
                                          const struct webhook_delivery *deliveries, size_t count,
                                          bool is_there[INSERTED_AT_ONCE], struct bw_error *error)
{
    struct present_reading reading = {deliveries, count, is_there};
    char texts[INSERTED_AT_ONCE][DELIVERY_ID_SIZE];
    const char *ids[INSERTED_AT_ONCE];
    bson_t projection = BSON_INITIALIZER;
    for (size_t i = 0; i < count; i++)
        ids[i] = delivery_id(deliveries[i].webhook, deliveries[i].event_id, texts[i]);
    BSON_APPEND_INT32(&projection, "_id", 1);
    enum bw_code code = database_find_ids(store->base.database, COLLECTION, ids, count, &projection,
                                          delivery_take_present, &reading, error);
    bson_destroy(&projection);
    return code;
}

enum bw_code webhook_delivery_store_leave_out_present(struct webhook_delivery_store *store,
                                                      struct webhook_delivery *deliveries,
                                                      size_t *count, struct bw_error *error)
{
    enum bw_code code = BW_OK;
    size_t kept = 0;
    for (size_t from = 0; from < *count; from += INSERTED_AT_ONCE) {
        bool is_there[INSERTED_AT_ONCE] = {false};
        size_t chunk = *count - from < INSERTED_AT_ONCE ? *count - from : INSERTED_AT_ONCE;
        if (code == BW_OK)
            code = delivery_find_present(store, deliveries + from, chunk, is_there, error);
        for (size_t i = 0; i < chunk; i++)
            if (!is_there[i])
                deliveries[kept++] = deliveries[from + i];
    }
    *count = kept;
    return code;
}

/* {$set: ...[, $unset: {queue: ""}]} */
static void delivery_append_outcome(const struct webhook_delivery *delivery, bson_t *update)
{
    bson_t fields;
    BSON_APPEND_DOCUMENT_BEGIN(update, "$set", &fields);
    BSON_APPEND_UTF8(&fields, "state", delivery_states[delivery->state]);
    BSON_APPEND_INT32(&fields, "attempts", (int32_t)delivery->attempts);
    BSON_APPEND_INT64(&fields, "status", delivery->status);
    BSON_APPEND_UTF8(&fields, "error", delivery->error);
    BSON_APPEND_DATE_TIME(&fields, "next_at", delivery->next_ms);
    if (delivery->ended_ms != 0)
        BSON_APPEND_DATE_TIME(&fields, "ended_at", delivery->ended_ms);
    bson_append_document_end(update, &fields);
    if (delivery->state == DELIVERY_PENDING)
        return;
    BSON_APPEND_DOCUMENT_BEGIN(update, "$unset", &fields);
    BSON_APPEND_UTF8(&fields, "queue", "");
    bson_append_document_end(update, &fields);
}

enum bw_code webhook_delivery_store_save(struct webhook_delivery_store *store,
                                         const struct webhook_delivery *delivery,
                                         struct bw_error *error)
{
    char id[DELIVERY_ID_SIZE];
    bool unused;
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "_id", delivery_id(delivery->webhook, delivery->event_id, id));
    BSON_APPEND_UTF8(&filter, "state", delivery_states[DELIVERY_PENDING]);
    delivery_append_outcome(delivery, &update);
    enum bw_code code = database_update(store->base.database, COLLECTION, &filter, &update, &unused,
                                        error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code;
}

enum bw_code webhook_delivery_store_again(struct webhook_delivery_store *store, const char *webhook,
                                          const char *event_id, struct bw_error *error)
{
    char id[DELIVERY_ID_SIZE], queue[DELIVERY_QUEUE_SIZE];
    int64_t now_ms = database_now_ms(store->base.database);
    bool is_found = false;
    bson_t filter = BSON_INITIALIZER, update = BSON_INITIALIZER, fields;
    BSON_APPEND_UTF8(&filter, "_id", delivery_id(webhook, event_id, id));
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$set", &fields);
    BSON_APPEND_UTF8(&fields, "state", delivery_states[DELIVERY_PENDING]);
    BSON_APPEND_UTF8(&fields, "queue",
                     delivery_queue(webhook, now_ms * WEBHOOK_NUMBERS_PER_MS, queue));
    BSON_APPEND_INT32(&fields, "attempts", 0);
    BSON_APPEND_DATE_TIME(&fields, "since", now_ms);
    BSON_APPEND_DATE_TIME(&fields, "next_at", now_ms);
    bson_append_document_end(&update, &fields);
    BSON_APPEND_DOCUMENT_BEGIN(&update, "$unset", &fields);
    BSON_APPEND_UTF8(&fields, "ended_at", "");
    bson_append_document_end(&update, &fields);
    enum bw_code code = database_update(store->base.database, COLLECTION, &filter, &update,
                                        &is_found, error);
    bson_destroy(&filter);
    bson_destroy(&update);
    return code == BW_OK && !is_found
               ? bw_fail(error, BW_NOT_FOUND, "the webhook has no delivery of the event '%s'",
                         event_id)
               : code;
}

enum bw_code webhook_delivery_store_delete(struct webhook_delivery_store *store,
                                           const char *webhook, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&filter, "webhook", webhook);
    enum bw_code code = database_delete(store->base.database, COLLECTION, &filter, error);
    bson_destroy(&filter);
    return code;
}

/* ---- Reads ---- */

static void delivery_count(const bson_t *document, void *context)
{
    (void)document;
    (*(size_t *)context)++;
}

/* {queue: {$gt: "ID/", $lt: "ID0"}}: "0" follows "/". */
static void delivery_append_queue(bson_t *filter, const char *webhook)
{
    char text[WEBHOOK_ID_SIZE + 1];
    bson_t condition;
    BSON_APPEND_DOCUMENT_BEGIN(filter, "queue", &condition);
    snprintf(text, sizeof text, "%s/", webhook);
    BSON_APPEND_UTF8(&condition, "$gt", text);
    snprintf(text, sizeof text, "%s0", webhook);
    BSON_APPEND_UTF8(&condition, "$lt", text);
    bson_append_document_end(filter, &condition);
}

enum bw_code webhook_delivery_store_count(struct webhook_delivery_store *store, const char *webhook,
                                          size_t *count, struct bw_error *error)
{
    bson_t filter = BSON_INITIALIZER, projection = BSON_INITIALIZER;
    delivery_append_queue(&filter, webhook);
    BSON_APPEND_INT32(&projection, "queue", 1); /* the index has it: no document is read */
    BSON_APPEND_INT32(&projection, "_id", 0);
    *count = 0;
    enum bw_code code = database_find_some(store->base.database, COLLECTION, &filter, &projection,
                                           WEBHOOK_QUEUE_MAX, delivery_count, count, error);
    bson_destroy(&filter);
    bson_destroy(&projection);
    return code;
}

struct head_reading {
    struct webhook_delivery *head;
    bool is_found;
};

static bool delivery_take_head(const bson_t *document, void *context)
{
    struct head_reading *reading = context;
    (void)delivery_from_document(document, reading->head); /* else it has no payload */
    reading->is_found = reading->head->webhook[0] != '\0';
    return false;
}

enum bw_code webhook_delivery_store_read_head(struct webhook_delivery_store *store,
                                              const char *after, struct webhook_delivery *head,
                                              bool *is_found, struct bw_error *error)
{
    struct head_reading reading = {head, false};
    char text[WEBHOOK_ID_SIZE + 1];
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER, condition;
    snprintf(text, sizeof text, "%s%s", after, after[0] != '\0' ? "0" : "");
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "queue", &condition);
    BSON_APPEND_UTF8(&condition, "$gt", text);
    bson_append_document_end(&filter, &condition);
    BSON_APPEND_INT32(&sort, "queue", 1);
    enum bw_code code = database_find_first(store->base.database, COLLECTION, &filter, &sort, 1,
                                            delivery_take_head, &reading, error);
    bson_destroy(&filter);
    bson_destroy(&sort);
    *is_found = reading.is_found;
    return code;
}

/* ---- The log ---- */

struct delivery_reading {
    void (*each)(const struct webhook_delivery *delivery, void *context);
    void *context;
};

static bool delivery_take(const bson_t *document, void *context)
{
    const struct delivery_reading *reading = context;
    struct webhook_delivery delivery;
    if (delivery_from_document(document, &delivery)) {
        reading->each(&delivery, reading->context);
        free(delivery.payload);
    }
    return true;
}

static void delivery_take_date(const bson_t *document, void *context)
{
    *(int64_t *)context = document_date(document, "at");
}

/* {webhook: ID[, $or: [{at: {$lt: DATE}}, {at: DATE, _id: {$lt: AFTER}}]]} */
static void delivery_append_page(bson_t *filter, const char *webhook, const char *after_id,
                                 int64_t after_ms)
{
    bson_t list, part, condition;
    BSON_APPEND_UTF8(filter, "webhook", webhook);
    if (after_id == NULL)
        return;
    BSON_APPEND_ARRAY_BEGIN(filter, "$or", &list);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "0", &part);
    BSON_APPEND_DOCUMENT_BEGIN(&part, "at", &condition);
    BSON_APPEND_DATE_TIME(&condition, "$lt", after_ms);
    bson_append_document_end(&part, &condition);
    bson_append_document_end(&list, &part);
    BSON_APPEND_DOCUMENT_BEGIN(&list, "1", &part);
    BSON_APPEND_DATE_TIME(&part, "at", after_ms);
    BSON_APPEND_DOCUMENT_BEGIN(&part, "_id", &condition);
    BSON_APPEND_UTF8(&condition, "$lt", after_id);
    bson_append_document_end(&part, &condition);
    bson_append_document_end(&list, &part);
    bson_append_array_end(filter, &list);
}

enum bw_code webhook_delivery_store_list(struct webhook_delivery_store *store, const char *webhook,
                                         const char *after, int64_t limit,
                                         void (*each)(const struct webhook_delivery *delivery,
                                                      void *context),
                                         void *context, struct bw_error *error)
{
    struct delivery_reading reading = {each, context};
    char id[DELIVERY_ID_SIZE];
    const char *after_id = after[0] != '\0' ? delivery_id(webhook, after, id) : NULL;
    int64_t after_ms = 0;
    bson_t filter = BSON_INITIALIZER, sort = BSON_INITIALIZER;
    enum bw_code code = BW_OK;
    if (after_id != NULL)
        code = database_find_ids(store->base.database, COLLECTION, &after_id, 1, NULL,
                                 delivery_take_date, &after_ms, error);
    if (code == BW_OK && after_id != NULL && after_ms == 0)
        code = bw_fail(error, BW_NOT_FOUND, "the webhook has no delivery of the event '%s'", after);
    delivery_append_page(&filter, webhook, after_id, after_ms);
    BSON_APPEND_INT32(&sort, "at", -1);
    BSON_APPEND_INT32(&sort, "_id", -1);
    if (code == BW_OK)
        code = database_find_first(store->base.database, COLLECTION, &filter, &sort, limit,
                                   delivery_take, &reading, error);
    bson_destroy(&filter);
    bson_destroy(&sort);
    return code;
}
