/*
 * asked_workers: workers whose registration is read from the database, because a replica names them
 * and the change stream has not delivered the registration, or may have lost a later one. Belongs
 * to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_ASKED_WORKERS_H
#define SCHEDULER_RULES_ASKED_WORKERS_H

#include <stdint.h>

#include "scheduler/state/scheduler.h"

/* Leaves a DB_JOB_READ_WORKER, unless one for the worker was left recently (asked_workers_forget).
 * `replica`: the id of the replica that is asked for a full resync once the worker was read; "":
 * none. */
void asked_workers_ask(struct scheduler *scheduler, const char *id, const char *replica);

/* Forgets the workers that were asked for before `before_ms` (clock_boot_ms): they may be read
 * again. */
void asked_workers_forget(struct scheduler *scheduler, int64_t before_ms);

#endif
