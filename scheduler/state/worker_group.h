/*
 * worker_group: the workers that may be given the same jobs: those of one protocol with the same
 * tags, which the same reservations keep for somebody. A lane of the queue asks each group once
 * whether it may serve it, not each worker.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_WORKER_GROUP_H
#define SCHEDULER_STATE_WORKER_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/protocol_map.h"
#include "common/domain/scheduling.h"
#include "common/domain/wait_reason.h"

struct known_worker;
struct parked_poll;

struct worker_group {
    enum protocol protocol;
    const char *tags; /* in `key` */
    size_t tag_count;
    bool is_reserved;
    uint32_t workers;            /* that belong to it */
    uint32_t slots;              /* jobs that they may run at a time: rules/outlook */
    uint64_t waiting;            /* its polls */
    struct parked_poll *waiters; /* oldest first (parked_poll.group_next) */
    uint64_t exhausted;          /* the round of dispatch in which none of them could take a job */
    UT_hash_handle hh;
    char key[];
};

struct worker_groups {
    struct worker_group *groups;            /* by key */
    const struct reservation *reservations; /* borrowed: scheduler.scheduling */
    size_t reservation_count;
    uint64_t version; /* changes whenever a lane may be served by other groups than before */
    uint64_t round;   /* of dispatch */
};

void worker_groups_clear(struct worker_groups *groups);

/* Puts the worker into the group of its protocol and tags, with its waiting polls; they keep their
 * order. To be called when those were set, and for each worker when the reservations have changed.
 */
void worker_groups_assign(struct worker_groups *groups, struct known_worker *worker);

/* Takes the worker out of its group; it has no waiting polls. */
void worker_groups_leave(struct worker_groups *groups, struct known_worker *worker);

/* Why workers of the group may not be given jobs that require these tags: a set of reasons
 * (common/domain/wait_reason.h); 0: they may. */
uint64_t worker_group_wait_reasons(const struct worker_groups *groups,
                                   const struct worker_group *group, enum protocol protocol,
                                   const char *course, enum run_class run_class,
                                   const char *requires);

/* Whether the reservation concerns the group's workers. */
bool worker_group_has_reservation(const struct worker_group *group,
                                  const struct reservation *reservation);

/* Adds a waiting poll of a worker of the group, by its order; removes it. */
void worker_group_add(struct worker_group *group, struct parked_poll *poll);
void worker_group_remove(struct worker_group *group, struct parked_poll *poll);

#endif
