#include "tests/simulation/world.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/simulation/fake_base.h"
#include "tests/simulation/sim_job_cancel.h"

enum { DICE_WORLD = 20, SCAN_MS = 60 * 1000 };

/* ---- Tasks ---- */

static bool task_is_before(const struct task_place *left, const struct task_place *right)
{
    return left->at_ms != right->at_ms ? left->at_ms < right->at_ms : left->order < right->order;
}

static void task_push(struct world *world, struct task_place added)
{
    if (world->task_count == world->task_room) {
        world->task_room = world->task_room * 2 + 256;
        world->tasks = bw_grow(world->tasks, world->task_room, sizeof *world->tasks);
    }
    size_t place = world->task_count++;
    while (place > 0 && task_is_before(&added, &world->tasks[(place - 1) / 2])) {
        world->tasks[place] = world->tasks[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    world->tasks[place] = added;
}

static struct task_place task_pop(struct world *world)
{
    struct task_place first = world->tasks[0], last = world->tasks[--world->task_count];
    size_t place = 0;
    for (size_t child = 1; child < world->task_count; child = 2 * place + 1) {
        if (child + 1 < world->task_count &&
            task_is_before(&world->tasks[child + 1], &world->tasks[child]))
            child++;
        if (!task_is_before(&world->tasks[child], &last))
            break;
        world->tasks[place] = world->tasks[child];
        place = child;
    }
    world->tasks[place] = last;
    return first;
}

void world_later(struct world *world, int64_t delay_ms, struct task *task,
                 void (*run)(struct world *world, struct task *task))
{
    task->run = run;
    task_push(world, (struct task_place){world->now_ms + delay_ms, world->order++, task});
}

void world_wait(struct world *world, int64_t until_ms)
{
    if (until_ms > world->end_ms)
        until_ms = world->end_ms;
    while (!checker_has_failed(&world->checker) && world->task_count > 0 &&
           world->tasks[0].at_ms <= until_ms && world->tasks[0].at_ms <= world->end_ms) {
        struct task_place next = task_pop(world);
        world->now_ms = next.at_ms;
        world->events++;
        next.task->run(world, next.task);
    }
    if (until_ms > world->end_ms) /* it has ended early */
        until_ms = world->end_ms;
    if (!checker_has_failed(&world->checker) && world->now_ms < until_ms)
        world->now_ms = until_ms;
}

/* ---- Faults ---- */

bool world_has_kind(const struct world *world, enum fault_kind kind)
{
    return (world->plan->fault_kinds & world->scope->fault_kinds & 1u << kind) != 0;
}

bool world_has_grader(const struct world *world, int grader)
{
    return (world->plan->graders_in & world->scope->graders & UINT64_C(1) << grader) != 0;
}

bool world_has_fault(struct world *world, struct dice *dice, enum fault_kind kind,
                     int64_t per_mille)
{
    int64_t rate = per_mille * world->plan->intensity, now_ms = world->now_ms;
    bool is_thrown = (int64_t)(dice_throw(dice) % 1000000) < rate;
    return is_thrown && world_has_kind(world, kind) && now_ms < QUIET_MS &&
           now_ms >= world->scope->first_ms[kind] && now_ms < world->scope->last_ms[kind];
}

struct fault_task {
    struct task task;
    const struct planned_fault *fault;
    int scheduler; /* that it hit */
};

static void clock_step(struct world *world, const struct fault_task *begun)
{
    const struct planned_fault *fault = begun->fault;
    world->date_step_ms += fault->step_ms;
    check_clock_step(world);
    world_note(world, ACTOR_DATABASE, 0, "date steps", SUBJECT_NONE, fault->step_ms);
    if (fault->crashes_leader)
        sim_scheduler_fault(world, begun->scheduler, FAULT_CRASH, fault->lasts_ms);
}

static void fault_end(struct world *world, struct task *task)
{
    const struct fault_task *fault = (const struct fault_task *)task;
    world_note(world, ACTOR_WORLD, 0, "ends: a fault", SUBJECT_NONE, fault->fault->kind);
    check_disturbed(world);
    switch (fault->fault->kind) {
    case FAULT_DATABASE_DOWN:
        world->database.is_down = false;
        break;
    case FAULT_REPLICA_CRASH:
        sim_replica_start(world, fault->fault->target);
        break;
    case FAULT_PARTITION:
        world->replicas[fault->fault->target].is_cut_off = false;
        break;
    case FAULT_CLOCK_STEP:
        if (fault->fault->crashes_leader)
            sim_scheduler_fault(world, fault->scheduler, FAULT_CRASH, 0);
        break;
    default:
        sim_scheduler_fault(world, fault->scheduler, fault->fault->kind, 0);
        break;
    }
    free(task);
}

static void fault_begin(struct world *world, struct task *task)
{
    struct fault_task *begun = (struct fault_task *)task;
    const struct planned_fault *fault = begun->fault;
    world_note_detail(world, ACTOR_WORLD, 0, "begins: a fault", SUBJECT_NONE, fault->target,
                      fault_name(fault->kind));
    begun->scheduler = sim_scheduler_leader(world);
    check_disturbed(world);
    switch (fault->kind) {
    case FAULT_DATABASE_DOWN:
        world->database.is_down = true;
        break;
    case FAULT_REPLICA_CRASH:
        sim_replica_crash(world, fault->target);
        break;
    case FAULT_REPLICA_STALL:
        sim_replica_stall(world, fault->target, fault->lasts_ms);
        break;
    case FAULT_PARTITION:
        world->replicas[fault->target].is_cut_off = true;
        break;
    case FAULT_CLOCK_STEP:
        clock_step(world, begun);
        break;
    default:
        sim_scheduler_fault(world, begun->scheduler, fault->kind, fault->lasts_ms);
        break;
    }
    world_later(world, fault->lasts_ms, task, fault_end);
}

static void plan_faults(struct world *world)
{
    for (int i = 0; i < world->plan->fault_count; i++) {
        const struct planned_fault *fault = &world->plan->faults[i];
        if ((world->scope->faults & 1u << i) == 0 || !world_has_kind(world, fault->kind))
            continue;
        struct fault_task *task = bw_alloc(sizeof *task);
        task->fault = fault;
        world_later(world, fault->at_ms, &task->task, fault_begin);
    }
}

/* ---- All ---- */

/* Once all is done, the rest of the hour would be waiting. */
static void world_ends_early(struct world *world, struct task *task)
{
    if (!checker_is_done(world)) {
        world_later(world, SCAN_MS, task, world_ends_early);
        return;
    }
    world->end_ms = world->now_ms;
    free(task);
}

int64_t world_date_ms(const struct world *world)
{
    return DATE_START_MS + world->now_ms + world->date_step_ms;
}

void world_note_detail(struct world *world, enum actor actor, int actor_number, const char *what,
                       struct subject subject, int64_t number, const char *detail)
{
    struct note note = {.at_ms = world->now_ms,
                        .actor = actor,
                        .actor_number = actor_number,
                        .what = what,
                        .subject = subject,
                        .number = number,
                        .detail = detail};
    history_add(&world->history, &note);
}

void world_note(struct world *world, enum actor actor, int actor_number, const char *what,
                struct subject subject, int64_t number)
{
    world_note_detail(world, actor, actor_number, what, subject, number, NULL);
}

struct world *world_new(const struct plan *plan, const struct scope *scope, bool keeps_history)
{
    struct world *world = bw_alloc(sizeof *world);
    world->plan = plan;
    world->scope = scope;
    world->end_ms = HOUR_MS;
    world->history.is_kept = keeps_history;
    world->dice = dice_make(plan->seed, DICE_WORLD, 0);
    fake_base_use(world);
    checker_init(world);
    sim_database_init(world);
    for (int i = 0; i < REPLICAS; i++)
        sim_replica_init(world, i);
    for (int i = 0; i < SCHEDULERS; i++)
        sim_scheduler_init(world, i);
    for (int i = 0; i < GRADERS; i++)
        if (world_has_grader(world, i))
            sim_grader_init(world, i);
    sim_client_init(world);
    sim_pause_init(world);
    sim_job_cancel_init(world);
    sim_races_init(world);
    plan_faults(world);
    check_waits_begin(world);
    world_later(world, CALM_MS + 3 * SCAN_MS, bw_alloc(sizeof(struct task)), world_ends_early);
    return world;
}

void world_play(struct world *world)
{
    fake_base_use(world);
    world_wait(world, world->end_ms);
    if (!checker_has_failed(&world->checker))
        checker_end(world);
}

void world_free(struct world *world)
{
    for (size_t i = 0; i < world->task_count; i++) {
        struct task *task = world->tasks[i].task;
        if (task->drop != NULL)
            task->drop(task);
        else
            free(task);
    }
    free(world->tasks);
    for (int i = 0; i < SCHEDULERS; i++)
        sim_scheduler_destroy(world, i);
    for (int i = 0; i < REPLICAS; i++)
        sim_replica_destroy(world, i);
    sim_database_destroy(world);
    checker_destroy(world);
    history_destroy(&world->history);
    fake_base_use(NULL);
    free(world);
}
