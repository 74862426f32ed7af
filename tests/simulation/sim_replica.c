#include "tests/simulation/sim_replica.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/simulation/world.h"

enum {
    DICE_REPLICA = 30,
    CUT_MS = 1000,
    COURSE_CUT_MS = 3000,
    ASK_AGAIN_MS = 1000,
    QUERY_TIMEOUT_MS = 5000,
    ENDED_TIMEOUT_MS = 120 * 1000,
    FINISHED_KEEP_MS = 5000
};

/* A timer of the replica's: of a poll, or of a query. */
struct replica_timer {
    struct task task;
    int replica;
    uint32_t incarnation;
    int64_t number;
};

bool sim_replica_postpones(struct world *world, int number, struct task *task,
                           void (*run)(struct world *world, struct task *task))
{
    const struct sim_replica *replica = &world->replicas[number];
    if (!replica->is_up || world->now_ms >= replica->stalled_ms)
        return false;
    world_later(world, replica->stalled_ms - world->now_ms, task, run);
    return true;
}

static void replica_later(struct world *world, int number, int64_t delay_ms, int64_t about,
                          void (*run)(struct world *world, struct task *task))
{
    struct replica_timer *timer = bw_alloc(sizeof *timer);
    timer->replica = number;
    timer->incarnation = world->replicas[number].incarnation;
    timer->number = about;
    world_later(world, delay_ms, &timer->task, run);
}

static bool timer_is_over(const struct world *world, const struct replica_timer *timer)
{
    return world->replicas[timer->replica].incarnation != timer->incarnation;
}

/* ---- Polls ---- */

struct sim_poll *sim_replica_find_poll(struct sim_replica *replica, int64_t number, int worker)
{
    for (size_t i = 0; i < replica->poll_count; i++)
        if (replica->polls[i].number == number)
            return worker < 0 || replica->polls[i].worker == worker ? &replica->polls[i] : NULL;
    return NULL;
}

void sim_replica_remove_poll(struct sim_replica *replica, struct sim_poll *poll)
{
    *poll = replica->polls[--replica->poll_count];
}

static int64_t poll_cut_ms(const struct world *world, const struct sim_poll *poll)
{
    bool is_classic = world->database.workers[poll->worker].worker.protocol == PROTOCOL_CLASSIC;
    return is_classic ? CUT_MS : COURSE_CUT_MS;
}

/* Its deadline has come: the scheduler is asked for its last word; or that did not come. */
static void poll_time_is_up(struct world *world, struct task *task)
{
    struct replica_timer *timer = (struct replica_timer *)task;
    struct sim_replica *replica = &world->replicas[timer->replica];
    if (!timer_is_over(world, timer) &&
        sim_replica_postpones(world, timer->replica, task, poll_time_is_up))
        return;
    struct sim_poll *poll = timer_is_over(world, timer)
                                ? NULL
                                : sim_replica_find_poll(replica, timer->number, -1);
    if (poll == NULL) {
        free(timer);
        return;
    }
    if (!poll->is_ending) {
        poll->is_ending = true;
        poll->ending_ms = world->now_ms;
        sim_signals_poll(world, timer->replica, poll);
        world_later(world, poll_cut_ms(world, poll), task, poll_time_is_up);
        return;
    }
    struct poll_owner owner = poll->owner;
    check_poll_cut(world, timer->replica, poll);
    world_note(world, ACTOR_REPLICA, timer->replica, "poll cut",
               (struct subject){-1, -1, -1, poll->worker}, poll->number);
    sim_signals_gone(world, timer->replica, poll->number);
    sim_replica_remove_poll(replica, poll);
    sim_grader_answer(world, &(struct sim_answer){.owner = owner});
    free(timer);
}

void sim_replica_poll(struct world *world, int number, int worker, struct poll_owner owner,
                      int64_t wait_ms, bool is_socket)
{
    struct sim_replica *replica = &world->replicas[number];
    if (replica->poll_count == POLLS_MOST) {
        sim_grader_answer(world, &(struct sim_answer){.owner = owner});
        return;
    }
    struct sim_poll *poll = &replica->polls[replica->poll_count++];
    *poll = (struct sim_poll){.number = ++replica->last_poll,
                              .worker = worker,
                              .owner = owner,
                              .is_socket = is_socket,
                              .is_ending = wait_ms == 0 && !is_socket,
                              .parked_ms = world->now_ms,
                              .ending_ms = world->now_ms};
    world_note(world, ACTOR_REPLICA, number, "poll parked", (struct subject){-1, -1, -1, worker},
               poll->number);
    sim_signals_poll(world, number, poll);
    if (!is_socket)
        replica_later(world, number, poll->is_ending ? poll_cut_ms(world, poll) : wait_ms,
                      poll->number, poll_time_is_up);
}

void sim_replica_close_poll(struct world *world, int number, struct poll_owner owner)
{
    struct sim_replica *replica = &world->replicas[number];
    for (size_t i = 0; i < replica->poll_count; i++) {
        struct sim_poll *poll = &replica->polls[i];
        if (poll->owner.grader != owner.grader || poll->owner.slot != owner.slot ||
            poll->owner.incarnation != owner.incarnation || poll->owner.serial != owner.serial)
            continue;
        world_note(world, ACTOR_REPLICA, number, "poll closed by its grader",
                   (struct subject){-1, -1, -1, poll->worker}, poll->number);
        sim_signals_gone(world, number, poll->number);
        sim_replica_remove_poll(replica, poll);
        return;
    }
}

void sim_replica_seen(struct world *world, int number, int worker, enum seen_kind kind)
{
    sim_signals_seen(world, number, worker, kind);
}

/* ---- What it remembers of deliveries ---- */

bool sim_replica_has_delivered(const struct sim_replica *replica, int run, int slot, int worker)
{
    for (size_t i = 0; i < replica->delivery_count; i++) {
        const struct sim_delivery *delivery = &replica->deliveries[i];
        if (delivery->run == run && delivery->slot == slot && delivery->worker == worker)
            return true;
    }
    return false;
}

void sim_replica_finish(struct sim_replica *replica, int run, int slot)
{
    for (size_t i = 0; i < replica->delivery_count; i++) {
        struct sim_delivery *delivery = &replica->deliveries[i];
        if (delivery->run == run && delivery->slot == slot)
            delivery->is_finished = true;
    }
}

/* ---- Queries and watches ---- */

static struct sim_query *find_query(struct sim_replica *replica, int64_t number)
{
    for (size_t i = 0; i < replica->query_count; i++)
        if (replica->queries[i].number == number)
            return &replica->queries[i];
    return NULL;
}

static void query_ask_again(struct world *world, struct task *task)
{
    struct replica_timer *timer = (struct replica_timer *)task;
    struct sim_replica *replica = &world->replicas[timer->replica];
    bool is_over = timer_is_over(world, timer);
    if (!is_over && sim_replica_postpones(world, timer->replica, task, query_ask_again))
        return;
    struct sim_query *query = is_over ? NULL : find_query(replica, timer->number);
    if (query == NULL) {
        free(timer);
        return;
    }
    int64_t most_ms = query->kind == QUERY_ENDED ? ENDED_TIMEOUT_MS : QUERY_TIMEOUT_MS;
    if (world->now_ms - query->begun_ms < most_ms) {
        sim_signals_query(world, timer->replica, query);
        world_later(world, ASK_AGAIN_MS, task, query_ask_again);
        return;
    }
    check_query_unanswered(world, timer->replica, query);
    if (query->kind == QUERY_ALIVE)
        sim_grader_registered(world, query->owner, false);
    *query = replica->queries[--replica->query_count];
    free(timer);
}

void sim_replica_ask(struct world *world, int number, const struct sim_query *asked)
{
    struct sim_replica *replica = &world->replicas[number];
    if (replica->query_count == QUERIES_MOST)
        return;
    struct sim_query *query = &replica->queries[replica->query_count++];
    *query = *asked;
    query->number = ++replica->last_query;
    query->begun_ms = world->now_ms;
    sim_signals_query(world, number, query);
    replica_later(world, number, ASK_AGAIN_MS, query->number, query_ask_again);
}

void sim_replica_watch(struct world *world, int number, int run)
{
    struct sim_replica *replica = &world->replicas[number];
    if (replica->watch_count == WATCHES_MOST)
        return;
    struct sim_watch *watch = &replica->watches[replica->watch_count++];
    *watch = (struct sim_watch){++replica->last_watch, run, WATCH_WANTS_ALL};
    world_note(world, ACTOR_REPLICA, number, "run watched", (struct subject){run, -1, -1, -1},
               watch->number);
    sim_signals_watch(world, number, watch);
}

/* ---- Its process ---- */

void sim_replica_init(struct world *world, int number)
{
    struct sim_replica *replica = &world->replicas[number];
    replica->dice = dice_make(world->plan->seed, DICE_REPLICA, (uint64_t)number);
    snprintf(replica->self.id, sizeof replica->self.id, "http://replica-%d:1471", number);
    snprintf(replica->self.url, sizeof replica->self.url, "http://replica-%d:1471", number);
    sim_replica_start(world, number);
}

void sim_replica_destroy(struct world *world, int number)
{
    (void)world;
    (void)number;
}

/* Nothing of the former process is left; `replica` from here on is cleared up to `last`. */
static void replica_clear(struct sim_replica *replica)
{
    replica->poll_count = replica->delivery_count = replica->query_count = 0;
    replica->watch_count = replica->seen_count = 0;
    replica->pending_poll_count = replica->pending_gone_count = 0;
    replica->pending_query_count = replica->pending_watch_count = 0;
    replica->pending_unwatched_count = 0;
    replica->last_poll = replica->last_query = replica->last_watch = 0;
    replica->number = replica->next_heartbeat_ms = replica->seen_due_ms = replica->wakes_ms = 0;
    replica->highest_term = replica->pauses_ms = replica->stalled_ms = replica->full_ms = 0;
    replica->is_sending = false;
    replica->must_resync = true;
}

void sim_replica_start(struct world *world, int number)
{
    struct sim_replica *replica = &world->replicas[number];
    if (replica->is_up)
        return;
    replica_clear(replica);
    replica->is_up = true;
    replica->incarnation++;
    snprintf(replica->self.process, sizeof replica->self.process, "replica-%d-process-%u", number,
             replica->incarnation);
    world_note(world, ACTOR_REPLICA, number, "started", SUBJECT_NONE, replica->incarnation);
    sim_signals_pump(world, number);
}

void sim_replica_crash(struct world *world, int number)
{
    struct sim_replica *replica = &world->replicas[number];
    if (!replica->is_up)
        return;
    world_note(world, ACTOR_REPLICA, number, "crashed", SUBJECT_NONE, replica->incarnation);
    replica->is_up = false;
    replica->incarnation++;
    for (size_t i = 0; i < replica->poll_count; i++)
        sim_grader_answer(
            world, &(struct sim_answer){.owner = replica->polls[i].owner, .is_broken = true});
    for (size_t i = 0; i < replica->query_count; i++)
        if (replica->queries[i].kind == QUERY_ALIVE)
            sim_grader_registered(world, replica->queries[i].owner, false);
    sim_client_lost_watches(world, number);
    replica_clear(replica);
}

void sim_replica_stall(struct world *world, int number, int64_t lasts_ms)
{
    struct sim_replica *replica = &world->replicas[number];
    if (world->now_ms + lasts_ms > replica->stalled_ms)
        replica->stalled_ms = world->now_ms + lasts_ms;
}
