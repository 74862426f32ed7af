/*
 * webhook_delivery_store: collection webhook_deliveries: one document per event and webhook; _id is
 * <webhook id>/<event id>, so that an event which is recorded twice is sent once. The pending ones
 * of a webhook are a queue. Inserted and sent by the scheduler; the API lists them, and puts one
 * back into the queue. What has ended is removed a week later (TTL). Safe from any thread; every
 * function waits for the database.
 */
#ifndef COMMON_STORE_WEBHOOK_DELIVERY_STORE_H
#define COMMON_STORE_WEBHOOK_DELIVERY_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/domain/webhook.h"

struct webhook_delivery_store;

enum {
    WEBHOOK_EVENT_ID_SIZE = 128,
    WEBHOOK_ERROR_SIZE = 256,
    WEBHOOK_NUMBERS_PER_MS = 1000, /* numbers of deliveries that one millisecond has */
    WEBHOOK_QUEUE_MAX = 10000      /* pending deliveries of one webhook */
};

enum delivery_state { DELIVERY_PENDING, DELIVERY_DELIVERED, DELIVERY_GIVEN_UP, DELIVERY_STATES };

struct webhook_delivery {
    char webhook[WEBHOOK_ID_SIZE];
    char event_id[WEBHOOK_EVENT_ID_SIZE];
    enum webhook_event_kind event;
    enum delivery_state state;
    int64_t number;                 /* pending ones are sent in the order of their numbers */
    int64_t at_ms;                  /* of the event; database dates, like all below; 0: none */
    int64_t since_ms;               /* since when it has been tried */
    int64_t next_ms, ended_ms;      /* the next attempt; when it ended */
    uint32_t attempts;              /* since since_ms */
    int64_t status;                 /* of the last answer; 0: there was none */
    char error[WEBHOOK_ERROR_SIZE]; /* of the last attempt; "": none */
    char *payload;                  /* JSON text; owned where read, borrowed where inserted */
};

/* "pending" and so on. Static. */
const char *delivery_state_name(enum delivery_state state);

/* Opens the store; `database` must outlive it. The close allows NULL. */
enum bw_code webhook_delivery_store_open(struct database *database,
                                         struct webhook_delivery_store **store,
                                         struct bw_error *error) BW_CHECKED;
void webhook_delivery_store_close(struct webhook_delivery_store *store);

/* The database's date. */
int64_t webhook_delivery_store_now_ms(const struct webhook_delivery_store *store);

/* Inserts `count` pending deliveries (in chunks, if they are many); those that exist stay as they
 * are. BW_OK: all are stored; BW_UNAVAILABLE: some may be. */
enum bw_code webhook_delivery_store_insert(struct webhook_delivery_store *store,
                                           const struct webhook_delivery *deliveries, size_t count,
                                           struct bw_error *error) BW_CHECKED;

/* Removes from the list those that exist. BW_UNAVAILABLE: some that exist may be left. */
enum bw_code webhook_delivery_store_leave_out_present(struct webhook_delivery_store *store,
                                                      struct webhook_delivery *deliveries,
                                                      size_t *count, struct bw_error *error)
    BW_CHECKED;

/* How many deliveries of the webhook are pending, up to WEBHOOK_QUEUE_MAX. */
enum bw_code webhook_delivery_store_count(struct webhook_delivery_store *store, const char *webhook,
                                          size_t *count, struct bw_error *error) BW_CHECKED;

/* Reads the first pending delivery of the first webhook whose id is greater than `after` ("": of
 * the first one). *is_found: there is one; then *head has its payload, free(), or NULL if it can't
 * be read, since a later version has stored it: only `webhook` and `at_ms` count then. */
enum bw_code webhook_delivery_store_read_head(struct webhook_delivery_store *store,
                                              const char *after, struct webhook_delivery *head,
                                              bool *is_found, struct bw_error *error) BW_CHECKED;

/* Stores what became of an attempt: state, attempts, status, error, next_ms, ended_ms. Nothing
 * changes if it has ended meanwhile. BW_UNAVAILABLE: unknown. */
enum bw_code webhook_delivery_store_save(struct webhook_delivery_store *store,
                                         const struct webhook_delivery *delivery,
                                         struct bw_error *error) BW_CHECKED;

/* Puts a delivery, pending or not, to the end of its webhook's queue, to be tried at once and for
 * as long as a new one. BW_NOT_FOUND, BW_UNAVAILABLE. */
enum bw_code webhook_delivery_store_again(struct webhook_delivery_store *store, const char *webhook,
                                          const char *event_id, struct bw_error *error) BW_CHECKED;

/* Deletes all deliveries of a webhook. May be repeated. */
enum bw_code webhook_delivery_store_delete(struct webhook_delivery_store *store,
                                           const char *webhook, struct bw_error *error) BW_CHECKED;

/* Calls `each` (borrowed, with payload) for the deliveries of a webhook, the newest event first:
 * those behind the one with the event id `after` (""; from the first on), `limit` at most.
 * BW_NOT_FOUND: there is no delivery `after`; BW_UNAVAILABLE. */
enum bw_code webhook_delivery_store_list(struct webhook_delivery_store *store, const char *webhook,
                                         const char *after, int64_t limit,
                                         void (*each)(const struct webhook_delivery *delivery,
                                                      void *context),
                                         void *context, struct bw_error *error) BW_CHECKED;

#endif
