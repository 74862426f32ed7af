#include "tests/simulation/sim_scheduler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "scheduler/io/retention.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/decide.h"
#include "scheduler/rules/missing_graders.h"
#include "tests/simulation/fake_base.h"
#include "tests/simulation/sim_call.h"

enum { DICE_SCHEDULER = 60, RECOVER_PAUSE_MS = 200, RECOVER_PAUSE_MAX_MS = 2000 };

struct scheduler_task {
    struct task task;
    int scheduler;
    uint32_t incarnation;
};

static void scheduler_step(struct world *world, struct task *task);
static void standby_tick(struct world *world, struct task *task);

static void scheduler_later(struct world *world, int number, int64_t delay_ms,
                            void (*run)(struct world *world, struct task *task))
{
    struct scheduler_task *later = bw_alloc(sizeof *later);
    later->scheduler = number;
    later->incarnation = world->schedulers[number].incarnation;
    world_later(world, delay_ms, &later->task, run);
}

/* The process of a task, if it is still the same; one that stands still does it later. */
static struct sim_scheduler *scheduler_of(struct world *world, struct task *task,
                                          void (*run)(struct world *world, struct task *task))
{
    struct scheduler_task *due = (struct scheduler_task *)task;
    struct sim_scheduler *scheduler = &world->schedulers[due->scheduler];
    if (scheduler->incarnation != due->incarnation) {
        free(due);
        return NULL;
    }
    if (world->now_ms < scheduler->stalled_ms) {
        world_later(world, scheduler->stalled_ms - world->now_ms, task, run);
        return NULL;
    }
    return scheduler;
}

/* ---- Leadership ---- */

bool sim_scheduler_is_trusted(const struct world *world, int number)
{
    const struct sim_scheduler *scheduler = &world->schedulers[number];
    return scheduler->is_leading && !scheduler->is_deposed && world->now_ms < scheduler->trusted_ms;
}

int sim_scheduler_leader(const struct world *world)
{
    for (int i = 0; i < SCHEDULERS; i++)
        if (sim_scheduler_is_trusted(world, i))
            return i;
    return -1;
}

void sim_scheduler_distrust(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    scheduler->is_deposed = true;
    sim_scheduler_post(world, number, event_new(EVENT_DEPOSED, scheduler->term));
}

struct leader_call {
    struct sim_call call; /* first */
    int scheduler;
    int64_t sent_ms, term;
    struct leader seen;
    bool is_held;
};

static struct leader_call *leader_call_new(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    struct leader_call *call = bw_alloc(sizeof *call);
    call->scheduler = number;
    call->sent_ms = world->now_ms;
    call->term = scheduler->term;
    call->call.dice = &scheduler->dice;
    call->call.incarnation = &scheduler->incarnation;
    return call;
}

static int64_t trust_of(const struct world *world, int64_t sent_ms)
{
    return sent_ms + world->plan->lease_ms - world->plan->lease_ms / 10;
}

static void renew_apply(struct world *world, struct sim_call *call)
{
    struct leader_call *renewal = (struct leader_call *)call;
    renewal->is_held = sim_leader_renew(world, world->schedulers[renewal->scheduler].holder,
                                        renewal->term);
}

static void renew_answered(struct world *world, struct sim_call *call)
{
    struct leader_call *renewal = (struct leader_call *)call;
    struct sim_scheduler *scheduler = &world->schedulers[renewal->scheduler];
    if (scheduler->is_leading && scheduler->term == renewal->term && call->is_known) {
        if (renewal->is_held)
            scheduler->trusted_ms = trust_of(world, renewal->sent_ms);
        else if (!scheduler->is_deposed)
            sim_scheduler_distrust(world, renewal->scheduler);
    }
    free(renewal);
}

static void scheduler_renew(struct world *world, struct task *task)
{
    int number = ((struct scheduler_task *)task)->scheduler;
    struct sim_scheduler *scheduler = scheduler_of(world, task, scheduler_renew);
    if (scheduler == NULL)
        return;
    if (!sim_scheduler_is_trusted(world, number)) {
        free(task);
        return;
    }
    if (world->now_ms >= scheduler->unrenewed_ms) {
        struct leader_call *renewal = leader_call_new(world, number);
        renewal->call.apply = renew_apply;
        renewal->call.answered = renew_answered;
        sim_call_send(world, &renewal->call);
    }
    world_later(world, world->plan->lease_ms / 3, task, scheduler_renew);
}

/* ---- Work ---- */

int64_t sim_scheduler_date_ms(const struct world *world, int number)
{
    return DATE_START_MS + world->now_ms + world->schedulers[number].date_step_ms;
}

void sim_scheduler_read_date(struct world *world, int number)
{
    world->schedulers[number].date_step_ms = world->date_step_ms;
}

static void scheduler_set_time(struct world *world, int number)
{
    struct scheduler *rules = &world->schedulers[number].core.scheduler;
    rules->now_ms = CLOCK_START_MS + world->now_ms;
    rules->date_ms = sim_scheduler_date_ms(world, number);
}

static void scheduler_carry_out(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    for (const struct command *command = scheduler->core.scheduler.commands.first; command != NULL;
         command = command->next)
        check_command(world, number, command);
    core_carry_out(&scheduler->core);
}

static void discard_inbox(struct sim_scheduler *scheduler)
{
    while (scheduler->inbox.first != NULL) {
        struct event *event = scheduler->inbox.first;
        scheduler->inbox.first = event->next;
        event_free(event);
    }
    scheduler->inbox.last = NULL;
}

static void scheduler_stop_leading(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    world_note(world, ACTOR_SCHEDULER, number, "no longer leads", SUBJECT_NONE, scheduler->term);
    scheduler->is_leading = false;
    core_reset(&scheduler->core);
    discard_inbox(scheduler);
    scheduler_later(world, number, 1, standby_tick);
}

/* Only now is a process that crashed while it recovered really gone. */
static void scheduler_reap(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    scheduler_destroy(&scheduler->core.scheduler);
    sim_stream_close(world, number);
    discard_inbox(scheduler);
    sim_commits_clear(&scheduler->leases);
    sim_commits_clear(&scheduler->results);
    retention_free(scheduler->retention);
    scheduler->retention = NULL;
}

/* Reads everything again, while the world goes on. False: later, or never. */
static bool scheduler_recover(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    struct bw_error error;
    uint32_t incarnation = scheduler->incarnation;
    world_note(world, ACTOR_SCHEDULER, number, "recovers", SUBJECT_NONE, scheduler->term);
    scheduler->is_recovering = true;
    scheduler->is_working = false;
    core_reset(&scheduler->core);
    check_recovery_begins(world, number);
    enum bw_code code = core_recover(&scheduler->core, &error);
    scheduler->is_recovering = false;
    if (scheduler->incarnation != incarnation) {
        scheduler_reap(world, number);
        return false;
    }
    world_note(world, ACTOR_SCHEDULER, number, code == BW_OK ? "recovered" : "recovery failed",
               SUBJECT_NONE, scheduler->term);
    scheduler->opened_ms = world->now_ms;
    if (code != BW_OK)
        return false;
    scheduler_set_time(world, number);
    scheduler_carry_out(world, number);
    scheduler->core.scheduler.ticked_ms = scheduler->core.scheduler.now_ms;
    scheduler->is_working = true;
    return true;
}

static void scheduler_work(struct world *world, struct task *task);

static void scheduler_lead_on(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    uint32_t incarnation = scheduler->incarnation;
    if (!sim_scheduler_is_trusted(world, number)) {
        scheduler_stop_leading(world, number);
        return;
    }
    if (scheduler_recover(world, number)) {
        scheduler->recover_pause_ms = RECOVER_PAUSE_MS;
        scheduler_later(world, number, 0, scheduler_step);
        return;
    }
    if (scheduler->incarnation != incarnation)
        return;
    discard_inbox(scheduler);
    scheduler_later(world, number, scheduler->recover_pause_ms, scheduler_work);
    scheduler->recover_pause_ms = scheduler->recover_pause_ms * 2 < RECOVER_PAUSE_MAX_MS
                                      ? scheduler->recover_pause_ms * 2
                                      : RECOVER_PAUSE_MAX_MS;
}

static void scheduler_work(struct world *world, struct task *task)
{
    int number = ((struct scheduler_task *)task)->scheduler;
    struct sim_scheduler *scheduler = scheduler_of(world, task, scheduler_work);
    if (scheduler == NULL)
        return;
    free(task);
    scheduler_lead_on(world, number);
}

static void scheduler_handle_events(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    struct event *events = scheduler->inbox.first;
    scheduler->inbox.first = scheduler->inbox.last = NULL;
    scheduler_set_time(world, number);
    while (events != NULL) {
        struct event *event = events;
        events = event->next;
        check_event(world, number, event);
        decide_event(&scheduler->core.scheduler, event);
        scheduler_carry_out(world, number);
    }
}

static void scheduler_round(struct world *world, int number)
{
    struct scheduler *rules = &world->schedulers[number].core.scheduler;
    bool is_more = true;
    rules->stream_seen_ms = CLOCK_START_MS + sim_stream_seen_ms(world, number);
    decide_tick(rules);
    scheduler_carry_out(world, number);
    while (is_more) {
        is_more = decide_round(rules);
        scheduler_carry_out(world, number);
    }
}

/* One turn of the core's loop. */
static void scheduler_turn(struct world *world, int number)
{
    scheduler_handle_events(world, number);
    if (sim_scheduler_is_trusted(world, number))
        scheduler_round(world, number);
}

/* The loop, one turn a tick, and one whenever something comes (sim_scheduler_post). */
static void scheduler_step(struct world *world, struct task *task)
{
    int number = ((struct scheduler_task *)task)->scheduler;
    struct sim_scheduler *scheduler = scheduler_of(world, task, scheduler_step);
    if (scheduler == NULL)
        return;
    if (sim_scheduler_is_trusted(world, number) && !scheduler->core.scheduler.must_recover)
        scheduler_turn(world, number);
    if (sim_scheduler_is_trusted(world, number) && !scheduler->core.scheduler.must_recover) {
        world_later(world, DECIDE_TICK_MS, task, scheduler_step);
        return;
    }
    free(task);
    scheduler_lead_on(world, number);
}

static void scheduler_take_events(struct world *world, struct task *task)
{
    int number = ((struct scheduler_task *)task)->scheduler;
    struct sim_scheduler *scheduler = scheduler_of(world, task, scheduler_take_events);
    if (scheduler == NULL)
        return;
    free(task);
    scheduler->is_stepping = false;
    if (!scheduler->is_working || scheduler->core.scheduler.must_recover ||
        scheduler->inbox.first == NULL || !sim_scheduler_is_trusted(world, number))
        return; /* the next turn of the loop sees to it */
    scheduler_turn(world, number);
}

void sim_scheduler_post(struct world *world, int number, struct event *event)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    struct inbox *inbox = &scheduler->inbox;
    event->next = NULL;
    if (inbox->last == NULL)
        inbox->first = event;
    else
        inbox->last->next = event;
    inbox->last = event;
    if (scheduler->is_stepping || !scheduler->is_leading)
        return;
    scheduler->is_stepping = true;
    scheduler_later(world, number, 0, scheduler_take_events);
}

/* ---- Standing by ---- */

static void take_apply(struct world *world, struct sim_call *call)
{
    struct leader_call *taking = (struct leader_call *)call;
    taking->is_held = sim_leader_take(world, world->schedulers[taking->scheduler].holder,
                                      world->plan->lease_ms, &taking->seen);
}

static void take_answered(struct world *world, struct sim_call *call)
{
    struct leader_call *taking = (struct leader_call *)call;
    int number = taking->scheduler;
    struct sim_scheduler *scheduler = &world->schedulers[number];
    bool is_taken = call->is_known && taking->is_held;
    struct leader leader = taking->seen;
    int64_t sent_ms = taking->sent_ms;
    free(taking);
    scheduler->is_taking = false;
    if (!is_taken)
        return;
    leader.term++;
    discard_inbox(scheduler);
    scheduler->term = scheduler->core.scheduler.term = leader.term;
    scheduler->is_leading = true;
    scheduler->is_deposed = scheduler->is_stepping = scheduler->is_working = false;
    scheduler->trusted_ms = trust_of(world, sent_ms);
    scheduler->recover_pause_ms = RECOVER_PAUSE_MS;
    world_note(world, ACTOR_SCHEDULER, number, "leads", SUBJECT_NONE, leader.term);
    scheduler_set_time(world, number);
    missing_graders_take_over(&scheduler->core.scheduler, &leader);
    scheduler_later(world, number, world->plan->lease_ms / 3, scheduler_renew);
    scheduler_later(world, number, 0, scheduler_work);
}

/* May it be taken, as io/leader judges? */
static bool leader_may_be_taken(struct world *world, struct sim_scheduler *scheduler)
{
    const struct leader *leader = &world->database.leader;
    if (scheduler->seen_ms == 0 || scheduler->seen.term != leader->term ||
        scheduler->seen.renewals != leader->renewals) {
        scheduler->seen = *leader;
        scheduler->seen_ms = world->now_ms + 1;
    }
    return leader->is_released || strcmp(leader->holder, scheduler->holder) == 0 ||
           world->now_ms - scheduler->seen_ms >= world->plan->lease_ms;
}

static void standby_tick(struct world *world, struct task *task)
{
    int number = ((struct scheduler_task *)task)->scheduler;
    struct sim_scheduler *scheduler = scheduler_of(world, task, standby_tick);
    if (scheduler == NULL)
        return;
    if (scheduler->is_leading) {
        free(task);
        return;
    }
    if (!world->database.is_down && !scheduler->is_taking &&
        leader_may_be_taken(world, scheduler)) {
        struct leader_call *taking = leader_call_new(world, number);
        taking->seen = world->database.leader;
        taking->call.apply = take_apply;
        taking->call.answered = take_answered;
        scheduler->is_taking = true;
        sim_call_send(world, &taking->call);
    }
    world_later(world, world->plan->lease_ms / 10, task, standby_tick);
}

/* ---- Its process ---- */

static void scheduler_start(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    const struct plan *plan = world->plan;
    struct scheduler_settings settings = {.heartbeat_ms = plan->heartbeat_ms,
                                          .job_timeout_ms = plan->job_timeout_ms,
                                          .retain_runs_ms = plan->retain_runs_ms,
                                          .orphan_age_ms = plan->orphan_age_ms,
                                          .max_attempts = 3};
    scheduler->incarnation++;
    snprintf(scheduler->holder, sizeof scheduler->holder, "scheduler-%d-%u", number,
             scheduler->incarnation);
    snprintf(settings.holder, sizeof settings.holder, "%s", scheduler->holder);
    scheduler_init(&scheduler->core.scheduler, &settings, fake_base_metrics());
    scheduler->retention = fake_stores_retention(number);
    scheduler->is_up = true;
    scheduler->is_leading = scheduler->is_stepping = scheduler->is_taking = false;
    scheduler->seen_ms = scheduler->stalled_ms = scheduler->unrenewed_ms = 0;
    scheduler->date_step_ms = 0;
    scheduler_later(world, number, dice_between(&scheduler->dice, 1, 500), standby_tick);
}

static void scheduler_crash(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    world_note(world, ACTOR_SCHEDULER, number, "crashes", SUBJECT_NONE, scheduler->term);
    scheduler->is_up = scheduler->is_leading = false;
    scheduler->incarnation++;
    if (!scheduler->is_recovering)
        scheduler_reap(world, number);
}

static void scheduler_start_again(struct world *world, struct task *task)
{
    struct scheduler_task *start = (struct scheduler_task *)task;
    const struct sim_scheduler *scheduler = &world->schedulers[start->scheduler];
    if (scheduler->is_recovering) { /* not yet gone */
        world_later(world, 100, task, scheduler_start_again);
        return;
    }
    if (!scheduler->is_up)
        scheduler_start(world, start->scheduler);
    free(start);
}

static void fault_start(struct world *world, int number, enum fault_kind kind, int64_t lasts_ms)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    int64_t until_ms = world->now_ms + lasts_ms;
    if (kind == FAULT_CRASH)
        scheduler_crash(world, number);
    if (kind == FAULT_STALL && scheduler->stalled_ms < until_ms) {
        scheduler->stalled_ms = until_ms;
        scheduler->stream.stalled_ms = until_ms + 5;
        scheduler->stream.seen_ms = world->now_ms;
    }
    if (kind == FAULT_DEPOSE)
        scheduler->unrenewed_ms = until_ms;
    if (kind == FAULT_STREAM_STALL && scheduler->stream.stalled_ms < until_ms) {
        scheduler->stream.stalled_ms = until_ms;
        scheduler->stream.seen_ms = world->now_ms;
    }
    if (kind == FAULT_STREAM_LOST && scheduler->stream.is_open) {
        scheduler->stream.is_open = false;
        sim_scheduler_post(world, number,
                           event_new(EVENT_STREAM_LOST, scheduler->stream.generation));
    }
}

void sim_scheduler_fault(struct world *world, int number, enum fault_kind kind, int64_t lasts_ms)
{
    if (number < 0 || (lasts_ms > 0 && !world->schedulers[number].is_up))
        return;
    if (lasts_ms > 0)
        fault_start(world, number, kind, lasts_ms);
    else if (kind == FAULT_CRASH)
        scheduler_later(world, number, 0, scheduler_start_again);
    else
        sim_stream_wake(world, number);
}

void sim_scheduler_init(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    scheduler->dice = dice_make(world->plan->seed, DICE_SCHEDULER, (uint64_t)number);
    scheduler->inbox.scheduler = scheduler->database.scheduler = number;
    scheduler->stream.scheduler = number;
    fake_stores_give(world, number);
    scheduler_start(world, number);
}

void sim_scheduler_destroy(struct world *world, int number)
{
    if (world->schedulers[number].is_up)
        scheduler_reap(world, number);
}
