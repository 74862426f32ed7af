/*
 * explain: why a job, a run or a grader waits, for the API's queries. The reasons are those of
 * rules/hand_out_check, by which rules/dispatch hands out; docs/scheduling.md describes the
 * answers. A reason of a job, of its run or of the order must end before the job is handed out; of
 * the graders that could run it, one must have no reason left.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock. The caller owns each answer.
 */
#ifndef SCHEDULER_RULES_EXPLAIN_H
#define SCHEDULER_RULES_EXPLAIN_H

#include <jansson.h>

#include "scheduler/state/scheduler.h"

/* {"state": "waiting", "running" or "ended"[, "grader"][, "outcome"], "reasons": [...]};
 * {"unknown": true}: no run that is started and not over has the job. */
json_t *explain_job(const struct scheduler *scheduler, const char *job);

/* {"state", "jobs": {"waiting", "running", "ended"}, "waiting": [{"reason", "jobs"}...][,
 * "next_job"], "reasons": those of the next job}; {"unknown": true}: as above. */
json_t *explain_run(const struct scheduler *scheduler, const char *run);

/* {"state": "waiting", "working" or "dead", "held", "reasons": [...]}; {"unknown": true}. */
json_t *explain_worker(const struct scheduler *scheduler, const char *worker);

#endif
