#include "scheduler/state/webhook_event.h"

#include <stdlib.h>

void webhook_event_list_add(struct webhook_event_list *list, struct webhook_event *event)
{
    event->next = NULL;
    if (list->first == NULL)
        list->first = event;
    else
        list->last->next = event;
    list->last = event;
}

void webhook_event_list_prepend(struct webhook_event_list *list, struct webhook_event_list *head)
{
    if (head->first == NULL)
        return;
    head->last->next = list->first;
    if (list->first == NULL)
        list->last = head->last;
    list->first = head->first;
    *head = (struct webhook_event_list){NULL, NULL};
}

void webhook_event_list_clear(struct webhook_event_list *list)
{
    struct webhook_event *event, *following;
    for (event = list->first; event != NULL; event = following) {
        following = event->next;
        free(event->payload);
        free(event);
    }
    *list = (struct webhook_event_list){NULL, NULL};
}
