/*
 * sim_keys: supersede keys in the simulated cluster: which students of which runs have which, and
 * what must be true of jobs that are superseded. In seven hours of ten some runs have keys; many of
 * these runs start soon after an earlier one of the same course, whose students they share.
 */
#ifndef TESTS_SIMULATION_SIM_KEYS_H
#define TESTS_SIMULATION_SIM_KEYS_H

#include "scheduler/state/event.h"
#include "tests/simulation/history.h"
#include "tests/simulation/plan.h"

struct world;
struct sim_job;

/* Plans the keys of all runs, and moves the starts of some. */
void sim_keys_plan(struct plan *plan);

/* Gives the run its keys. */
void sim_keys_give(const struct planned_run *plan, struct run *run);

/* A copy of a run as a read brings it, without its summary. */
void sim_run_copy(const struct run *from, struct run *to);

/* The result of a grader for a job that has one: the holder of a superseded job adds it. */
void sim_result_keep(struct world *world, struct sim_job *job, const struct result *result,
                     struct subject subject);

/* The scheduler has learned of the run, by an event or a read. */
void check_keys_known(struct world *world, int scheduler, const struct run *run);

/* A lease is about to be wanted: not of a job that is older than another one that its scheduler
 * knows. */
void check_keys_hand_out(struct world *world, int scheduler, struct subject subject);

/* A superseded result is about to be inserted: a newer job with the same key has been started, or
 * all students of the run are superseded. */
void check_keys_result(struct world *world, const struct result *result, struct subject subject);

#endif
