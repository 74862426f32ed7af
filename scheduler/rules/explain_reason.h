/*
 * explain_reason: what an answer says of one reason (common/domain/wait_reason.h): its word, a
 * sentence for people, what would change it, and the numbers and names that belong to it.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_EXPLAIN_REASON_H
#define SCHEDULER_RULES_EXPLAIN_REASON_H

#include <jansson.h>
#include <stdint.h>

#include "common/domain/wait_reason.h"
#include "scheduler/state/queue_ahead.h"
#include "scheduler/state/scheduler.h"

/* A job or a grader, and why it waits; all pointers are borrowed. */
struct explained {
    const struct scheduler *scheduler;
    const struct active_run *run; /* of the job; NULL: it is a grader */
    uint32_t slot;
    const struct known_worker *worker; /* NULL: it is a job */
    uint64_t reasons;
    /* Of reasons that are those of others: how many graders that could run the job have it, or how
     * many waiting jobs the grader does not get because of it. */
    uint64_t counts[WAIT_REASONS];
    int64_t returned_until_ms; /* clock_boot_ms when the first of them is over; 0: none */
    struct queue_ahead ahead;  /* of a job with WAIT_JOBS_AHEAD or WAIT_SHARE_USED_UP */
};

/* Adds one that is `reason` for `count` graders or jobs. */
void explained_add(struct explained *explained, enum wait_reason reason, uint64_t count);

/* The array of all of its reasons that are in `among`, in their order. New reference. */
json_t *explain_reasons_json(const struct explained *explained, uint64_t among);

#endif
