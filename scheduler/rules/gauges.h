/*
 * gauges: the metrics that are computed from the tables. Computing them visits every run and every
 * worker, so it is done twice a second. Belongs to the scheduler's core thread. Pure: no I/O, no
 * clock.
 */
#ifndef SCHEDULER_RULES_GAUGES_H
#define SCHEDULER_RULES_GAUGES_H

#include "scheduler/state/scheduler.h"

/* Computes the gauges, at most twice a second. */
void gauges_tick(struct scheduler *scheduler);

#endif
