/*
 * inbox: the queue of events for the scheduler's core thread, in the order in which they were
 * posted. Any thread posts; only the core takes. The queue is bounded for the change stream, which
 * waits when the core lags behind.
 */
#ifndef SCHEDULER_IO_INBOX_H
#define SCHEDULER_IO_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/state/event.h"

struct inbox;

/* An empty inbox; never NULL. */
struct inbox *inbox_new(void);

/* For tests: in production the inbox exists until the process ends. */
void inbox_free(struct inbox *inbox);

/* Posts an event; the inbox owns it from then on. */
void inbox_post(struct inbox *inbox, struct event *event);

/* Posts an event, and waits while the inbox is full. For the change stream. False: the inbox
 * refuses bounded posts, and the caller still owns the event. */
bool inbox_post_bounded(struct inbox *inbox, struct event *event);

/* true: bounded posts fail instead of waiting, also those that wait now. false: they wait again. */
void inbox_refuse(struct inbox *inbox, bool refuses);

/* Takes all events, oldest first, as a list that the caller owns. Waits until there is one, or
 * until `until_ms` (clock_boot_ms). NULL: none was posted in time. */
struct event *inbox_take(struct inbox *inbox, int64_t until_ms);

/* Returns a list of events that were taken to the front of the queue. */
void inbox_return(struct inbox *inbox, struct event *events);

#endif
