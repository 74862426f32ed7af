/*
 * lease_table: every live lease that this leader knows, and where each stands between the database,
 * the replica and the worker. Belongs to the scheduler's core thread. Pure: no I/O, no clock.
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
    LEASE_INSERTING,   /* its insert is under way */
    LEASE_DELIVERING,  /* a callback is to tell, or is telling, the replica */
    LEASE_DELIVERED,   /* the replica has answered the worker with it */
    LEASE_UNCONFIRMED, /* nobody knows whether the worker has it: it is offered to it again, until
                          hold_ms */
    LEASE_ENDING       /* its `ended` is being written */
};

struct live_lease {
    char job[JOB_ID_SIZE]; /* key */
    uint32_t attempt;
    enum lease_state state;
    enum lease_end end; /* in state ending: why */
    struct active_run *run;
    uint32_t slot;
    struct failed_attempts failed_attempts; /* of earlier attempts */
    struct known_worker *worker;
    struct known_replica *replica;  /* in state delivering: through which; else NULL */
    int64_t poll;                   /* and for which poll */
    int64_t leased_ms, deadline_ms; /* clock_boot_ms */
    int64_t hold_ms;                /* clock_boot_ms until which it is offered again */
    unsigned redeliveries;          /* of a worker that said its concurrency */
    struct live_lease *worker_prev, *worker_next;
    struct live_lease *outbox_prev, *outbox_next;           /* in the replica's outbox */
    struct live_lease *unconfirmed_prev, *unconfirmed_next; /* in state unconfirmed */
    struct lease_table *table;
    UT_hash_handle hh;
};

struct lease_table {
    struct live_lease *leases;      /* by job */
    struct live_lease *unconfirmed; /* those in that state */
};

void lease_table_init(struct lease_table *table);
void lease_table_destroy(struct lease_table *table);

struct live_lease *lease_table_find(const struct lease_table *table, const char *job);

/* Adds a lease of `worker`; counts it there and at the run. */
struct live_lease *lease_table_add(struct lease_table *table, struct active_run *run, uint32_t slot,
                                   const char *job, uint32_t attempt, struct known_worker *worker,
                                   enum lease_state state);

/* Takes it out of every list and frees it. */
void lease_table_remove(struct lease_table *table, struct live_lease *lease);

/* Changes its state, keeping the worker's count of what may not have reached it, and the list. */
void lease_set_state(struct live_lease *lease, enum lease_state state);

/* Puts it into a replica's outbox, for a poll; state delivering. */
void lease_send(struct live_lease *lease, struct known_replica *replica, int64_t poll);

/* Takes it out of whatever outbox it is in. */
void lease_unsend(struct live_lease *lease);

#endif
