/*
 * reconcile: scans for events that the change stream should have delivered: runs that were started
 * or cancelled, results of jobs that are leased, leases that were returned, signals of replicas
 * when none come. Losing an event delays work by a few seconds; it never loses a run. The
 * database's clock is read every second. The number of hand-outs of each worker is recorded too.
 * The scans are database jobs. Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_RECONCILE_H
#define SCHEDULER_RULES_RECONCILE_H

#include "scheduler/state/scheduler.h"

/* Begins the scans that are due. */
void reconcile_tick(struct scheduler *scheduler);

/* Handles a completed scan. Takes over what the scan's runs own; the rest stays the job's. */
void reconcile_completed(struct scheduler *scheduler, struct db_job *db_job);

#endif
