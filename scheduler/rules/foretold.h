/*
 * foretold: what was foretold of a run's end, beside what came true. The end is foretold ten
 * seconds after the run was first seen and each time when half of the time that was left has
 * passed; when the run has ended, each is compared with the end: the difference, as a part of the
 * time that was left when it was foretold, is a metric (SCHEDULER_ESTIMATE_ERROR), and they are
 * stored with the run. Runs that were paused or cancelled meanwhile do not count. At most four runs
 * a second are estimated. Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_FORETOLD_H
#define SCHEDULER_RULES_FORETOLD_H

#include "scheduler/state/scheduler.h"

/* Foretells the ends of the runs of which that is due. */
void foretold_tick(struct scheduler *scheduler);

/* The run has ended now. */
void foretold_run_ended(struct scheduler *scheduler, struct active_run *run);

#endif
