/*
 * world: one cluster in virtual time: a database, three replicas, sixty graders, clients, two
 * schedulers, and a queue of tasks ordered by time. No threads and no real time: the same plan and
 * scope make the same history. Everything belongs to the world, and everything in tests/simulation
 * takes it as its first argument.
 */
#ifndef TESTS_SIMULATION_WORLD_H
#define TESTS_SIMULATION_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/simulation/checker.h"
#include "tests/simulation/history.h"
#include "tests/simulation/plan.h"
#include "tests/simulation/sim_client.h"
#include "tests/simulation/sim_database.h"
#include "tests/simulation/sim_grader.h"
#include "tests/simulation/sim_pause.h"
#include "tests/simulation/sim_races.h"
#include "tests/simulation/sim_replica.h"
#include "tests/simulation/sim_scheduler.h"

/* Something that happens at a time. First member of what it is about. */
struct task {
    void (*run)(struct world *world, struct task *task); /* owns the task */
    void (*drop)(struct task *task); /* frees it where the world ends first; NULL: free() */
};

struct task_place {
    int64_t at_ms;
    uint64_t order;
    struct task *task;
};

struct world {
    const struct plan *plan;
    const struct scope *scope;
    int64_t now_ms;           /* virtual, from 0: what clock_boot_ms says, less CLOCK_START_MS */
    int64_t end_ms;           /* when the world ends */
    int64_t date_step_ms;     /* all steps of the database's date so far */
    struct dice dice;         /* for what happens to nobody in particular */
    uint64_t events;          /* tasks run so far */
    uint64_t order;           /* of tasks */
    struct task_place *tasks; /* a heap */
    size_t task_count, task_room;
    struct history history;
    struct checker checker;
    struct sim_database database;
    struct sim_replica replicas[REPLICAS];
    struct sim_grader graders[GRADERS];
    struct sim_client client;
    struct sim_pauses pauses;
    struct sim_races races;
    struct sim_scheduler schedulers[SCHEDULERS];
};

/* clock_boot_ms and dates at the beginning. */
#define CLOCK_START_MS INT64_C(1000000)
#define DATE_START_MS INT64_C(1800000000000)

struct world *world_new(const struct plan *plan, const struct scope *scope, bool keeps_history);
void world_free(struct world *world);

/* Plays until the end, or until a check fails. */
void world_play(struct world *world);

/* Plays until `until_ms`, the end of the world or a failed check: for what waits inside a task. */
void world_wait(struct world *world, int64_t until_ms);

/* Does `run` with `task` in `delay_ms`. */
void world_later(struct world *world, int64_t delay_ms, struct task *task,
                 void (*run)(struct world *world, struct task *task));

/* The database's date. */
int64_t world_date_ms(const struct world *world);

/* Does a fault of that kind happen now? Throws the dice in any case. */
bool world_has_fault(struct world *world, struct dice *dice, enum fault_kind kind,
                     int64_t per_mille);

/* Does the planned fault, or a kind that clients and graders decide on, take part? */
bool world_has_kind(const struct world *world, enum fault_kind kind);

/* Does the grader take part? */
bool world_has_grader(const struct world *world, int grader);

/* Adds to the history. */
void world_note(struct world *world, enum actor actor, int actor_number, const char *what,
                struct subject subject, int64_t number);
void world_note_detail(struct world *world, enum actor actor, int actor_number, const char *what,
                       struct subject subject, int64_t number, const char *detail);

#endif
