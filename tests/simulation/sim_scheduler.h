/*
 * sim_scheduler: a process of broadway-scheduler. Its core, rules, state and recovery are the
 * production code; here is what io/ and main do in the real one: leadership, the inbox, the change
 * stream, group commits, database jobs and callbacks, in virtual time. It crashes with all that is
 * in flight, stands still, loses its lease and its stream.
 */
#ifndef TESTS_SIMULATION_SIM_SCHEDULER_H
#define TESTS_SIMULATION_SIM_SCHEDULER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scheduler/core/core.h"
#include "tests/simulation/dice.h"
#include "tests/simulation/plan.h"

struct world;
struct task;

/* What production code holds pointers to. Each knows whose it is. */
struct inbox {
    int scheduler;
    struct event *first, *last;
};

struct database {
    int scheduler;
};

struct change_stream {
    int scheduler;
    bool is_open, is_scheduled;
    int64_t generation;
    size_t next;        /* of the changes: the first that it has not brought */
    int64_t stalled_ms; /* it stands still until then */
    int64_t seen_ms;    /* when it last answered before that */
};

/* A group commit: one batch in flight, what comes meanwhile joins the next. */
struct sim_commit {
    struct lease_commit *lease; /* one of the two; owned by whoever settles it */
    struct result_commit *result;
    int64_t nonce, expires_ms;
    enum commit_outcome outcome;
    struct sim_commit *next;
};

struct sim_commits {
    struct sim_commit *first, *last;
    bool is_in_flight;
};

struct sim_scheduler {
    struct core core;
    struct inbox inbox;
    struct database database;
    struct change_stream stream;
    struct sim_commits leases, results;
    struct retention *retention; /* own; of its process */
    struct dice dice;
    char holder[WORKER_ID_SIZE];
    uint32_t incarnation;
    bool is_up, is_leading, is_recovering, is_deposed, is_stepping, is_taking;
    bool is_working;          /* it has recovered */
    int64_t term, trusted_ms; /* it trusts its lease until then */
    int64_t date_step_ms;     /* of the database's date, as it has last read it */
    int64_t stalled_ms, unrenewed_ms, recover_pause_ms, opened_ms;
    struct leader seen; /* when it changed last, as a standby sees it */
    int64_t seen_ms;
};

void sim_scheduler_init(struct world *world, int scheduler);
void sim_scheduler_destroy(struct world *world, int scheduler);

/* Who leads, as it believes itself; -1: nobody. */
int sim_scheduler_leader(const struct world *world);

/* The database's date as it knows it, and how it learns of it. */
int64_t sim_scheduler_date_ms(const struct world *world, int scheduler);
void sim_scheduler_read_date(struct world *world, int scheduler);

/* Begins a planned fault (lasts_ms > 0), or ends it. */
void sim_scheduler_fault(struct world *world, int scheduler, enum fault_kind kind,
                         int64_t lasts_ms);

bool sim_scheduler_is_trusted(const struct world *world, int scheduler);
void sim_scheduler_distrust(struct world *world, int scheduler);

/* Posts to its inbox. */
void sim_scheduler_post(struct world *world, int scheduler, struct event *event);

/* ---- sim_stream.c ---- */

void sim_stream_open(struct world *world, int scheduler, int64_t generation);
void sim_stream_close(struct world *world, int scheduler);
/* There is something new, or it moves again. */
void sim_stream_wake(struct world *world, int scheduler);
int64_t sim_stream_seen_ms(const struct world *world, int scheduler);

/* ---- sim_writes.c: what the core has carried out ---- */

void sim_commit_submit(struct world *world, int scheduler, struct sim_commits *commits,
                       struct sim_commit *commit);
/* Its process is gone. */
void sim_commits_clear(struct sim_commits *commits);
void sim_db_job_submit(struct world *world, int scheduler, struct db_job *db_job);
void sim_callback_post(struct world *world, int scheduler, struct callback *callback);

#endif
