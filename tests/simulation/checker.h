/*
 * checker: holds what happens against docs/reliability.md. It sees the world as nobody in it does:
 * every write of the database, every command of a scheduler, every event that one is told. Which
 * promise is checked how is in tests/simulation/README.md; the names below are its rows.
 *
 * The first failed check ends the world.
 */
#ifndef TESTS_SIMULATION_CHECKER_H
#define TESTS_SIMULATION_CHECKER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "scheduler/state/command.h"
#include "scheduler/state/event.h"
#include "tests/simulation/history.h"
#include "tests/simulation/plan.h"

struct world;
struct change;
struct sim_poll;
struct sim_run;
struct sim_query;

enum { SEEN_KEPT = 6 };

/* What a scheduler was told of a job. A knowledge is of one recovery: its number. */
struct job_knowledge {
    int64_t has_result; /* the recovery that knows it; 0: none */
    int64_t is_delivered, is_undeliverable;
    uint32_t delivered_attempt, undeliverable_attempt;
    int64_t deadline_ms; /* not before this may the attempt expire, as that process knows it */
    uint32_t deadline_attempt, deadline_process;
};

struct job_truth {
    struct job_knowledge known[SCHEDULERS];
    int64_t free_ms; /* since when it could be handed out, as far as was seen; 0: it could not */
    uint32_t sent_attempt, sent_count; /* callbacks that carried this attempt, to other polls */
    int64_t sent_poll;
    bool is_refused;       /* its result could not be taken, and it failed by that */
    int64_t due_ms;        /* until then its graders have time */
    uint32_t only_attempt; /* this attempt was handed to a worker that held no other job */
    int64_t cancelled_ms;  /* when it was answered that the job is cancelled; 0: it was not */
};

/* When a worker was heard, and when that was told. */
struct seen_truth {
    int64_t seen_ms, notified_ms;
};

struct worker_truth {
    struct seen_truth seen[SEEN_KEPT];
    unsigned next;
    int64_t socket_ended_ms;
    int64_t lost_ms; /* when it was last taken for lost, with a job */
    int64_t busy_ms; /* when it was last seen to hold a job */
};

struct failure {
    const char *promise; /* "I3"; NULL: none failed */
    const char *check;   /* which one: static */
    int64_t at_ms;
    struct subject subject;
};

struct checker {
    struct failure failure;
    struct job_truth *jobs[RUNS]; /* own */
    int64_t cancel_known[RUNS][SCHEDULERS];
    int64_t start_known[RUNS][SCHEDULERS];
    struct worker_truth *workers; /* own */
    int64_t recovery[SCHEDULERS]; /* the number of each one's present recovery */
    int64_t recoveries;
    int64_t recovery_ms[SCHEDULERS];               /* when it began */
    uint32_t replicas_found[SCHEDULERS][REPLICAS]; /* their incarnations; 0: not found */
    int64_t disturbed_ms;                          /* when something was last unavailable */
    int64_t stepped_ms; /* when the database's date stepped last; 0: never */
};

void checker_init(struct world *world);
void checker_destroy(struct world *world);
void checker_end(struct world *world);

/* Is there nothing left that anybody waits for? */
bool checker_is_done(const struct world *world);

static inline bool checker_has_failed(const struct checker *checker)
{
    return checker->failure.promise != NULL;
}

/* ---- The database is about to write ---- */
void check_lease_insert(struct world *world, int run, uint32_t slot, const struct lease *lease);
void check_result_insert(struct world *world, int run, uint32_t slot, const struct result *result);
void check_run_advance(struct world *world, int run, enum run_phase phase, const uint8_t *summary,
                       uint32_t length);
void check_stamp(struct world *world, int run, uint32_t slot, const struct lease *lease,
                 int64_t term);
void check_signal(struct world *world, const struct signal *signal);
/* A result that can't be taken has become its job's failure. */
void check_refused(struct world *world, struct subject subject);
/* A result comes whose run was removed. */
void check_late_result(struct world *world, struct subject subject);

/* ---- checker_removal.c: something is about to be removed ---- */
void check_run_hide(struct world *world, int run);
void check_job_remove(struct world *world, int run);
void check_result_remove(struct world *world, int run, uint32_t slot);
void check_run_remove(struct world *world, int run);
void check_definition_remove(struct world *world, int run);
void check_log_remove(struct world *world, int run, uint32_t slot);
/* At the end: what is old is gone. */
void check_removed(struct world *world);

/* ---- A scheduler is told, or wants something ---- */
void check_recovery_begins(struct world *world, int scheduler);
void check_result_known(struct world *world, int scheduler, int run, uint32_t slot);
void check_run_known(struct world *world, int scheduler, int run);
void check_lease_known(struct world *world, int scheduler, int run, uint32_t slot,
                       const struct lease *lease);
/* The database's date has stepped. */
void check_clock_step(struct world *world);
void check_event(struct world *world, int scheduler, const struct event *event);
void check_command(struct world *world, int scheduler, const struct command *command);
void check_dropped(struct world *world, const struct change *change);

/* ---- At replicas and graders ---- */
void check_delivery(struct world *world, int replica, struct subject subject);
void check_poll_cut(struct world *world, int replica, const struct sim_poll *poll);
void check_query_unanswered(struct world *world, int replica, const struct sim_query *query);
void check_answer(struct world *world, int replica, const struct sim_query *query,
                  const json_t *value);
void check_watch_end(struct world *world, int replica, int run);
void check_socket_end(struct world *world, int worker);

/* ---- checker_waits.c ---- */

/* Begins to look, from second to second, at what waits. */
void check_waits_begin(struct world *world);
/* Something is unavailable at this moment. */
void check_disturbed(struct world *world);

/* ---- checker_breaker.c ---- */

/* A breaker has paused the run. */
void check_break(struct world *world, int run);
/* Looked at from second to second: a breaker that is due pauses its run. */
void check_breaker_waits(struct world *world, int run);

/* ---- For the checker's own files ---- */

/* The check failed, unless one has before. */
void checker_fail(struct world *world, const char *promise, const char *check,
                  struct subject subject);

/* The phase that follows from the results that are there. */
enum run_phase checker_phase(const struct world *world, int run);

/* Failed attempts of a job that are on record. */
struct failed_attempts checker_failed_attempts(const struct world *world, int run, uint32_t slot);
uint32_t checker_max_attempts(const struct world *world, int run);

/* What kind of job that is. */
enum job_kind checker_slot_kind(const struct sim_run *run, uint32_t slot);

/* checker_workers.c: may the scheduler take the worker for lost now? */
void check_worker_lost(struct world *world, int scheduler, struct subject subject,
                       bool is_redelivered);

#endif
