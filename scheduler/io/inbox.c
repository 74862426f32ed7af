#include "scheduler/io/inbox.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

enum { BOUND = 100000 };

struct inbox {
    pthread_mutex_t mutex; /* guards all fields below */
    pthread_cond_t arrived, taken;
    struct event *head, **end;
    unsigned count;
    bool refuses;
};

struct inbox *inbox_new(void)
{
    struct inbox *inbox = bw_alloc(sizeof *inbox);
    inbox->end = &inbox->head;
    pthread_mutex_init(&inbox->mutex, NULL);
    clock_condition_init(&inbox->arrived);
    clock_condition_init(&inbox->taken);
    return inbox;
}

void inbox_free(struct inbox *inbox)
{
    if (inbox == NULL)
        return;
    pthread_cond_destroy(&inbox->arrived);
    pthread_cond_destroy(&inbox->taken);
    pthread_mutex_destroy(&inbox->mutex);
    free(inbox);
}

/* With the mutex held. */
static void inbox_append(struct inbox *inbox, struct event *event)
{
    event->next = NULL;
    *inbox->end = event;
    inbox->end = &event->next;
    inbox->count++;
    pthread_cond_signal(&inbox->arrived);
}

void inbox_post(struct inbox *inbox, struct event *event)
{
    pthread_mutex_lock(&inbox->mutex);
    inbox_append(inbox, event);
    pthread_mutex_unlock(&inbox->mutex);
}

bool inbox_post_bounded(struct inbox *inbox, struct event *event)
{
    pthread_mutex_lock(&inbox->mutex);
    while (inbox->count >= BOUND && !inbox->refuses)
        pthread_cond_wait(&inbox->taken, &inbox->mutex);
    bool is_taken = !inbox->refuses;
    if (is_taken)
        inbox_append(inbox, event);
    pthread_mutex_unlock(&inbox->mutex);
    return is_taken;
}

void inbox_refuse(struct inbox *inbox, bool refuses)
{
    pthread_mutex_lock(&inbox->mutex);
    inbox->refuses = refuses;
    pthread_cond_broadcast(&inbox->taken);
    pthread_mutex_unlock(&inbox->mutex);
}

struct event *inbox_take(struct inbox *inbox, int64_t until_ms)
{
    pthread_mutex_lock(&inbox->mutex);
    int64_t wait_ms = until_ms - clock_boot_ms();
    struct timespec until = clock_deadline(wait_ms > 0 ? wait_ms : 0);
    while (inbox->head == NULL)
        if (pthread_cond_timedwait(&inbox->arrived, &inbox->mutex, &until) != 0)
            break;
    struct event *events = inbox->head;
    inbox->head = NULL;
    inbox->end = &inbox->head;
    inbox->count = 0;
    pthread_cond_broadcast(&inbox->taken);
    pthread_mutex_unlock(&inbox->mutex);
    return events;
}

void inbox_return(struct inbox *inbox, struct event *events)
{
    if (events == NULL)
        return;
    struct event **last = &events;
    unsigned count = 0;
    for (; *last != NULL; last = &(*last)->next)
        count++;
    pthread_mutex_lock(&inbox->mutex);
    *last = inbox->head;
    if (inbox->head == NULL)
        inbox->end = last;
    inbox->head = events;
    inbox->count += count;
    pthread_mutex_unlock(&inbox->mutex);
}
