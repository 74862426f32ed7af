/*
 * parked_poll: a grader's poll that waits, or has waited, at a replica. replica_table and
 * worker_group keep them in their lists.
 *
 * Belongs to the scheduler's core thread.
 */
#ifndef SCHEDULER_STATE_PARKED_POLL_H
#define SCHEDULER_STATE_PARKED_POLL_H

#include <stdbool.h>
#include <stdint.h>
#include <uthash.h>

struct known_replica;
struct known_worker;

enum poll_state {
    POLL_WAITING, /* in the waiters' list */
    POLL_MATCHED, /* a hand-out for it is in flight */
    POLL_ANSWERED /* it has ended; kept for a while */
};

struct parked_poll {
    int64_t number; /* key; within the replica's process */
    enum poll_state state;
    bool is_final;  /* to be answered now, with or without a job */
    bool is_listed; /* scratch: listed by the current full resync */
    int64_t answered_ms;
    struct known_replica *replica;
    struct known_worker *worker;     /* while waiting; NULL once answered */
    struct parked_poll *prev, *next; /* in the list of waiting or of answered polls; oldest first */
    struct parked_poll *worker_prev, *worker_next;
    struct parked_poll *final_prev, *final_next; /* while waiting, if it is final */
    struct parked_poll *group_prev, *group_next; /* while waiting, in its worker's group */
    int64_t order;                               /* among the waiting polls, ascending */
    UT_hash_handle hh;
};

#endif
