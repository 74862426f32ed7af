#include "scheduler/state/lease_table.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"

void lease_table_init(struct lease_table *table)
{
    table->leases = table->unconfirmed = NULL;
}

void lease_table_destroy(struct lease_table *table)
{
    struct live_lease *lease, *following;
    HASH_ITER (hh, table->leases, lease, following)
        lease_table_remove(table, lease);
}

struct live_lease *lease_table_find(const struct lease_table *table, const char *job)
{
    struct live_lease *lease;
    HASH_FIND_STR(table->leases, job, lease);
    return lease;
}

struct live_lease *lease_table_add(struct lease_table *table, struct active_run *run, uint32_t slot,
                                   const char *job, uint32_t attempt, struct known_worker *worker,
                                   enum lease_state state)
{
    struct live_lease *lease = bw_alloc(sizeof *lease);
    strncpy(lease->job, job, sizeof lease->job - 1);
    lease->attempt = attempt;
    lease->run = run;
    lease->slot = slot;
    lease->worker = worker;
    lease->state = LEASE_INSERTING;
    lease->table = table;
    run->live++;
    run->inserting++;
    run->course->inserting++;
    run->course->running++;
    worker->held++;
    worker->in_delivery++;
    DL_APPEND2(worker->leases, lease, worker_prev, worker_next);
    HASH_ADD_STR(table->leases, job, lease);
    lease_set_state(lease, state);
    return lease;
}

void lease_table_remove(struct lease_table *table, struct live_lease *lease)
{
    lease_set_state(lease, LEASE_ENDING);
    lease_unsend(lease);
    lease->run->live--;
    lease->run->course->running--;
    lease->worker->held--;
    DL_DELETE2(lease->worker->leases, lease, worker_prev, worker_next);
    HASH_DELETE(hh, table->leases, lease);
    free(lease);
}

/* The worker's counter of leases in this state; NULL: there is none. */
static uint32_t *lease_counter(const struct live_lease *lease, enum lease_state state)
{
    switch (state) {
    case LEASE_INSERTING:
    case LEASE_DELIVERING:
        return &lease->worker->in_delivery;
    case LEASE_DELIVERED:
        return &lease->worker->delivered;
    case LEASE_UNCONFIRMED:
        return &lease->worker->undelivered;
    case LEASE_ENDING:
        break;
    }
    return NULL;
}

static void lease_count(const struct live_lease *lease, enum lease_state state)
{
    uint32_t *left = lease_counter(lease, lease->state), *entered = lease_counter(lease, state);
    if (left != NULL)
        --*left;
    if (entered != NULL)
        ++*entered;
}

void lease_set_state(struct live_lease *lease, enum lease_state state)
{
    lease_count(lease, state);
    if (lease->state == LEASE_UNCONFIRMED)
        DL_DELETE2(lease->table->unconfirmed, lease, unconfirmed_prev, unconfirmed_next);
    if (state == LEASE_UNCONFIRMED)
        DL_APPEND2(lease->table->unconfirmed, lease, unconfirmed_prev, unconfirmed_next);
    if (lease->state == LEASE_INSERTING) {
        lease->run->inserting--;
        lease->run->course->inserting--;
    }
    if (state == LEASE_INSERTING) {
        lease->run->inserting++;
        lease->run->course->inserting++;
    }
    lease->state = state;
}

void lease_send(struct live_lease *lease, struct known_replica *replica, int64_t poll)
{
    lease_unsend(lease);
    lease_set_state(lease, LEASE_DELIVERING);
    lease->replica = replica;
    lease->poll = poll;
    lease->is_sent = lease->is_put_off = false;
    DL_APPEND2(replica->outbox, lease, outbox_prev, outbox_next);
}

void lease_unsend(struct live_lease *lease)
{
    if (lease->replica == NULL)
        return;
    DL_DELETE2(lease->replica->outbox, lease, outbox_prev, outbox_next);
    lease->replica = NULL;
}
