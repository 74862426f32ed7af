/*
 * webhook_sender: sends the pending deliveries of webhooks, on a thread of its own, while this
 * process leads. The deliveries of a webhook are sent in order, one at a time: one that fails is
 * tried again, later each time, before the next one; after --webhook-retry it is given up. A
 * webhook that fails delays no other one. What was sent is recorded afterwards: a leader that dies
 * between the two makes the next one send it again, under the same event id.
 */
#ifndef SCHEDULER_IO_WEBHOOK_SENDER_H
#define SCHEDULER_IO_WEBHOOK_SENDER_H

#include "common/base/error.h"
#include "common/db/group_commit.h"
#include "common/domain/webhook_address.h"
#include "common/store/webhook_delivery_store.h"
#include "common/store/webhook_store.h"

struct metrics;
struct webhook_sender;

/* Borrowed until webhook_sender_close. */
struct webhook_sender_settings {
    struct webhook_store *webhooks;
    struct webhook_delivery_store *deliveries;
    const struct webhook_allow_list *allowed;
    struct metrics *metrics;
    struct fence fence;  /* closed: another process may lead, and nothing is sent */
    size_t requests_max; /* in flight at a time */
    int64_t retry_ms;    /* for how long a delivery is tried */
};

/* Starts the thread. BW_INTERNAL: libcurl or the thread could not be started. */
enum bw_code webhook_sender_open(const struct webhook_sender_settings *settings,
                                 struct webhook_sender **sender, struct bw_error *error) BW_CHECKED;

/* Abandons the requests in flight, and ends the thread. NULL is allowed. */
void webhook_sender_close(struct webhook_sender *sender);

/* Says that deliveries were recorded. Any thread. NULL is allowed. */
void webhook_sender_wake(struct webhook_sender *sender);

#endif
