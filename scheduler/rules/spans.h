/*
 * spans: the spans of a run's trace that the scheduler exports (docs/operations.md#traces): the
 * run, its jobs, how long they wait, their attempts and the hand-outs of these. Without
 * --otlp-endpoint, and for traces that are not sampled, none. Belongs to the scheduler's core
 * thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_SPANS_H
#define SCHEDULER_RULES_SPANS_H

#include "scheduler/state/lease_table.h"
#include "scheduler/state/scheduler.h"

/* Notes since when the offered job has waited, and the date of its new lease. */
void spans_note_lease(const struct scheduler *scheduler, struct live_lease *lease,
                      const struct offer *offer);

/* Writes the `traceparent` that is handed out with the job: its parent is the attempt. "": the run
 * was submitted without one, and no spans are exported. */
void spans_traceparent(const struct scheduler *scheduler, const struct live_lease *lease,
                       char traceparent[TRACEPARENT_SIZE]);

/* The worker has the job. */
void spans_handed_out(struct scheduler *scheduler, const struct live_lease *lease);

/* The attempt has ended. `trouble`: how, without a result; NULL: with one. Static. */
void spans_attempt_ended(struct scheduler *scheduler, const struct live_lease *lease,
                         const char *trouble);

/* The job has a result. */
void spans_job_ended(struct scheduler *scheduler, const struct active_run *run,
                     const struct result *result);

/* The run is recorded as over. */
void spans_run_ended(struct scheduler *scheduler, const struct active_run *run);

#endif
