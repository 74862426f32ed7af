/*
 * decide: the entry points of the rules. The driver (scheduler/core, or a simulator) owns a struct
 * scheduler and loops: it sets the time, calls decide_event for each event, decide_tick and
 * decide_round, and after each call carries out the commands that it left, in order.
 *
 *   scheduler->now_ms = ..., scheduler->date_ms = ..., scheduler->stream_seen_ms = ...;
 *   decide_event(scheduler, event);
 *   decide_tick(scheduler);
 *   while (decide_round(scheduler))
 *       carry out what scheduler->commands has;
 *
 * When must_recover is set, the driver reads the state again: scheduler_reset, then as in
 * core/recovery. Nothing here reads a clock, waits, locks or does I/O.
 */
#ifndef SCHEDULER_RULES_DECIDE_H
#define SCHEDULER_RULES_DECIDE_H

#include <stdbool.h>

#include "scheduler/state/event.h"
#include "scheduler/state/scheduler.h"

enum {
    DECIDE_TICK_MS = 100 /* how often decide_tick acts */
};

/* Handles an event and frees it. An event of another generation is dropped, except the end of a
 * lease (lease_end_completed_late). Of the events from outside, EVENT_STOP sets is_stopping and
 * EVENT_DEPOSED is ignored. */
void decide_event(struct scheduler *scheduler, struct event *event);

/* Runs everything that depends on time (deadlines, liveness, scans), if DECIDE_TICK_MS have passed
 * since the last tick (ticked_ms). */
void decide_tick(struct scheduler *scheduler);

/* Hands out jobs, answers queries, notifies watches, and builds the callbacks to the replicas.
 * True: there is more to hand out; carry out the commands so far, then call again with the same
 * time. */
bool decide_round(struct scheduler *scheduler);

/* The round during a shutdown: completes the hand-outs in flight and begins no new ones. */
void decide_shutdown_round(struct scheduler *scheduler);

/* True if hand-outs are in flight, to the database or to a replica. */
bool decide_has_hand_outs(const struct scheduler *scheduler);

#endif
