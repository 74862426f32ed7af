/*
 * sharing: the settings of the queue's order: the courses' weights and limits, and the graders that
 * are reserved. They are read together with the pauses (rules/pausing), so that whoever waits for
 * such a read knows that both are in force.
 *
 * Callers: pausing, dispatch, and the rules that take runs and workers. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_SHARING_H
#define SCHEDULER_RULES_SHARING_H

#include <stdbool.h>

#include "scheduler/state/scheduler.h"

/* Takes over the settings that were read. */
void sharing_take(struct scheduler *scheduler, struct scheduling *scheduling);

/* A run was started: its course gets its share. */
void sharing_take_run(const struct scheduler *scheduler, const struct active_run *run);

/* A worker was registered, or its tags have changed. */
void sharing_take_worker(struct scheduler *scheduler, struct known_worker *worker);

/* Whether some group of workers may serve the lane; lane->groups has them then. */
bool sharing_has_groups(const struct scheduler *scheduler, struct lane *lane);

#endif
