/*
 * replica_table: the API's replicas as their signals show them, and the polls parked at each.
 *
 * A poll that was matched with a job, and one that was answered a moment ago, are remembered, so
 * that a signal which was sent before the answer can't make it wait again. Belongs to the
 * scheduler's core thread. Pure: no I/O, no clock.
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
#include "scheduler/state/worker_table.h"

enum poll_state {
    POLL_WAITING, /* in the waiters' list */
    POLL_MATCHED, /* a hand-out for it is under way */
    POLL_ANSWERED /* it is over; remembered for a while */
};

struct parked_poll {
    int64_t number; /* key; within the replica's process */
    enum poll_state state;
    bool is_final;  /* to be answered now, with a job or with nothing */
    bool is_listed; /* scratch: named by the announcement at hand */
    int64_t answered_ms;
    struct known_replica *replica;
    struct known_worker *worker; /* while waiting; NULL once answered */
    struct parked_poll *prev,
        *next; /* in the waiters' list, or in that of the answered; oldest first */
    struct parked_poll *worker_prev, *worker_next;
    struct parked_poll *final_prev, *final_next; /* while waiting, if it is final */
    UT_hash_handle hh;
};

struct known_replica {
    char id[WORKER_ID_SIZE];
    char url[256];
    char process[33];
    char former_process[33]; /* the one before, "": none known */
    int64_t heard_number;    /* of the last signal of this process */
    int64_t heard_ms;        /* clock_boot_ms of its last signal */
    bool in_contact;         /* its last callback was answered */
    bool has_announced;      /* since this leader began */
    unsigned mismatches;     /* signs of life in a row whose checksum was not ours */
    unsigned failures;       /* callbacks in a row that were not answered */
    int64_t retry_ms;        /* not before this */
    bool is_busy;            /* a callback is under way */
    bool wants_announcement; /* to be asked for with the next callback */
    size_t matched;          /* polls in state matched */
    int64_t *empty;          /* polls to be answered with nothing */
    size_t empty_count, empty_room;
    struct watch *watches;        /* what is followed there, by number: watching.c */
    json_t *answers, *events;     /* to be told with the next callback; own, NULL: none */
    struct live_lease *outbox;    /* hand-outs not yet confirmed (live_lease.outbox_next) */
    struct parked_poll *polls;    /* all, by number */
    struct parked_poll *answered; /* those that are over, the longest first */
    UT_hash_handle hh;
};

struct replica_table {
    struct known_replica *replicas; /* by id */
    struct parked_poll *waiters;    /* of all replicas, oldest first */
    size_t waiting;                 /* how many those are */
    size_t waiting_of[PROTOCOLS];   /* and of them, by their workers' protocol */
    struct parked_poll *finals;     /* of them, those that are final */
};

void replica_table_init(struct replica_table *table);
void replica_table_destroy(struct replica_table *table);

struct known_replica *replica_table_find(const struct replica_table *table, const char *id);

/* Adds one, or returns the one that is there. */
struct known_replica *replica_table_add(struct replica_table *table, const char *id,
                                        const char *url);

/* Frees a replica without polls or hand-outs. */
void replica_table_remove(struct replica_table *table, struct known_replica *replica);

struct parked_poll *replica_find_poll(const struct known_replica *replica, int64_t number);

/* A poll waits. Nothing happens to one that is matched or answered; one that waits already may
 * become final. Returns it, or NULL if it does not wait. */
struct parked_poll *replica_park(struct replica_table *table, struct known_replica *replica,
                                 struct known_worker *worker, int64_t number, bool is_final);

/* Takes a waiting poll out of the waiters: a hand-out for it begins. */
void poll_match(struct replica_table *table, struct parked_poll *poll);

/* The hand-out came to nothing: it waits again, before all others. */
void poll_unmatch(struct replica_table *table, struct parked_poll *poll,
                  struct known_worker *worker);

/* It is over, whatever its state. Remembered until replica_forget_answered. */
void poll_answered(struct replica_table *table, struct parked_poll *poll, int64_t now_ms);

/* Ends every waiting poll of the replica (it left, or its process is another). */
void replica_drop_polls(struct replica_table *table, struct known_replica *replica, int64_t now_ms);

/* Forgets the polls that were answered before `before_ms`. */
void replica_forget_answered(struct known_replica *replica, int64_t before_ms);

/* Nobody follows anything there (watching.c). */
void replica_forget_watches(struct known_replica *replica);

/* Adds to what the next callback answers (`value` is stolen), or tells watchers (`data` is stolen).
 */
void replica_answer(struct known_replica *replica, int64_t query, json_t *value);
void replica_tell(struct known_replica *replica, int64_t watch, const char *type, json_t *data);

/* Moves both into the body of a callback. */
void replica_take_news(struct known_replica *replica, json_t *body);

/* The callback with this body (as text) was not answered: its answers are told again. Whoever
 * has had them ignores them. */
void replica_take_back_answers(struct known_replica *replica, const char *body);

/* Count and checksum of the polls that wait or are matched, to compare with a sign of life. */
void replica_checksum(const struct known_replica *replica, int64_t *count, int64_t *checksum);

#endif
