/*
 * sim_races: what happens to a run at nearly the same moment: how often each action of clients met
 * each other kind of event within RACE_MS, and those actions that are aimed at such moments. In
 * hours that have the kind FAULT_AIMED most runs have a few of them: as the n-th event of some kind
 * happens, one or more actions follow within 90 ms. Who aims at what follows from the seed alone.
 */
#ifndef TESTS_SIMULATION_SIM_RACES_H
#define TESTS_SIMULATION_SIM_RACES_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/simulation/plan.h"

struct world;

/* X(kind, name): events, then actions of clients. A supersede is the result of a superseded job. */
#define RACE_MAP(X)                  \
    X(HAND_OUT, "hand-out")          \
    X(RESULT, "result")              \
    X(REQUEUE, "requeue")            \
    X(PHASE, "phase change")         \
    X(CANCEL, "cancel of a run")     \
    X(JOB_CANCEL, "cancel of a job") \
    X(SUPERSEDE, "supersede")        \
    X(PAUSE, "pause")                \
    X(RERUN, "rerun")

enum race_kind {
#define RACE_ENUM(kind, name) RACE_##kind,
    RACE_MAP(RACE_ENUM)
#undef RACE_ENUM
        RACE_KINDS
};

enum { FIRST_ACTION = RACE_CANCEL, RACE_MS = 100, AIMS_OF_RUN = 3 };

/* Which of two kinds is first does not matter: both places have the number. */
struct race_counts {
    uint64_t met[RACE_KINDS][RACE_KINDS];
};

/* Actions that follow the n-th event of a kind. */
struct race_aim {
    enum race_kind event;
    unsigned nth, actions; /* bits of enum race_kind */
};

struct sim_races {
    struct race_counts counts;
    int64_t last_ms[RUNS][RACE_KINDS]; /* when it happened last; 0: never */
    unsigned met[RUNS][RACE_KINDS];    /* what the last action of that kind has met; bits */
    unsigned happened[RUNS][RACE_KINDS];
    struct race_aim aims[RUNS][AIMS_OF_RUN];
};

void sim_races_init(struct world *world);

/* It has just been written. `slot`: the job; -1: the run as a whole. */
void race_happens(struct world *world, int run, int slot, enum race_kind kind);

void race_counts_add(struct race_counts *counts, const struct race_counts *added);

/* A row for each action: how often it met what. */
void race_counts_print(const struct race_counts *counts, FILE *file);

#endif
