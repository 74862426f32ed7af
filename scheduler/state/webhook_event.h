/*
 * webhook_event: something that webhooks are told, from its decision until it is recorded. Its id
 * is computed from what has happened, so that another scheduler which decides the same records
 * nothing new. Belongs to the scheduler's core thread, then to the database job that has it. Pure.
 */
#ifndef SCHEDULER_STATE_WEBHOOK_EVENT_H
#define SCHEDULER_STATE_WEBHOOK_EVENT_H

#include <stdint.h>

#include "common/domain/job.h"
#include "common/domain/webhook.h"
#include "common/store/webhook_delivery_store.h"

struct webhook_event {
    enum webhook_event_kind kind;
    char id[WEBHOOK_EVENT_ID_SIZE];
    char run[RUN_ID_SIZE];       /* that it is about; "": none */
    char course[WORKER_ID_SIZE]; /* of the run; "": none */
    int64_t at_ms;               /* database date */
    int64_t number;              /* events are sent in the order of their numbers */
    char *payload;               /* JSON text; own */
    struct webhook_event *next;
};

/* Events in order. Zeroed is empty. */
struct webhook_event_list {
    struct webhook_event *first, *last;
};

/* Appends an event; the list owns it. */
void webhook_event_list_add(struct webhook_event_list *list, struct webhook_event *event);

/* Moves all events of `head` before those of `list`. */
void webhook_event_list_prepend(struct webhook_event_list *list, struct webhook_event_list *head);

/* Frees all events; the list is empty then. */
void webhook_event_list_clear(struct webhook_event_list *list);

#endif
