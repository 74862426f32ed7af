/*
 * replica_table: the API's replicas, as known from their signals, and the polls parked at each.
 *
 * Polls that were matched with a job, and polls that were answered recently, are kept, so that a
 * signal that was sent before the answer can't make them wait again. Belongs to the scheduler's
 * core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_REPLICA_TABLE_H
#define SCHEDULER_STATE_REPLICA_TABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/job.h"
#include "common/store/replica_store.h"
#include "common/store/signal_store.h"
#include "scheduler/state/parked_poll.h"
#include "scheduler/state/watch_table.h"
#include "scheduler/state/worker_table.h"

/* A replica's query on behalf of a client, until a callback has answered it. */
struct pending_query {
    struct signal_query query; /* its number is the key */
    int64_t asked_ms;
    int64_t read; /* it is answered after this read of the pauses; 0: it needs none */
    bool is_sent; /* the callback in flight answers it */
    UT_hash_handle hh;
};

struct known_replica {
    char id[WORKER_ID_SIZE];
    char url[256];
    char process[33];
    char former_process[33]; /* the previous one; "": unknown */
    int64_t seen_number;     /* of this process's last signal */
    int64_t seen_ms;         /* clock_boot_ms of its last signal */
    bool takes_traceparent;  /* with hand-outs; earlier versions refuse it */
    bool in_contact;         /* its last callback was answered */
    bool has_resynced;       /* since this leader's term began */
    unsigned mismatches;     /* consecutive heartbeats with another checksum */
    unsigned failures;       /* unanswered callbacks in a row */
    int64_t retry_ms;        /* clock_boot_ms of the next try */
    bool is_busy;            /* a callback is in flight */
    bool wants_resync;       /* the next callback asks for a full resync */
    size_t matched;          /* polls in state matched */
    int64_t *empty;          /* polls to be answered without a job */
    size_t empty_count, empty_room;
    struct pending_query *queries; /* by number; oldest first */
    struct watch *watches;         /* its clients' watches, by number */
    json_t *events;                /* for the next callback; owned; NULL: none */
    struct live_lease *outbox;     /* hand-outs to deliver (live_lease.outbox_next) */
    struct parked_poll *polls;     /* all polls, by number */
    struct parked_poll *answered;  /* those that have ended; oldest first */
    UT_hash_handle hh;
};

struct replica_table {
    struct known_replica *replicas;  /* by id */
    struct parked_poll *waiters;     /* of all replicas, oldest first */
    int64_t first_order, last_order; /* given so far */
    size_t waiting;                  /* the number of waiters */
    size_t waiting_of[PROTOCOLS];    /* the same by the workers' protocol */
    struct parked_poll *finals;      /* the waiters that are final */
};

/* An empty table in the caller's memory; replica_table_destroy frees its replicas. */
void replica_table_init(struct replica_table *table);
void replica_table_destroy(struct replica_table *table);

/* The replica with that id; NULL: none. */
struct known_replica *replica_table_find(const struct replica_table *table, const char *id);

/* Adds a replica, or returns the one with that id. */
struct known_replica *replica_table_add(struct replica_table *table, const char *id,
                                        const char *url);

/* Removes and frees a replica that has no polls and no hand-outs. */
void replica_table_remove(struct replica_table *table, struct known_replica *replica);

/* The replica's poll with that number, in any state; NULL: none. */
struct parked_poll *replica_find_poll(const struct known_replica *replica, int64_t number);

/* Adds a waiting poll. A poll that is matched or answered already is unchanged; one that waits
 * already may become final. Returns the poll, or NULL if it does not wait. */
struct parked_poll *replica_park(struct replica_table *table, struct known_replica *replica,
                                 struct known_worker *worker, int64_t number, bool is_final);

/* Removes a poll from the waiters, because a hand-out for it begins. */
void poll_match(struct replica_table *table, struct parked_poll *poll);

/* The hand-out failed: the poll waits again, before all others. */
void poll_unmatch(struct replica_table *table, struct parked_poll *poll,
                  struct known_worker *worker);

/* Ends the poll, whatever its state. It is kept until replica_forget_answered. */
void poll_answered(struct replica_table *table, struct parked_poll *poll, int64_t now_ms);

/* Ends every waiting poll of the replica, because it is shutting down or has restarted. */
void replica_drop_polls(struct replica_table *table, struct known_replica *replica, int64_t now_ms);

/* Frees the polls that were answered before `before_ms` (clock_boot_ms). */
void replica_forget_answered(struct known_replica *replica, int64_t before_ms);

/* Adds a query for a callback to answer. Returns it; NULL: it is pending already. */
struct pending_query *replica_ask(struct known_replica *replica, const struct signal_query *query,
                                  int64_t now_ms);

/* The callback in flight is complete. The queries that it answered are removed; if not `is_done`,
 * they are answered again. */
void replica_queries_sent(struct known_replica *replica, bool is_done);

/* Drops the queries from before `before_ms` (clock_boot_ms), unless they are in flight: a client
 * that still waits asks again. */
void replica_forget_queries(struct known_replica *replica, int64_t before_ms);

/* Drops all queries, because the replica has restarted. */
void replica_clear_queries(struct known_replica *replica);

/* Adds an event for a watcher to the next callback. Takes over `data`. */
void replica_notify(struct known_replica *replica, int64_t watch, const char *type, json_t *data);

/* Moves the events into the body of a callback. */
void replica_take_events(struct known_replica *replica, json_t *body);

/* Sets the count and checksum of the polls that wait or are matched, to compare with the replica's
 * heartbeat. */
void replica_checksum(const struct known_replica *replica, int64_t *count, int64_t *checksum);

#endif
