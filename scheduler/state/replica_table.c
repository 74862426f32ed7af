#include "scheduler/state/replica_table.h"

#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"
#include "common/store/signal_store.h"
#include "scheduler/state/worker_group.h"

void replica_table_init(struct replica_table *table)
{
    memset(table, 0, sizeof *table);
}

static void free_polls(struct known_replica *replica)
{
    struct parked_poll *poll, *following;
    HASH_ITER (hh, replica->polls, poll, following) {
        HASH_DELETE(hh, replica->polls, poll);
        free(poll);
    }
}

void replica_table_destroy(struct replica_table *table)
{
    struct known_replica *replica, *following;
    HASH_ITER (hh, table->replicas, replica, following)
        replica_table_remove(table, replica);
    replica_table_init(table);
}

struct known_replica *replica_table_find(const struct replica_table *table, const char *id)
{
    struct known_replica *replica;
    HASH_FIND_STR(table->replicas, id, replica);
    return replica;
}

struct known_replica *replica_table_add(struct replica_table *table, const char *id,
                                        const char *url)
{
    struct known_replica *replica = replica_table_find(table, id);
    if (replica != NULL)
        return replica;
    replica = bw_alloc(sizeof *replica);
    strncpy(replica->id, id, sizeof replica->id - 1);
    strncpy(replica->url, url, sizeof replica->url - 1);
    HASH_ADD_STR(table->replicas, id, replica);
    return replica;
}

void replica_table_remove(struct replica_table *table, struct known_replica *replica)
{
    HASH_DELETE(hh, table->replicas, replica);
    free_polls(replica);
    free(replica->empty);
    watch_table_clear(&replica->watches);
    replica_clear_queries(replica);
    json_decref(replica->events);
    free(replica);
}

struct parked_poll *replica_find_poll(const struct known_replica *replica, int64_t number)
{
    struct parked_poll *poll;
    HASH_FIND(hh, replica->polls, &number, sizeof number, poll);
    return poll;
}

/* Adds a poll to the lists of waiting polls. */
static void poll_wait(struct replica_table *table, struct parked_poll *poll,
                      struct known_worker *worker, bool is_first)
{
    poll->state = POLL_WAITING;
    poll->worker = worker;
    poll->order = is_first ? --table->first_order : ++table->last_order;
    if (is_first)
        DL_PREPEND(table->waiters, poll);
    else
        DL_APPEND(table->waiters, poll);
    if (worker->group != NULL)
        worker_group_add(worker->group, poll);
    if (poll->is_final)
        DL_APPEND2(table->finals, poll, final_prev, final_next);
    DL_PREPEND2(worker->polls, poll, worker_prev, worker_next);
    table->waiting++;
    table->waiting_of[worker->protocol]++;
}

static void poll_stop_waiting(struct replica_table *table, struct parked_poll *poll)
{
    DL_DELETE(table->waiters, poll);
    if (poll->is_final)
        DL_DELETE2(table->finals, poll, final_prev, final_next);
    if (poll->worker->group != NULL)
        worker_group_remove(poll->worker->group, poll);
    DL_DELETE2(poll->worker->polls, poll, worker_prev, worker_next);
    table->waiting--;
    table->waiting_of[poll->worker->protocol]--;
    poll->worker = NULL;
}

static void poll_become_final(struct replica_table *table, struct parked_poll *poll)
{
    if (!poll->is_final && poll->state == POLL_WAITING)
        DL_APPEND2(table->finals, poll, final_prev, final_next);
    poll->is_final = true;
}

struct parked_poll *replica_park(struct replica_table *table, struct known_replica *replica,
                                 struct known_worker *worker, int64_t number, bool is_final)
{
    struct parked_poll *poll = replica_find_poll(replica, number);
    if (poll != NULL) {
        if (is_final)
            poll_become_final(table, poll);
        poll->is_listed = true;
        return poll->state == POLL_WAITING ? poll : NULL;
    }
    poll = bw_alloc(sizeof *poll);
    poll->number = number;
    poll->is_final = is_final;
    poll->is_listed = true;
    poll->replica = replica;
    HASH_ADD(hh, replica->polls, number, sizeof poll->number, poll);
    poll_wait(table, poll, worker, false);
    return poll;
}

void poll_match(struct replica_table *table, struct parked_poll *poll)
{
    poll_stop_waiting(table, poll);
    poll->state = POLL_MATCHED;
    poll->replica->matched++;
}

void poll_unmatch(struct replica_table *table, struct parked_poll *poll,
                  struct known_worker *worker)
{
    if (poll->state != POLL_MATCHED)
        return;
    poll->replica->matched--;
    poll_wait(table, poll, worker, true);
}

void poll_answered(struct replica_table *table, struct parked_poll *poll, int64_t now_ms)
{
    if (poll->state == POLL_WAITING)
        poll_stop_waiting(table, poll);
    if (poll->state == POLL_MATCHED)
        poll->replica->matched--;
    if (poll->state == POLL_ANSWERED)
        DL_DELETE(poll->replica->answered, poll);
    poll->state = POLL_ANSWERED;
    poll->answered_ms = now_ms;
    DL_APPEND(poll->replica->answered, poll);
}

void replica_drop_polls(struct replica_table *table, struct known_replica *replica, int64_t now_ms)
{
    struct parked_poll *poll, *following;
    HASH_ITER (hh, replica->polls, poll, following)
        if (poll->state == POLL_WAITING)
            poll_answered(table, poll, now_ms);
}

void replica_forget_answered(struct known_replica *replica, int64_t before_ms)
{
    while (replica->answered != NULL && replica->answered->answered_ms < before_ms) {
        struct parked_poll *poll = replica->answered;
        DL_DELETE(replica->answered, poll);
        HASH_DELETE(hh, replica->polls, poll);
        free(poll);
    }
}

void replica_checksum(const struct known_replica *replica, int64_t *count, int64_t *checksum)
{
    const struct parked_poll *poll, *following;
    uint64_t sum = 0;
    *count = 0;
    HASH_ITER (hh, replica->polls, poll, following) {
        if (poll->state == POLL_ANSWERED)
            continue;
        sum += (uint64_t)signal_poll_checksum(poll->number);
        ++*count;
    }
    *checksum = (int64_t)(sum & INT64_MAX);
}

struct pending_query *replica_ask(struct known_replica *replica, const struct signal_query *query,
                                  int64_t now_ms)
{
    struct pending_query *pending;
    HASH_FIND(hh, replica->queries, &query->number, sizeof query->number, pending);
    if (pending != NULL)
        return NULL;
    pending = bw_alloc(sizeof *pending);
    pending->query = *query;
    pending->asked_ms = now_ms;
    HASH_ADD(hh, replica->queries, query.number, sizeof pending->query.number, pending);
    return pending;
}

static void replica_remove_query(struct known_replica *replica, struct pending_query *pending)
{
    HASH_DELETE(hh, replica->queries, pending);
    free(pending);
}

void replica_queries_sent(struct known_replica *replica, bool is_done)
{
    struct pending_query *pending, *following;
    HASH_ITER (hh, replica->queries, pending, following) {
        if (!pending->is_sent)
            continue;
        pending->is_sent = false;
        if (is_done)
            replica_remove_query(replica, pending);
    }
}

void replica_forget_queries(struct known_replica *replica, int64_t before_ms)
{
    struct pending_query *pending, *following;
    HASH_ITER (hh, replica->queries, pending, following)
        if (!pending->is_sent && pending->asked_ms < before_ms)
            replica_remove_query(replica, pending);
}

void replica_clear_queries(struct known_replica *replica)
{
    struct pending_query *pending, *following;
    HASH_ITER (hh, replica->queries, pending, following)
        replica_remove_query(replica, pending);
}

void replica_notify(struct known_replica *replica, int64_t watch, const char *type, json_t *data)
{
    if (replica->events == NULL)
        replica->events = json_array();
    json_array_append_new(replica->events, json_pack("{s:I,s:s,s:o}", "watch", (json_int_t)watch,
                                                     "type", type, "data", data));
}

void replica_take_events(struct known_replica *replica, json_t *body)
{
    if (replica->events != NULL)
        json_object_set_new(body, "events", replica->events);
    replica->events = NULL;
}
