/*
 * sim_replica: a replica of the API as graders and the scheduler see it: polls that are parked,
 * signals in numbered batches (api/uplink/signals), deliveries that are remembered
 * (api/grading/delivery_table), callbacks (api/internal/callback_handler), queries and watches,
 * results and registrations that it stores for graders. It crashes and comes back as another
 * process, and stands still.
 */
#ifndef TESTS_SIMULATION_SIM_REPLICA_H
#define TESTS_SIMULATION_SIM_REPLICA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/store/signal_store.h"
#include "tests/simulation/dice.h"

struct world;
struct task;

enum {
    POLLS_MOST = 400,
    SEEN_MOST = 200,
    DELIVERIES_MOST = 1000,
    QUERIES_MOST = 100,
    WATCHES_MOST = 60,
    PENDING_MOST = 1000
};

/* Where a grader waits: which of its slots, and for which time it asks. */
struct poll_owner {
    int grader, slot;
    uint32_t incarnation, serial;
};

struct sim_poll {
    int64_t number;
    int worker;
    struct poll_owner owner;
    bool is_ending, is_socket;
    int64_t parked_ms, ending_ms;
    int64_t free_ms; /* since when its grader could begin a job, as far as the checker has seen */
};

struct sim_seen {
    int worker;
    int64_t at_ms;
    enum seen_kind kind;
};

struct sim_delivery {
    int run, slot, worker;
    uint32_t attempt;
    int64_t poll, expires_ms;
    bool is_finished;
};

struct sim_query {
    int64_t number;
    enum query_kind kind;
    int worker, run; /* what it is about */
    int64_t epoch, asked_ms, begun_ms;
    struct poll_owner owner; /* who registers, with QUERY_ALIVE */
};

struct sim_watch {
    int64_t number;
    int run;
    int64_t last;
};

struct sim_replica {
    bool is_up, is_cut_off;
    uint32_t incarnation;
    int64_t stalled_ms; /* it stands still until then */
    int64_t full_ms;    /* it puts hand-outs off until then */
    struct dice dice;
    struct replica self; /* as it signs its signals */
    int64_t highest_term;

    struct sim_poll polls[POLLS_MOST];
    size_t poll_count;
    int64_t last_poll;
    struct sim_delivery deliveries[DELIVERIES_MOST];
    size_t delivery_count;
    struct sim_query queries[QUERIES_MOST];
    size_t query_count;
    int64_t last_query;
    struct sim_watch watches[WATCHES_MOST];
    size_t watch_count;
    int64_t last_watch;

    /* what is to be signalled */
    struct signal_poll pending_polls[PENDING_MOST];
    int64_t pending_gone[PENDING_MOST];
    struct signal_query pending_queries[PENDING_MOST];
    struct signal_watch pending_watches[WATCHES_MOST];
    int64_t pending_unwatched[WATCHES_MOST];
    size_t pending_poll_count, pending_gone_count, pending_query_count, pending_watch_count,
        pending_unwatched_count;
    struct sim_seen seen[SEEN_MOST];
    size_t seen_count;
    int64_t seen_due_ms, next_heartbeat_ms, number, wakes_ms;
    bool must_resync, is_sending;
    int64_t pauses_ms;
};

void sim_replica_init(struct world *world, int replica);
void sim_replica_destroy(struct world *world, int replica);

/* Another process. */
void sim_replica_start(struct world *world, int replica);
void sim_replica_crash(struct world *world, int replica);
void sim_replica_stall(struct world *world, int replica, int64_t lasts_ms);

/* If it stands still, does `run` with the task later: then true. */
bool sim_replica_postpones(struct world *world, int replica, struct task *task,
                           void (*run)(struct world *world, struct task *task));

/* ---- For graders and clients: the replica is up ---- */

void sim_replica_poll(struct world *world, int replica, int worker, struct poll_owner owner,
                      int64_t wait_ms, bool is_socket);
/* The grader closes it. */
void sim_replica_close_poll(struct world *world, int replica, struct poll_owner owner);
void sim_replica_seen(struct world *world, int replica, int worker, enum seen_kind kind);
/* Asks the scheduler; `query` without its number and times. */
void sim_replica_ask(struct world *world, int replica, const struct sim_query *query);
void sim_replica_watch(struct world *world, int replica, int run);
bool sim_replica_has_delivered(const struct sim_replica *replica, int run, int slot, int worker);
/* The job has a result. */
void sim_replica_finish(struct sim_replica *replica, int run, int slot);

/* ---- For its own files ---- */

struct sim_poll *sim_replica_find_poll(struct sim_replica *replica, int64_t number, int worker);
void sim_replica_remove_poll(struct sim_replica *replica, struct sim_poll *poll);

/* sim_signals.c: sends what is to be told, if it is time; looks again when it will be. */
void sim_signals_pump(struct world *world, int replica);
void sim_signals_poll(struct world *world, int replica, const struct sim_poll *poll);
void sim_signals_gone(struct world *world, int replica, int64_t poll);
void sim_signals_seen(struct world *world, int replica, int worker, enum seen_kind kind);
void sim_signals_query(struct world *world, int replica, const struct sim_query *query);
void sim_signals_watch(struct world *world, int replica, const struct sim_watch *watch);
void sim_signals_unwatch(struct world *world, int replica, int64_t watch);
void sim_signals_resync(struct world *world, int replica);

/* sim_callback.c: what the replica does with a callback's body. Returns the status; *reply is new,
 * free(). */
long sim_callback_handle(struct world *world, int replica, const char *body, char **reply);

#endif
