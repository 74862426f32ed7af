/*
 * What a replica tells the scheduler, as api/uplink/signals does it: one batch in flight at a time;
 * a batch whose fate is unknown is followed by an announcement; workers that were heard wait a
 * moment for one another, and polls never wait for them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/simulation/sim_call.h"

enum { LINGER_MS = 100, PAUSE_MS = 200 };

struct signal_call {
    struct sim_call call; /* first */
    int replica;
    struct signal signal; /* own, until it is inserted */
    bool is_inserted, is_heartbeat;
    struct sim_seen seen[SEEN_MOST]; /* told again after a failure */
    size_t seen_count;
};

static int64_t heartbeat_ms(const struct world *world)
{
    int64_t half_ms = world->plan->heartbeat_ms / 2;
    return half_ms < 2000 ? half_ms : 2000;
}

/* ---- Telling ---- */

void sim_signals_resync(struct world *world, int number)
{
    struct sim_replica *replica = &world->replicas[number];
    replica->pending_poll_count = replica->pending_gone_count = 0;
    replica->must_resync = true;
    sim_signals_pump(world, number);
}

static struct sim_seen *find_seen(struct sim_replica *replica, int worker)
{
    for (size_t i = 0; i < replica->seen_count; i++)
        if (replica->seen[i].worker == worker)
            return &replica->seen[i];
    return NULL;
}

/* The worker asks for work: a result need not be told any more, a heartbeat goes along. */
static void complete_seen(struct sim_replica *replica, int worker)
{
    struct sim_seen *seen = find_seen(replica, worker);
    if (seen == NULL)
        return;
    if (seen->kind == SEEN_HEARTBEAT)
        replica->seen_due_ms = 0;
    else
        *seen = replica->seen[--replica->seen_count];
}

void sim_signals_poll(struct world *world, int number, const struct sim_poll *poll)
{
    struct sim_replica *replica = &world->replicas[number];
    complete_seen(replica, poll->worker);
    if (!replica->must_resync && replica->pending_poll_count < PENDING_MOST) {
        struct signal_poll *pending = &replica->pending_polls[replica->pending_poll_count++];
        const struct worker *worker = &world->database.workers[poll->worker].worker;
        *pending = (struct signal_poll){.poll = poll->number, .is_final = poll->is_ending};
        snprintf(pending->worker, sizeof pending->worker, "%s", worker->id);
    }
    sim_signals_pump(world, number);
}

void sim_signals_gone(struct world *world, int number, int64_t poll)
{
    struct sim_replica *replica = &world->replicas[number];
    if (!replica->must_resync && replica->pending_gone_count < PENDING_MOST)
        replica->pending_gone[replica->pending_gone_count++] = poll;
    sim_signals_pump(world, number);
}

static void seen_add(struct sim_replica *replica, const struct sim_seen *added)
{
    struct sim_seen *seen = find_seen(replica, added->worker);
    if (seen == NULL) {
        if (replica->seen_count < SEEN_MOST)
            replica->seen[replica->seen_count++] = *added;
        return;
    }
    if (added->at_ms > seen->at_ms)
        seen->at_ms = added->at_ms;
    if (added->kind == SEEN_HEARTBEAT)
        seen->kind = SEEN_HEARTBEAT;
}

void sim_signals_seen(struct world *world, int number, int worker, enum seen_kind kind)
{
    struct sim_replica *replica = &world->replicas[number];
    if (replica->seen_count == 0)
        replica->seen_due_ms = world->now_ms + LINGER_MS;
    seen_add(replica, &(struct sim_seen){worker, world->now_ms, kind});
    sim_signals_pump(world, number);
}

static void signal_query_fill(const struct world *world, const struct sim_query *query,
                              struct signal_query *asked)
{
    *asked = (struct signal_query){
        .number = query->number, .kind = query->kind, .epoch = query->epoch};
    if (query->worker >= 0)
        snprintf(asked->subject, sizeof asked->subject, "%s",
                 world->database.workers[query->worker].worker.id);
    else if (query->kind == QUERY_POSITION)
        sim_job_id(world, query->run, 0, asked->subject);
    else if (query->run >= 0 && query->kind != QUERY_PAUSES)
        snprintf(asked->subject, sizeof asked->subject, "%s",
                 world->database.runs[query->run].run.course);
}

void sim_signals_query(struct world *world, int number, const struct sim_query *query)
{
    struct sim_replica *replica = &world->replicas[number];
    struct sim_seen *seen = find_seen(replica, query->worker);
    if (query->kind == QUERY_ENDED && seen != NULL)
        *seen = replica->seen[--replica->seen_count];
    struct signal_query asked;
    signal_query_fill(world, query, &asked);
    if (replica->pending_query_count < PENDING_MOST)
        replica->pending_queries[replica->pending_query_count++] = asked;
    sim_signals_pump(world, number);
}

static void signal_watch_fill(const struct sim_watch *watch, struct signal_watch *notified)
{
    *notified = (struct signal_watch){.number = watch->number, .last = watch->last};
    sim_run_id(watch->run, notified->subject);
}

void sim_signals_watch(struct world *world, int number, const struct sim_watch *watch)
{
    struct sim_replica *replica = &world->replicas[number];
    if (replica->pending_watch_count < WATCHES_MOST)
        signal_watch_fill(watch, &replica->pending_watches[replica->pending_watch_count++]);
    sim_signals_pump(world, number);
}

void sim_signals_unwatch(struct world *world, int number, int64_t watch)
{
    struct sim_replica *replica = &world->replicas[number];
    if (replica->pending_unwatched_count < WATCHES_MOST)
        replica->pending_unwatched[replica->pending_unwatched_count++] = watch;
    sim_signals_pump(world, number);
}

/* ---- Cutting a batch ---- */

static void *take_list(const void *list, size_t *count, size_t size)
{
    void *taken = bw_alloc_array(*count + 1, size);
    memcpy(taken, list, *count * size);
    *count = 0;
    return taken;
}

static void cut_pending(struct sim_replica *replica, struct signal *signal)
{
    signal->poll_count = replica->pending_poll_count;
    signal->polls = take_list(replica->pending_polls, &replica->pending_poll_count,
                              sizeof *signal->polls);
    signal->gone_count = replica->pending_gone_count;
    signal->gone = take_list(replica->pending_gone, &replica->pending_gone_count,
                             sizeof *signal->gone);
    signal->query_count = replica->pending_query_count;
    signal->queries = take_list(replica->pending_queries, &replica->pending_query_count,
                                sizeof *signal->queries);
    signal->watch_count = replica->pending_watch_count;
    signal->watches = take_list(replica->pending_watches, &replica->pending_watch_count,
                                sizeof *signal->watches);
    signal->unwatched_count = replica->pending_unwatched_count;
    signal->unwatched = take_list(replica->pending_unwatched, &replica->pending_unwatched_count,
                                  sizeof *signal->unwatched);
}

static void cut_seen(struct world *world, struct sim_replica *replica, struct signal_call *batch)
{
    struct signal *signal = &batch->signal;
    if (replica->seen_count == 0 || (!signal->is_resync && world->now_ms < replica->seen_due_ms))
        return;
    signal->seen = bw_alloc_array(replica->seen_count, sizeof *signal->seen);
    for (size_t i = 0; i < replica->seen_count; i++) {
        const struct sim_seen *seen = &replica->seen[i];
        struct signal_seen *notified = &signal->seen[signal->seen_count++];
        notified->kind = seen->kind;
        notified->age_ms = (int32_t)(world->now_ms - seen->at_ms);
        snprintf(notified->worker, sizeof notified->worker, "%s",
                 world->database.workers[seen->worker].worker.id);
    }
    memcpy(batch->seen, replica->seen, replica->seen_count * sizeof *batch->seen);
    batch->seen_count = replica->seen_count;
    replica->seen_count = 0;
}

static void list_polls(const struct world *world, const struct sim_replica *replica,
                       struct signal *signal)
{
    free(signal->polls);
    signal->polls = bw_alloc_array(replica->poll_count + 1, sizeof *signal->polls);
    signal->poll_count = replica->poll_count;
    for (size_t i = 0; i < replica->poll_count; i++) {
        const struct sim_poll *poll = &replica->polls[i];
        signal->polls[i] = (struct signal_poll){.poll = poll->number, .is_final = poll->is_ending};
        snprintf(signal->polls[i].worker, sizeof signal->polls[i].worker, "%s",
                 world->database.workers[poll->worker].worker.id);
    }
}

static void list_deliveries(const struct world *world, struct sim_replica *replica,
                            struct signal *signal)
{
    size_t kept = 0;
    signal->deliveries = bw_alloc_array(replica->delivery_count + 1, sizeof *signal->deliveries);
    for (size_t i = 0; i < replica->delivery_count; i++) {
        const struct sim_delivery delivery = replica->deliveries[i];
        if (delivery.expires_ms <= world->now_ms)
            continue;
        replica->deliveries[kept++] = delivery;
        if (delivery.is_finished)
            continue;
        struct signal_delivery *listed = &signal->deliveries[signal->delivery_count++];
        sim_job_id(world, delivery.run, (uint32_t)delivery.slot, listed->job);
        listed->attempt = delivery.attempt;
        snprintf(listed->worker, sizeof listed->worker, "%s",
                 world->database.workers[delivery.worker].worker.id);
    }
    replica->delivery_count = kept;
}

static void list_watches(const struct sim_replica *replica, struct signal *signal)
{
    free(signal->watches);
    signal->watches = bw_alloc_array(replica->watch_count + 1, sizeof *signal->watches);
    signal->watch_count = replica->watch_count;
    for (size_t i = 0; i < replica->watch_count; i++)
        signal_watch_fill(&replica->watches[i], &signal->watches[i]);
}

static void fill_heartbeat(const struct sim_replica *replica, struct signal *signal)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < replica->poll_count; i++)
        sum += (uint64_t)signal_poll_checksum(replica->polls[i].number);
    signal->is_heartbeat = true;
    signal->parked_count = (int64_t)replica->poll_count;
    signal->parked_checksum = (int64_t)(sum & INT64_MAX);
}

/* ---- Sending ---- */

static void signal_call_drop(struct task *task)
{
    struct signal_call *batch = (struct signal_call *)task;
    if (!batch->is_inserted)
        signal_clear(&batch->signal);
    free(batch);
}

static void signal_apply(struct world *world, struct sim_call *call)
{
    struct signal_call *batch = (struct signal_call *)call;
    const struct replica *sender = &batch->signal.replica;
    if (batch->is_heartbeat && !call->is_left) {
        world->database.replicas[batch->replica] = *sender;
        world->database.replicas[batch->replica].last_seen_ms = world_date_ms(world);
    }
    batch->is_inserted = true;
    sim_signal_insert(world, &batch->signal);
}

static void signal_answered(struct world *world, struct sim_call *call)
{
    struct signal_call *batch = (struct signal_call *)call;
    struct sim_replica *replica = &world->replicas[batch->replica];
    int number = batch->replica;
    replica->is_sending = false;
    if (call->is_known && batch->is_heartbeat)
        replica->next_heartbeat_ms = world->now_ms + heartbeat_ms(world);
    if (!call->is_known) {
        for (size_t i = 0; i < batch->seen_count; i++)
            seen_add(replica, &batch->seen[i]);
        replica->pending_poll_count = replica->pending_gone_count = 0;
        replica->must_resync = true;
        replica->pauses_ms = world->now_ms + PAUSE_MS;
    }
    signal_call_drop(&call->task);
    sim_signals_pump(world, number);
}

static void signals_send(struct world *world, int number, bool is_heartbeat_due)
{
    struct sim_replica *replica = &world->replicas[number];
    struct signal_call *batch = bw_alloc(sizeof *batch);
    struct signal *signal = &batch->signal;
    batch->replica = number;
    signal->is_resync = replica->must_resync;
    replica->must_resync = false;
    cut_pending(replica, signal);
    cut_seen(world, replica, batch);
    signal->number = ++replica->number;
    signal->replica = replica->self;
    if (signal->is_resync) {
        list_polls(world, replica, signal);
        list_deliveries(world, replica, signal);
        list_watches(replica, signal);
    }
    if (signal->is_resync || is_heartbeat_due)
        fill_heartbeat(replica, signal);
    batch->is_heartbeat = signal->is_heartbeat;
    replica->is_sending = true;
    batch->call = (struct sim_call){.dice = &replica->dice,
                                    .incarnation = &replica->incarnation,
                                    .apply = signal_apply,
                                    .answered = signal_answered,
                                    .drop = signal_call_drop};
    sim_call_send(world, &batch->call);
}

struct pump_task {
    struct task task;
    int replica;
    uint32_t incarnation;
};

static void pump_again(struct world *world, struct task *task)
{
    struct pump_task *pump = (struct pump_task *)task;
    struct sim_replica *replica = &world->replicas[pump->replica];
    int number = pump->replica;
    bool is_over = replica->incarnation != pump->incarnation;
    if (!is_over && sim_replica_postpones(world, number, task, pump_again))
        return;
    free(pump);
    if (is_over)
        return;
    if (replica->wakes_ms <= world->now_ms)
        replica->wakes_ms = 0;
    sim_signals_pump(world, number);
}

static void pump_later(struct world *world, int number, int64_t at_ms)
{
    struct sim_replica *replica = &world->replicas[number];
    if (replica->wakes_ms != 0 && replica->wakes_ms <= at_ms)
        return;
    struct pump_task *pump = bw_alloc(sizeof *pump);
    pump->replica = number;
    pump->incarnation = replica->incarnation;
    replica->wakes_ms = at_ms;
    world_later(world, at_ms - world->now_ms, &pump->task, pump_again);
}

void sim_signals_pump(struct world *world, int number)
{
    struct sim_replica *replica = &world->replicas[number];
    int64_t now_ms = world->now_ms;
    int64_t waits_ms = replica->pauses_ms > replica->stalled_ms ? replica->pauses_ms
                                                                : replica->stalled_ms;
    if (!replica->is_up || replica->is_sending)
        return; /* the answer comes back here */
    if (now_ms < waits_ms) {
        pump_later(world, number, waits_ms);
        return;
    }
    bool is_heartbeat_due = now_ms >= replica->next_heartbeat_ms;
    bool has_seen = replica->seen_count > 0;
    bool is_pending = replica->pending_poll_count + replica->pending_gone_count +
                          replica->pending_query_count + replica->pending_watch_count +
                          replica->pending_unwatched_count >
                      0;
    if (replica->must_resync || is_pending || is_heartbeat_due ||
        (has_seen && now_ms >= replica->seen_due_ms)) {
        signals_send(world, number, is_heartbeat_due);
        return;
    }
    int64_t next_ms = replica->next_heartbeat_ms;
    if (has_seen && replica->seen_due_ms < next_ms)
        next_ms = replica->seen_due_ms;
    pump_later(world, number, next_ms);
}
