/*
 * shrink: makes a failure small: leaves out faults, kinds of faults, runs and graders, and parts of
 * the time in which faults at random moments happen, as long as the same check fails.
 */
#ifndef TESTS_SIMULATION_SHRINK_H
#define TESTS_SIMULATION_SHRINK_H

#include "tests/simulation/checker.h"
#include "tests/simulation/plan.h"

/* Plays a plan; *failure (may be NULL) says which check failed. */
void play(const struct plan *plan, const struct scope *scope, struct failure *failure);

/* The smallest scope that was found in which `failure` happens; *failure is then that one's. */
struct scope shrink(const struct plan *plan, struct failure *failure);

#endif
