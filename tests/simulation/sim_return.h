/*
 * sim_return: jobs that graders return because they can't run them. In a quarter of the hours, some
 * of all attempts, and all of a few jobs. Who returns what follows from the seed alone, and throws
 * nobody's dice. No fault: a grader may do so at any time, but for the quiet part of an hour.
 */
#ifndef TESTS_SIMULATION_SIM_RETURN_H
#define TESTS_SIMULATION_SIM_RETURN_H

#include <stdbool.h>

#include "tests/simulation/world.h"

/* Does its grader return this attempt of a job? */
bool sim_return_is_due(const struct world *world, struct subject job);

/* What a replica does with a return. The grader is told by sim_grader_reported. */
void sim_return_submit(struct world *world, int replica, struct poll_owner owner,
                       struct subject job);

/* The event of a lease that was returned, for the scheduler; NULL: it was not. */
struct event *sim_return_event(struct world *world, const char *job, uint32_t attempt,
                               int64_t generation);

/* ---- The checks ---- */

/* By how many different workers the job was returned. `reason`: that of the last attempt. */
unsigned check_returns(const struct sim_job *job, const char **reason);

/* Has any worker returned it? */
bool check_is_returned(const struct sim_job *job);

/* A lease is about to be inserted. */
void check_return_insert(struct world *world, int run, uint32_t slot, const struct lease *lease);

#endif
