/*
 * retry: what follows a failed attempt: the job waits for the next one (its backoff), or is given
 * up with a result of the scheduler's own. Belongs to the scheduler's core thread. Pure: no I/O, no
 * clock.
 */
#ifndef SCHEDULER_RULES_RETRY_H
#define SCHEDULER_RULES_RETRY_H

#include <stdint.h>

#include "scheduler/state/scheduler.h"

/* Counts the end of a lease; LEASE_RELEASED and LEASE_LIVE count nothing. */
void failed_attempts_add(struct failed_attempts *failed_attempts, enum lease_end end);

/* Queues the job's next attempt, or gives the job up after the last one, or if enough workers have
 * returned it (run->returned). `avoid`: the worker that failed it; "": none. */
void job_retry(struct scheduler *scheduler, struct active_run *run, uint32_t slot, uint32_t attempt,
               const struct failed_attempts *failed_attempts, const char *avoid);

/* Inserts a result on behalf of the scheduler: outcome, attempts, reason and owner of `own`, which
 * is copied. The outcome comes back with EVENT_GIVEN_UP. */
void job_insert_result(struct scheduler *scheduler, const struct active_run *run, uint32_t slot,
                       const struct result *own);

#endif
