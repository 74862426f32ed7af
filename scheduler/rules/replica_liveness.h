/*
 * replica_liveness: forgets replicas that are silent. Belongs to the scheduler's core thread. Pure:
 * no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_REPLICA_LIVENESS_H
#define SCHEDULER_RULES_REPLICA_LIVENESS_H

#include "scheduler/state/scheduler.h"

/* Removes the replicas that have been silent for too long, and frees old answered polls. */
void replica_liveness_tick(struct scheduler *scheduler);

#endif
