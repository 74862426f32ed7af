/*
 * foretold: what was foretold of a run's end, beside what came true. The end is foretold ten
 * seconds after the run was first seen and each time when half of the time that was left has
 * passed; when the run has ended, each is compared with the end: the difference, as a part of the
 * time that was left when it was foretold, is a metric (SCHEDULER_ESTIMATE_ERROR), and they are
 * stored with the run. Runs that were
 * paused or cancelled meanwhile do not count. Callers: estimate, run_progress. Belongs to the
 * scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_FORETOLD_H
#define SCHEDULER_RULES_FORETOLD_H

#include "scheduler/state/scheduler.h"

/* Whether the run's end is to be foretold now. To be asked every few seconds. */
bool foretold_is_due(const struct scheduler *scheduler, struct active_run *run);

/* The run is to end in so many milliseconds; below 0: there is no estimate. */
void foretold_note(const struct scheduler *scheduler, struct active_run *run, double p50_ms,
                   double p90_ms);

/* The run has ended now. */
void foretold_run_ended(struct scheduler *scheduler, struct active_run *run);

#endif
