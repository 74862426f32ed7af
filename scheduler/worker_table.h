/*
 * worker_table: the registered workers, when each was last heard, and which of them are dead.
 *
 * A worker is dead two heartbeat intervals and max(1 s, half an interval) after it was last heard.
 * A worker that has said no concurrency and has never sent a heartbeat while it held a job is not
 * expected to: while it holds one, the job's deadline judges it. Graders of the course protocol
 * always are. Belongs to the scheduler's core
 * thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_WORKER_TABLE_H
#define SCHEDULER_WORKER_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "common/job.h"
#include "common/protocol.h"
#include "common/store/worker_store.h"

struct live_lease;
struct parked_poll;

struct known_worker {
    char id[WORKER_ID_SIZE];
    int concurrency; /* 0: not said */
    enum protocol protocol;
    int64_t epoch;          /* of its registration */
    char *hostname;         /* own; NULL: not said */
    int64_t jobs_processed; /* hand-outs that reached it */
    bool is_socket;         /* registered by a websocket, which is open at this replica */
    char socket_replica[WORKER_ID_SIZE], socket_process[33];
    bool is_alive;
    bool beats_at_work;           /* it has sent a heartbeat while it held a job */
    int64_t heard_ms;             /* clock_boot_ms when it was last heard */
    char replica[WORKER_ID_SIZE]; /* through which; "" if not known */
    struct live_lease *leases;    /* what it holds, oldest first (live_lease.worker_next) */
    uint32_t held;                /* how many those are */
    uint32_t undelivered;         /* how many of them it may never have received */
    struct parked_poll *polls;    /* its waiting polls, newest first (parked_poll.worker_next) */
    UT_hash_handle hh;
};

struct worker_table {
    struct known_worker *workers; /* by id */
    int64_t heartbeat_ms;
    uint32_t alive; /* how many are */
};

void worker_table_init(struct worker_table *table, int64_t heartbeat_ms);
void worker_table_destroy(struct worker_table *table);

struct known_worker *worker_table_find(const struct worker_table *table, const char *id);

/* Adds one, or returns the one that is there. */
struct known_worker *worker_table_add(struct worker_table *table, const char *id, int concurrency,
                                      bool is_alive, int64_t now_ms);
/* What its registration says. A socket never has more than one job. */
void worker_describe(struct known_worker *worker, const struct worker *registered);

void worker_table_remove(struct worker_table *table, struct known_worker *worker);

/* Notes that a worker was heard at `heard_ms` through `replica` (may be ""). True if that brought
 * it back to life. */
bool worker_heard(struct worker_table *table, struct known_worker *worker, int64_t heard_ms,
                  const char *replica);

/* Notes a heartbeat on top of that. */
void worker_beat(struct worker_table *table, struct known_worker *worker);

/* How long a worker may be silent. */
int64_t worker_patience_ms(const struct worker_table *table);

/* Has the worker been silent for too long? `silence_ms` is how long its replica has been silent:
 * that stretches it, by two intervals at most. */
bool worker_is_overdue(const struct worker_table *table, const struct known_worker *worker,
                       int64_t now_ms, int64_t silence_ms);

void worker_declare_dead(struct worker_table *table, struct known_worker *worker);

/* Nobody could be heard for `gap_ms`: forgives all of them that much. */
void worker_table_forgive(struct worker_table *table, int64_t gap_ms, int64_t now_ms);

#endif
