/*
 * sim_client: those who submit, start and cancel runs, follow them by event streams, and ask what
 * only the scheduler knows.
 */
#ifndef TESTS_SIMULATION_SIM_CLIENT_H
#define TESTS_SIMULATION_SIM_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/simulation/dice.h"
#include "tests/simulation/plan.h"

struct world;

enum { CANCEL_MOST_MS = 100 /* after what somebody cancels a run for */ };

struct sim_client {
    struct dice dice;
    uint32_t incarnation;                 /* always the same: clients do not die */
    bool has_begun[RUNS], is_aimed[RUNS]; /* being created, or was; at somebody else's moment */
};

void sim_client_init(struct world *world);

/* The replica at which clients followed runs is no more: they go to another. */
void sim_client_lost_watches(struct world *world, int replica);

/* Somebody cancels the run, in `delay_ms`. */
void sim_client_cancel(struct world *world, int run, int64_t delay_ms);

/* Somebody begins the rerun of the run, if it has one that has not begun, in `delay_ms`. */
void sim_client_rerun(struct world *world, int run, int64_t delay_ms);

/* Somebody begins the next run of the same course, with keys too, if it has not begun. */
void sim_client_follow(struct world *world, int run, int64_t delay_ms);

/* What was said to be over is not. */
void sim_client_watch_again(struct world *world, int run);

#endif
