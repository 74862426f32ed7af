/*
 * sim_pause: those who pause and resume runs, assignments, courses, graders (some to drain them)
 * and the whole cluster, as the API does for them: a write, then a query to the scheduler. What is
 * answered is held against what is handed out.
 */
#ifndef TESTS_SIMULATION_SIM_PAUSE_H
#define TESTS_SIMULATION_SIM_PAUSE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/simulation/plan.h"

struct world;

/* What the world knows of the pauses of PAUSE_TARGETS. */
struct sim_pauses {
    int64_t
        answered_ms[PAUSE_TARGETS]; /* since when a pause is answered, and no resume was sent; 0 */
    bool is_wanted[PAUSE_TARGETS];  /* it is being paused, or paused */
};

void sim_pause_init(struct world *world);

/* Somebody pauses the target in `delay_ms`, unless it is being paused or is, and resumes it. */
void sim_pause_soon(struct world *world, int target, int64_t delay_ms, int64_t lasts_ms);

/* The scheduler has answered the query about this target that was asked then. */
void sim_pause_answered(struct world *world, int target, int64_t asked_ms);

/* Is the run held back, or was it a moment ago, as far as anybody outside of a scheduler can say?
 */
bool sim_pause_may_hold(const struct world *world, int run);

/* Is a pause of the run answered, and does it hold by the database's date? */
bool sim_pause_holds(const struct world *world, int run);

/* The same of workers. */
bool sim_pause_may_hold_worker(const struct world *world, int worker);
bool sim_pause_holds_worker(const struct world *world, int worker);

#endif
