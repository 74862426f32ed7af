/*
 * The change stream of a scheduler: brings the database's changes in their order, each a moment
 * after it was made; loses some, brings some twice, comes late, stands still.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/simulation/sim_keys.h"
#include "tests/simulation/world.h"

enum { KEPT_MS = 60000, LATE_MOST_MS = 4000 };

struct stream_task {
    struct task task;
    int scheduler;
    uint32_t incarnation;
    int64_t generation;
};

static void stream_bring(struct world *world, struct task *task);

static struct event *change_event(struct world *world, const struct change *change,
                                  int64_t generation)
{
    static const enum event_kind kinds[] = {
        [CHANGE_RUN] = EVENT_RUN_CHANGED, [CHANGE_RESULT] = EVENT_RESULT,
        [CHANGE_RETURN] = EVENT_RETURNED, [CHANGE_SIGNAL] = EVENT_SIGNAL,
        [CHANGE_WORKER] = EVENT_WORKER,   [CHANGE_MARK] = EVENT_MARK,
    };
    struct event *event = event_new(kinds[change->kind], generation);
    switch (change->kind) {
    case CHANGE_RUN:
        sim_run_copy(&world->database.runs[change->run].run, &event->run);
        break;
    case CHANGE_RESULT:
        event->result = *world->database.runs[change->run].jobs[change->slot].result;
        break;
    case CHANGE_RETURN:
        event->returned = sim_attempt_find(&world->database.runs[change->run].jobs[change->slot],
                                           change->attempt)
                              ->lease;
        break;
    case CHANGE_SIGNAL:
        sim_signal_copy(&change->signal->signal, &event->signal);
        break;
    case CHANGE_WORKER:
        event->worker = world->database.workers[change->worker].worker;
        break;
    case CHANGE_MARK:
        event->mark = change->mark;
        break;
    }
    return event;
}

/* Brings one change: usually once. */
static void stream_deliver(struct world *world, int number, const struct change *change)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    struct dice *dice = &scheduler->dice;
    bool is_dropped = world_has_fault(world, dice, FAULT_DROPPED_EVENT, 20);
    bool is_doubled = world_has_fault(world, dice, FAULT_DOUBLED_EVENT, 30);
    int64_t generation = scheduler->stream.generation;
    const struct sim_job *job = &world->database.runs[change->run].jobs[change->slot];
    bool is_removed = (change->kind == CHANGE_RESULT && job->result == NULL) ||
                      (change->kind == CHANGE_RETURN &&
                       sim_attempt_find(job, change->attempt) == NULL);
    if (is_removed || (change->kind == CHANGE_SIGNAL && change->at_ms < world->now_ms - KEPT_MS))
        return;
    if (is_dropped && change->kind != CHANGE_MARK) {
        check_dropped(world, change);
        return;
    }
    sim_scheduler_post(world, number, change_event(world, change, generation));
    if (is_doubled)
        sim_scheduler_post(world, number, change_event(world, change, generation));
}

static void stream_schedule(struct world *world, int number, int64_t delay_ms)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    struct stream_task *task = bw_alloc(sizeof *task);
    task->scheduler = number;
    task->incarnation = scheduler->incarnation;
    task->generation = scheduler->stream.generation;
    scheduler->stream.is_scheduled = true;
    world_later(world, delay_ms, &task->task, stream_bring);
}

void sim_stream_wake(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    struct change_stream *stream = &scheduler->stream;
    if (!stream->is_open || stream->is_scheduled || stream->next == world->database.change_count)
        return;
    bool is_late = world_has_fault(world, &scheduler->dice, FAULT_LATE_EVENT, 10);
    int64_t late_ms = dice_between(&scheduler->dice, 100, LATE_MOST_MS);
    int64_t soon_ms = dice_between(&scheduler->dice, 1, 3);
    stream_schedule(world, number, is_late ? late_ms : soon_ms);
}

static void stream_bring(struct world *world, struct task *task)
{
    struct stream_task *brings = (struct stream_task *)task;
    int number = brings->scheduler;
    struct sim_scheduler *scheduler = &world->schedulers[number];
    struct change_stream *stream = &scheduler->stream;
    bool is_over = scheduler->incarnation != brings->incarnation ||
                   stream->generation != brings->generation || !stream->is_open;
    if (!is_over && world->now_ms < stream->stalled_ms) {
        world_later(world, stream->stalled_ms - world->now_ms, task, stream_bring);
        return;
    }
    free(brings);
    if (is_over)
        return;
    stream->is_scheduled = false;
    if (world->database.is_down) {
        stream->is_open = false;
        sim_scheduler_post(world, number, event_new(EVENT_STREAM_LOST, stream->generation));
        return;
    }
    const struct change change = world->database.changes[stream->next++];
    stream_deliver(world, number, &change);
    sim_stream_wake(world, number);
}

void sim_stream_open(struct world *world, int number, int64_t generation)
{
    struct change_stream *stream = &world->schedulers[number].stream;
    stream->is_open = true;
    stream->is_scheduled = false;
    stream->generation = generation;
    stream->next = world->database.change_count;
}

void sim_stream_close(struct world *world, int number)
{
    world->schedulers[number].stream.is_open = false;
}

int64_t sim_stream_seen_ms(const struct world *world, int number)
{
    const struct change_stream *stream = &world->schedulers[number].stream;
    return world->now_ms < stream->stalled_ms ? stream->seen_ms : world->now_ms;
}
