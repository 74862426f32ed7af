/*
 * lease_table: every live lease that this leader knows, with its state between the database, the
 * replica and the worker. Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_LEASE_TABLE_H
#define SCHEDULER_STATE_LEASE_TABLE_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/job.h"
#include "common/store/lease_store.h"
#include "scheduler/state/queue.h"
#include "scheduler/state/replica_table.h"
#include "scheduler/state/worker_table.h"

enum lease_state {
    LEASE_INSERTING,   /* its insert is in flight */
    LEASE_DELIVERING,  /* in a replica's outbox, or in a callback in flight */
    LEASE_DELIVERED,   /* the replica has answered the worker's poll with it */
    LEASE_UNCONFIRMED, /* unknown whether the worker has it: offered again until hold_ms */
    LEASE_ENDING       /* its `ended` is being written */
};

struct live_lease {
    char job[JOB_ID_SIZE]; /* key */
    uint32_t attempt;
    enum lease_state state;
    enum lease_end end; /* in state ending: the reason */
    struct active_run *run;
    uint32_t slot;
    struct failed_attempts failed_attempts; /* of earlier attempts */
    struct known_worker *worker;
    struct known_replica *replica;  /* in state delivering: the one that delivers it; else NULL */
    int64_t poll;                   /* in state delivering: the poll that it answers */
    bool is_sent;                   /* in a callback that is in flight */
    bool is_put_off;                /* the replica had no time or memory for it */
    int64_t leased_ms, deadline_ms; /* clock_boot_ms */
    int64_t charged_from_ms;        /* clock_boot_ms; its course was charged for it from then on */
    double charged_ms;              /* so much: rules/lease_lifecycle */
    int64_t waited_from_ms, leased_at_ms; /* database dates, for its spans; 0: not known */
    int64_t hold_ms;                      /* clock_boot_ms until which it is offered again */
    unsigned redeliveries;                /* to a worker that stated its concurrency */
    struct live_lease *worker_prev, *worker_next;
    struct live_lease *outbox_prev, *outbox_next;           /* in the replica's outbox */
    struct live_lease *unconfirmed_prev, *unconfirmed_next; /* in state unconfirmed */
    struct lease_table *table;
    UT_hash_handle hh;
};

struct lease_table {
    struct live_lease *leases;      /* by job */
    struct live_lease *unconfirmed; /* list of those in state unconfirmed */
};

/* An empty table in the caller's memory; lease_table_destroy frees its leases. */
void lease_table_init(struct lease_table *table);
void lease_table_destroy(struct lease_table *table);

/* The lease of that job; NULL: none. */
struct live_lease *lease_table_find(const struct lease_table *table, const char *job);

/* Adds a lease of `worker`, and counts it at the worker and at the run. */
struct live_lease *lease_table_add(struct lease_table *table, struct active_run *run, uint32_t slot,
                                   const char *job, uint32_t attempt, struct known_worker *worker,
                                   enum lease_state state);

/* Removes the lease from every list and frees it. */
void lease_table_remove(struct lease_table *table, struct live_lease *lease);

/* Changes the lease's state, and updates the worker's counters and the list of unconfirmed leases.
 */
void lease_set_state(struct live_lease *lease, enum lease_state state);

/* Puts the lease into a replica's outbox, as the answer to a poll; state delivering. */
void lease_send(struct live_lease *lease, struct known_replica *replica, int64_t poll);

/* Removes the lease from the outbox that it is in, if any. */
void lease_unsend(struct live_lease *lease);

#endif
