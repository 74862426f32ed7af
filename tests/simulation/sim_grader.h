/*
 * sim_grader: a grader: registers, waits for jobs in long polls or over a websocket, works, sends
 * heartbeats and results through whatever replica, dies without a word, comes back with a new id
 * (classic) or its own (course), hangs, is silent, sends results twice or late.
 */
#ifndef TESTS_SIMULATION_SIM_GRADER_H
#define TESTS_SIMULATION_SIM_GRADER_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/simulation/dice.h"
#include "tests/simulation/history.h"
#include "tests/simulation/plan.h"
#include "tests/simulation/sim_replica.h"

struct world;

enum { SLOTS_MOST = 3 };

/* Of a result; bits. One that is refused is none that a replica can take; a return is none at all.
 */
enum result_how { RESULT_FAILED = 1, RESULT_SILENT = 2, RESULT_REFUSED = 4, RESULT_RETURN = 8 };

enum slot_state { SLOT_IDLE, SLOT_POLLING, SLOT_WORKING, SLOT_REPORTING };

struct sim_slot {
    enum slot_state state;
    uint32_t serial;
    int replica; /* where it polls */
    struct subject job;
    unsigned how; /* its result: enum result_how */
};

struct sim_grader {
    uint32_t incarnation;
    bool is_alive, is_registered;
    int registrations; /* classic: each has an id of its own */
    int worker;
    int64_t epoch;
    int socket; /* a websocket's replica; -1: it is closed */
    uint32_t socket_incarnation;
    int64_t silent_ms, broken_ms; /* without heartbeats, or failing at once, until then */
    struct dice dice;
    struct sim_slot slots[SLOTS_MOST];
};

/* What a poll is answered. */
struct sim_answer {
    struct poll_owner owner;
    bool has_job;
    bool is_lost;   /* on its way */
    bool is_broken; /* the connection broke: there is no answer */
    struct subject subject;
    int64_t expires_in_ms;
};

void sim_grader_init(struct world *world, int grader);

/* ---- From replicas, on their way ---- */

void sim_grader_answer(struct world *world, const struct sim_answer *answer);
void sim_grader_registered(struct world *world, struct poll_owner owner, bool is_done);
/* Whether its id is taken, as the scheduler says, and in which epoch it is. */
void sim_grader_may_renew(struct world *world, int replica, struct poll_owner owner, bool is_taken,
                          int64_t epoch);
/* It has its answer to a result. */
void sim_grader_reported(struct world *world, struct poll_owner owner, bool is_completed);

/* sim_grader_api.c: what a replica does for graders that takes the database. */
void sim_grader_register(struct world *world, int replica, struct poll_owner owner, int64_t epoch);
void sim_grader_submit(struct world *world, int replica, struct poll_owner owner,
                       struct subject job, unsigned how);

#endif
