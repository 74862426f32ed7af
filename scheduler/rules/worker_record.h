/*
 * worker_record: writes the state of workers to the database: whether each is alive, when it was
 * last seen, how many jobs it has had. Belongs to the scheduler's core thread. Pure: no I/O, no
 * clock.
 */
#ifndef SCHEDULER_RULES_WORKER_RECORD_H
#define SCHEDULER_RULES_WORKER_RECORD_H

#include "scheduler/state/scheduler.h"

/* Adds the worker's current state to the next batch. */
void worker_record(struct scheduler *scheduler, struct known_worker *worker);

/* Submits the batch, unless an earlier one is in flight. */
void worker_record_round(struct scheduler *scheduler);

/* A batch is written or has failed. */
void worker_record_completed(struct scheduler *scheduler);

#endif
