/*
 * sim_job_cancel: clients that cancel single jobs, as api/grading/job_cancel does for them: a note
 * in the run, then the insert of the result. In half of the hours each run has up to three of them
 * at random moments; others are aimed (sim_races). Who cancels what follows from the seed alone.
 */
#ifndef TESTS_SIMULATION_SIM_JOB_CANCEL_H
#define TESTS_SIMULATION_SIM_JOB_CANCEL_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/simulation/history.h"

struct world;
struct sim_job;

void sim_job_cancel_init(struct world *world);

/* Somebody cancels the job, in `delay_ms`. */
void sim_job_cancel(struct world *world, int run, uint32_t slot, int64_t delay_ms);

/* The result says that the job was cancelled alone. */
bool sim_job_is_cancelled(const struct sim_job *job);

/* ---- The checks ---- */

/* A lease is about to be wanted: not of a job whose cancelling was answered before the present
 * recovery of its scheduler began. */
void check_cancel_hand_out(struct world *world, int scheduler, struct subject subject);

/* At the end: what was answered is so. */
void check_cancels(struct world *world, int run);

#endif
