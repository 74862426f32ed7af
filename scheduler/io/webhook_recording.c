#include "scheduler/io/webhook_recording.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "scheduler/metrics.h"

enum { SCOPES = 3 };

/* The webhooks of some events. */
struct webhook_targets {
    struct webhook *list; /* owned */
    size_t count, room;
};

static void webhook_targets_take(const struct webhook *webhook, void *context)
{
    struct webhook_targets *targets = context;
    if (targets->count == targets->room) {
        targets->room = targets->room * 2 + 4;
        targets->list = bw_grow(targets->list, targets->room, sizeof *targets->list);
    }
    targets->list[targets->count++] = *webhook;
}

static enum bw_code webhook_targets_read(const struct webhook_recording *recording,
                                         const struct webhook_event *event,
                                         struct webhook_targets *targets, struct bw_error *error)
{
    char scopes[SCOPES][WEBHOOK_SCOPE_SIZE];
    size_t count = 0;
    webhook_scope("", "", scopes[count++]);
    if (event->course[0] != '\0')
        webhook_scope(event->course, "", scopes[count++]);
    if (event->run[0] != '\0')
        webhook_scope("", event->run, scopes[count++]);
    return webhook_store_find(recording->webhooks, (const char(*)[WEBHOOK_SCOPE_SIZE])scopes, count,
                              webhook_targets_take, targets, error);
}

static struct webhook_delivery webhook_recording_delivery(const struct webhook_recording *recording,
                                                          const struct webhook *webhook,
                                                          const struct webhook_event *event)
{
    int64_t now_ms = webhook_delivery_store_now_ms(recording->deliveries);
    struct webhook_delivery delivery = {.event = event->kind,
                                        .number = event->number,
                                        .at_ms = event->at_ms,
                                        .since_ms = now_ms,
                                        .next_ms = now_ms,
                                        .payload = event->payload};
    snprintf(delivery.webhook, sizeof delivery.webhook, "%s", webhook->id);
    snprintf(delivery.event_id, sizeof delivery.event_id, "%s", event->id);
    return delivery;
}

/* Keeps what the queue has room for, and the end of the run in any case. */
static void webhook_recording_drop(const struct webhook_recording *recording, size_t room,
                                   struct webhook_delivery *deliveries, size_t *count)
{
    size_t kept = 0, wanted = *count;
    for (size_t i = 0; i < wanted; i++)
        if (kept < room || deliveries[i].event == WEBHOOK_RUN_FINISHED)
            deliveries[kept++] = deliveries[i];
    *count = kept;
    if (kept == wanted)
        return;
    metric_add(recording->metrics, SCHEDULER_WEBHOOKS_DROPPED, (int64_t)(wanted - kept));
    log_warning("the queue of a webhook is full", log_text("webhook", deliveries[0].webhook),
                log_number("dropped", (int64_t)(wanted - kept)));
}

/* A queue that is full takes no more: its receiver has been down for long. What an earlier try has
 * inserted is not counted twice. If its length is unknown, the queue takes all: a limit is no
 * reason to fail. */
static void webhook_recording_limit(const struct webhook_recording *recording,
                                    const struct webhook *webhook,
                                    struct webhook_delivery *deliveries, size_t *count)
{
    struct bw_error error;
    size_t pending = 0;
    enum bw_code code = webhook_delivery_store_count(recording->deliveries, webhook->id, &pending,
                                                     &error);
    size_t room = pending < WEBHOOK_QUEUE_MAX ? WEBHOOK_QUEUE_MAX - pending : 0;
    if (code == BW_OK && *count <= room)
        return;
    if (code == BW_OK)
        code = webhook_delivery_store_leave_out_present(recording->deliveries, deliveries, count,
                                                        &error);
    if (code == BW_OK)
        webhook_recording_drop(recording, room, deliveries, count);
    else
        log_warning("the length of a webhook's queue is unknown", log_text("webhook", webhook->id),
                    log_text("reason", error.message));
}

static enum bw_code webhook_recording_notify(const struct webhook_recording *recording,
                                             const struct webhook *webhook,
                                             const struct webhook_event_list *events, size_t *count,
                                             struct bw_error *error)
{
    size_t wanted = 0, room = 0;
    const struct webhook_event *event;
    for (event = events->first; event != NULL; event = event->next)
        room++;
    struct webhook_delivery *deliveries = bw_alloc_array(room, sizeof *deliveries);
    for (event = events->first; event != NULL; event = event->next)
        if (webhook_wants(webhook, event->kind))
            deliveries[wanted++] = webhook_recording_delivery(recording, webhook, event);
    enum bw_code code = BW_OK;
    if (wanted > 0)
        webhook_recording_limit(recording, webhook, deliveries, &wanted);
    if (code == BW_OK && wanted > 0)
        code = webhook_delivery_store_insert(recording->deliveries, deliveries, wanted, error);
    *count += wanted;
    free(deliveries);
    return code;
}

enum bw_code webhook_recording_insert(const struct webhook_recording *recording,
                                      const struct webhook_event_list *events, size_t *count,
                                      struct bw_error *error)
{
    struct webhook_targets targets = {.list = NULL};
    enum bw_code code = webhook_targets_read(recording, events->first, &targets, error);
    *count = 0;
    for (size_t i = 0; code == BW_OK && i < targets.count; i++)
        code = webhook_recording_notify(recording, &targets.list[i], events, count, error);
    free(targets.list);
    return code;
}
