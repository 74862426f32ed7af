/*
 * watch_notify: the events for clients that follow a job or a run: its position in the queue, its
 * start, its end, a run's progress. Events are computed only for what is watched, and only changes
 * are sent. With many watches, positions are sent in coarse steps, so that notifying never costs
 * more than handing out. Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_WATCH_NOTIFY_H
#define SCHEDULER_RULES_WATCH_NOTIFY_H

#include "common/store/signal_store.h"
#include "scheduler/state/scheduler.h"

/* Applies a signal's changes of watches. */
void watch_notify_take(struct scheduler *scheduler, struct known_replica *replica,
                       const struct signal *signal);

/* Sends the changes since the last round, if a round is due. */
void watch_notify_round(struct scheduler *scheduler);

#endif
