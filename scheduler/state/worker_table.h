/*
 * worker_table: the registered workers, when each was last heard, and which of them are dead.
 *
 * A worker is dead two heartbeat intervals and max(1 s, half an interval) after it was last heard.
 * A worker that registered with neither a hostname nor a concurrency and has never sent a heartbeat
 * while it held a job is not expected to send any: while it holds a job, the job's deadline judges
 * it. Graders of the course protocol always send heartbeats. A worker that fails one job after the
 * other at once, without any output, is broken, not its jobs: it is paused for a while. One that
 * beats and does nothing else is stuck, and shown as that. Belongs to the scheduler's core thread.
 * Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_WORKER_TABLE_H
#define SCHEDULER_STATE_WORKER_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/job.h"
#include "common/domain/protocol.h"
#include "common/store/worker_store.h"

struct live_lease;
struct parked_poll;

enum {
    WORKER_QUICK_MS = 2000,
    WORKER_QUICK_FAILURES = 5, /* in a row: it is paused */
    WORKER_PAUSE_MS = 60000    /* then one job shows whether it works again */
};

struct known_worker {
    char id[WORKER_ID_SIZE];
    int concurrency; /* 0: not said */
    enum protocol protocol;
    int64_t epoch;          /* of its registration */
    char *hostname;         /* own; NULL: nothing was recorded yet */
    int64_t jobs_processed; /* hand-outs that reached it */
    int64_t jobs_recorded;  /* what of them a later leader will know */
    bool is_socket;         /* registered by a websocket, which is open at this replica */
    char socket_replica[WORKER_ID_SIZE], socket_process[33];
    bool is_alive;
    bool sends_heartbeats;        /* as it registered */
    bool beats_at_work;           /* it has sent a heartbeat while it held a job */
    int64_t heard_ms;             /* clock_boot_ms when it was last heard */
    char replica[WORKER_ID_SIZE]; /* through which; "" if not known */
    struct live_lease *leases;    /* what it holds, oldest first (live_lease.worker_next) */
    uint32_t held;                /* how many those are */
    uint32_t undelivered;         /* how many of them it may never have received */
    struct parked_poll *polls;    /* its waiting polls, newest first (parked_poll.worker_next) */
    unsigned quick_failures;      /* jobs in a row that failed at once and without a word */
    int64_t paused_until_ms;      /* clock_boot_ms until which it gets none because of that */
    int64_t acted_ms;             /* when it last asked for a job or sent a result */
    bool has_overrun;             /* since then the deadline of a job of its has passed */
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
/* Takes over what is recorded of a worker besides its life. A socket never has more than one job.
 */
void worker_describe(struct known_worker *worker, const struct worker *registered);

static inline const char *worker_hostname(const struct known_worker *worker)
{
    return worker->hostname != NULL ? worker->hostname : "";
}

void worker_table_remove(struct worker_table *table, struct known_worker *worker);

/* Notes that a worker was heard at `heard_ms` through `replica` (may be ""). True if that brought
 * it back to life. */
bool worker_heard(struct worker_table *table, struct known_worker *worker, int64_t heard_ms,
                  const char *replica);

/* Notes a heartbeat on top of that. True if it is the first one at work. */
bool worker_beat(struct known_worker *worker);

/* Notes how a job of the worker ended. `is_quick_failure`: it failed within WORKER_QUICK_MS without
 * any output. True if the worker is paused from now on. */
bool worker_note_result(struct known_worker *worker, bool is_quick_failure, int64_t now_ms);

/* How long a worker may be silent. */
int64_t worker_timeout_ms(const struct worker_table *table);

/* Has the worker been silent for too long? `silence_ms` is how long its replica has been silent:
 * that stretches it, by two intervals at most. */
bool worker_is_overdue(const struct worker_table *table, const struct known_worker *worker,
                       int64_t now_ms, int64_t silence_ms);

/* How many are alive, by enum protocol; adds to `alive`. */
void worker_table_count(const struct worker_table *table, uint32_t alive[PROTOCOLS]);

/* How many are paused. */
uint32_t worker_table_paused(const struct worker_table *table, int64_t now_ms);

/* It has asked for a job or sent a result. */
void worker_acted(struct known_worker *worker, int64_t now_ms);

/* How many are stuck: they beat, but have let a job's deadline pass or, without a job, done nothing
 * for `job_timeout_ms`, and have not acted since. A websocket is told of its jobs: it need not ask.
 */
uint32_t worker_table_stuck(const struct worker_table *table, int64_t job_timeout_ms,
                            int64_t now_ms);

void worker_declare_dead(struct worker_table *table, struct known_worker *worker);

/* Nobody could be heard for `gap_ms`: forgives all of them that much. */
void worker_table_extend_deadlines(struct worker_table *table, int64_t gap_ms, int64_t now_ms);

#endif
