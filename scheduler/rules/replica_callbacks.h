/*
 * replica_callbacks: communication with the replicas. Everything that is pending for a replica is
 * sent in one callback at a time, and the reply reports the outcome of each hand-out. Belongs to
 * the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_REPLICA_CALLBACKS_H
#define SCHEDULER_RULES_REPLICA_CALLBACKS_H

#include "scheduler/state/scheduler.h"

/* Posts a callback to each replica that has something pending and no callback in flight. */
void replica_callbacks_round(struct scheduler *scheduler);

/* EVENT_CALLBACK: a callback was answered or has failed. */
void replica_callbacks_completed(struct scheduler *scheduler, const struct callback *callback);

/* The replica does not answer its callbacks: the leases to be delivered there become unconfirmed.
 */
void replica_lost_contact(struct scheduler *scheduler, struct known_replica *replica);

/* The replica runs as a new process: ends the polls, watches and queries of the former one. */
void replica_changed_process(struct scheduler *scheduler, struct known_replica *replica,
                             const char *process);

#endif
