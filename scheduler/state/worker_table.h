/*
 * worker_table: the registered workers, when each was last seen, and which of them are dead.
 *
 * A worker is dead two heartbeat intervals and max(1 s, half an interval) after it was last seen.
 * A worker that registered with neither a hostname nor a concurrency and has never sent a heartbeat
 * while it held a job is not expected to send any: while it holds a job, only the job's deadline
 * applies, unless its protocol requires heartbeats (common/domain/protocol_map.h). The same holds
 * while it may go on with a job that was cancelled or superseded, until it acts. A worker whose
 * poll waits counts as seen; its silence is measured from the end of the wait. A worker that fails
 * or returns WORKER_QUICK_FAILURES jobs in a row at once is paused for WORKER_PAUSE_MS. A worker
 * that only sends heartbeats is stuck, and counted as such, unless it says that it has a fault: it
 * is alive, but does not count as one that could take jobs; one that asks for jobs nevertheless
 * gets them. Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_WORKER_TABLE_H
#define SCHEDULER_STATE_WORKER_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/job.h"
#include "common/domain/protocol_map.h"
#include "common/domain/wait_reason.h"
#include "common/store/worker_store.h"

struct live_lease;
struct parked_poll;
struct worker_group;

enum {
    WORKER_QUICK_MS = 2000,
    WORKER_QUICK_FAILURES = 5, /* in a row: it is paused */
    WORKER_PAUSE_MS = 60000    /* then one job shows whether it works again */
};

struct known_worker {
    char id[WORKER_ID_SIZE];
    int concurrency; /* 0: not said */
    enum protocol protocol;
    int64_t epoch;                 /* of its registration */
    char *hostname;                /* own; NULL: nothing was recorded yet */
    char *tags;                    /* own; the same */
    struct worker_group *group;    /* state/worker_group.h; NULL: not assigned yet */
    char fault[WORKER_FAULT_SIZE]; /* why it can't run jobs, as it says; "": it can */
    int64_t jobs_processed;        /* hand-outs that reached it */
    int64_t jobs_recorded;         /* what of them a later leader will know */
    bool is_socket;                /* registered by a websocket, which is open at this replica */
    char socket_replica[WORKER_ID_SIZE], socket_process[33];
    bool is_alive;
    bool sends_heartbeats;        /* as it registered */
    bool beats_at_work;           /* it has sent a heartbeat while it held a job */
    int64_t seen_ms;              /* clock_boot_ms when it was last seen */
    char replica[WORKER_ID_SIZE]; /* through which; "" if not known */
    struct live_lease *leases;    /* what it holds, oldest first (live_lease.worker_next) */
    uint32_t held;                /* how many those are */
    uint32_t undelivered;         /* how many of them it may never have received */
    uint32_t in_delivery;         /* how many of them are on their way to one of its polls */
    uint32_t delivered;           /* how many of them it has received */
    struct parked_poll *polls;    /* its waiting polls, newest first (parked_poll.worker_next) */
    unsigned quick_failures; /* jobs in a row that failed within WORKER_QUICK_MS without output */
    int64_t paused_until_ms; /* clock_boot_ms until which it gets none because of that */
    bool is_paused;          /* by an operator (pausing_take_worker) */
    int64_t acted_ms;        /* when it last asked for a job or sent a result */
    int64_t busy_until_ms;   /* clock_boot_ms until which it may work on a job that has its result
                                from elsewhere */
    bool has_overrun;        /* since then the deadline of a job of its has passed */
    UT_hash_handle hh;
};

struct worker_table {
    struct known_worker *workers; /* by id */
    int64_t heartbeat_ms;
};

void worker_table_init(struct worker_table *table, int64_t heartbeat_ms);
void worker_table_destroy(struct worker_table *table);

struct known_worker *worker_table_find(const struct worker_table *table, const char *id);

/* Adds one, or returns the one that is there. */
struct known_worker *worker_table_add(struct worker_table *table, const char *id, int concurrency,
                                      bool is_alive, int64_t now_ms);
/* Copies the stored registration and counters of a worker, except whether it is alive. A socket
 * never has more than one job.
 */
void worker_describe(struct known_worker *worker, const struct worker *registered);

static inline const char *worker_hostname(const struct known_worker *worker)
{
    return worker->hostname != NULL ? worker->hostname : "";
}

void worker_table_remove(struct worker_table *table, struct known_worker *worker);

/* Notes that a worker was seen at `seen_ms` through `replica` (may be ""). True if the worker was
 * dead before. */
bool worker_seen(struct known_worker *worker, int64_t seen_ms, const char *replica);

/* Notes a heartbeat on top of that. True if it is the first one at work. */
bool worker_beat(struct known_worker *worker);

/* Notes how a job of the worker ended. `is_quick_failure`: it failed within WORKER_QUICK_MS without
 * any output. True if the worker is paused from now on. */
bool worker_note_result(struct known_worker *worker, bool is_quick_failure, int64_t now_ms);

/* Ends such a pause: the worker's failures are counted anew. */
void worker_resume(struct known_worker *worker);

/* How long a worker may be silent. For tests. */
int64_t worker_timeout_ms(const struct worker_table *table);

/* True if the worker holds no delivered job and has a parked poll, or a job is on its way to one.
 * Such a worker may be silent. */
bool worker_only_waits(const struct known_worker *worker);

/* True if the worker has been silent for too long. While a job is on its way to one of its polls
 * it is not: the outcome of the delivery decides. `silence_ms` is how long its replica has been
 * silent; the timeout is extended by that, by two intervals at most. */
bool worker_is_overdue(const struct worker_table *table, const struct known_worker *worker,
                       int64_t now_ms, int64_t silence_ms);

/* How many are alive, by enum protocol; adds to `alive`. */
void worker_table_count(const struct worker_table *table, uint32_t alive[PROTOCOLS]);

/* The workers that are alive and have a fault, by enum protocol; fills `faulty`. */
void worker_table_faulty(const struct worker_table *table, struct faulty_workers faulty[PROTOCOLS]);

/* Takes what the worker says of itself, as it was recorded. True if that has changed. When a fault
 * ends, the worker counts as if it had acted now. */
bool worker_note_fault(struct known_worker *worker, const char *fault, int64_t now_ms);

/* Whether it gets no job: by an operator, or since its jobs failed too quickly. */
static inline bool worker_is_paused(const struct known_worker *worker, int64_t now_ms)
{
    return worker->is_paused || now_ms < worker->paused_until_ms;
}

/* Why the worker gets no job, whichever it is: a set of reasons (common/domain/wait_reason.h); 0:
 * it may hold one more. */
static inline uint64_t worker_wait_reasons(const struct known_worker *worker, int64_t now_ms)
{
    bool is_full = worker->concurrency > 0 && worker->held >= (uint32_t)worker->concurrency;
    return wait_bit(WAIT_GRADER_DEAD, !worker->is_alive) |
           wait_bit(WAIT_GRADER_PAUSED, worker->is_paused) |
           wait_bit(WAIT_GRADER_FAILING, now_ms < worker->paused_until_ms) |
           wait_bit(WAIT_GRADER_UNCONFIRMED, worker->undelivered > 0) |
           wait_bit(WAIT_GRADER_FULL, is_full);
}

/* How many are paused since their jobs failed too quickly. */
uint32_t worker_table_paused(const struct worker_table *table, int64_t now_ms);

/* The job that it has got its result from elsewhere: it may work on it until then. */
void worker_goes_on(struct known_worker *worker, int64_t until_ms);

/* It has asked for a job or sent a result. */
void worker_acted(struct known_worker *worker, int64_t now_ms);

/* How many are stuck: they beat, but have let a job's deadline pass or, without a job and a fault,
 * done nothing for `job_timeout_ms`, and have not acted since. A worker with a websocket is sent
 * its jobs and never polls.
 */
uint32_t worker_table_stuck(const struct worker_table *table, int64_t job_timeout_ms,
                            int64_t now_ms);

void worker_declare_dead(struct known_worker *worker);

/* No heartbeat could arrive for `gap_ms`: extends every worker's deadline by that. */
void worker_table_extend_deadlines(struct worker_table *table, int64_t gap_ms, int64_t now_ms);

#endif
