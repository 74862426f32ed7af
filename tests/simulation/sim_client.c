#include "tests/simulation/sim_client.h"

#include <stdlib.h>

#include "common/base/alloc.h"
#include "tests/simulation/sim_call.h"

enum {
    DICE_CLIENT = 50,
    TRY_AGAIN_MS = 1000,
    ASKS_EVERY_MS = 30 * 1000,

    START_MOST_MS = 1000,
    AIMED_START_MS = 20,
    RERUN_AGAIN_MS = 5000
};

enum step { STEP_CREATE, STEP_START, STEP_CANCEL };

/* A request, which is sent again until it is known to be done. */
struct client_call {
    struct sim_call call; /* first */
    int run;
    enum step step;
};

struct client_task {
    struct task task;
    int run;
    enum step step;
};

static void client_later(struct world *world, int64_t delay_ms, int run, enum step step,
                         void (*run_task)(struct world *world, struct task *task))
{
    struct client_task *later = bw_alloc(sizeof *later);
    later->run = run;
    later->step = step;
    world_later(world, delay_ms, &later->task, run_task);
}

static void client_apply(struct world *world, struct sim_call *call)
{
    const struct client_call *request = (const struct client_call *)call;
    if (request->step == STEP_CREATE)
        sim_run_create(world, request->run, call->is_partly);
    if (request->step == STEP_START)
        sim_run_start(world, request->run);
    if (request->step == STEP_CANCEL)
        sim_run_cancel(world, request->run);
}

static void client_watch(struct world *world, struct task *task)
{
    struct client_task *watch = (struct client_task *)task;
    int replica = (int)dice_between(&world->client.dice, 0, REPLICAS - 1);
    if (!world->replicas[replica].is_up) {
        world_later(world, TRY_AGAIN_MS, task, client_watch);
        return;
    }
    sim_replica_watch(world, replica, watch->run);
    free(watch);
}

static void client_send(struct world *world, struct task *task);

static bool run_is_cancelled(const struct world *world, int run)
{
    return world->plan->runs[run].cancel_ms != 0 && world_has_kind(world, FAULT_CANCEL);
}

static void client_answered(struct world *world, struct sim_call *call)
{
    struct client_call *request = (struct client_call *)call;
    int run = request->run;
    enum step step = request->step;
    bool is_known = call->is_known;
    int64_t start_ms = world->client.is_aimed[run] ? AIMED_START_MS : START_MOST_MS;
    free(request);
    if (step == STEP_CREATE && !world->database.runs[run].is_created &&
        world->database.runs[run].has_definition && world->plan->runs[run].is_abandoned)
        return;
    if (!is_known) {
        client_later(world, TRY_AGAIN_MS, run, step, client_send);
        return;
    }
    if (step == STEP_CREATE)
        client_later(world, dice_between(&world->client.dice, 0, start_ms), run, STEP_START,
                     client_send);
    if (step == STEP_START && world->plan->runs[run].is_watched)
        client_later(world, 1, run, step, client_watch);
    if (step == STEP_START && run_is_cancelled(world, run) &&
        world->plan->runs[run].is_cancelled_at_once)
        sim_client_cancel(world, run, dice_between(&world->client.dice, 0, CANCEL_MOST_MS));
}

static void client_send(struct world *world, struct task *task)
{
    const struct client_task *sends = (const struct client_task *)task;
    struct client_call *request = bw_alloc(sizeof *request);
    request->run = sends->run;
    request->step = sends->step;
    request->call = (struct sim_call){.dice = &world->client.dice,
                                      .incarnation = &world->client.incarnation,
                                      .apply = client_apply,
                                      .answered = client_answered};
    sim_call_send(world, &request->call);
    free(task);
}

static void client_ask(struct world *world, struct task *task)
{
    struct dice *dice = &world->client.dice;
    int replica = (int)dice_between(dice, 0, REPLICAS - 1);
    struct sim_query query = {
        .kind = (enum query_kind)dice_between(dice, QUERY_LENGTH, QUERY_WORKERS),
        .worker = -1,
        .run = (int)dice_between(dice, 0, RUNS - 1)};
    if (world->replicas[replica].is_up)
        sim_replica_ask(world, replica, &query);
    world_later(world, dice_between(dice, 1, ASKS_EVERY_MS), task, client_ask);
}

void sim_client_lost_watches(struct world *world, int number)
{
    const struct sim_replica *replica = &world->replicas[number];
    for (size_t i = 0; i < replica->watch_count; i++)
        client_later(world, TRY_AGAIN_MS, replica->watches[i].run, STEP_START, client_watch);
}

void sim_client_watch_again(struct world *world, int run)
{
    client_later(world, TRY_AGAIN_MS, run, STEP_START, client_watch);
}

void sim_client_cancel(struct world *world, int run, int64_t delay_ms)
{
    client_later(world, delay_ms, run, STEP_CANCEL, client_send);
}

static void client_begin(struct world *world, int run, int64_t delay_ms)
{
    if (world->client.has_begun[run] || (world->scope->runs & 1u << run) == 0)
        return;
    world->client.has_begun[run] = true;
    client_later(world, delay_ms, run, STEP_CREATE, client_send);
}

static void client_begin_aimed(struct world *world, int run, int64_t delay_ms)
{
    world->client.is_aimed[run] = !world->client.has_begun[run];
    client_begin(world, run, delay_ms);
}

void sim_client_rerun(struct world *world, int run, int64_t delay_ms)
{
    int rerun = plan_rerun(world->plan, run);
    const struct sim_run *earlier = &world->database.runs[run];
    if (rerun >= 0 && earlier->run.started_ms != 0 && !earlier->is_hidden)
        client_begin_aimed(world, rerun, delay_ms);
}

void sim_client_follow(struct world *world, int run, int64_t delay_ms)
{
    const struct planned_run *own = &world->plan->runs[run], *next = own + 2;
    if (run + 2 < RUNS - RERUNS && next->has_keys && next->course == own->course)
        client_begin_aimed(world, run + 2, delay_ms);
}

/* Only a run that was started can be graded again. */
static void client_run_is_due(struct world *world, struct task *task)
{
    const struct client_task *due = (const struct client_task *)task;
    int earlier = world->plan->runs[due->run].rerun_of;
    bool is_early = earlier >= 0 && world->database.runs[earlier].run.started_ms == 0;
    if (is_early && world->now_ms < LAST_START_MS) {
        world_later(world, RERUN_AGAIN_MS, task, client_run_is_due);
        return;
    }
    if (!is_early && (earlier < 0 || !world->database.runs[earlier].is_hidden))
        client_begin(world, due->run, 0);
    free(task);
}

void sim_client_init(struct world *world)
{
    world->client.dice = dice_make(world->plan->seed, DICE_CLIENT, 0);
    for (int run = 0; run < RUNS; run++) {
        const struct planned_run *plan = &world->plan->runs[run];
        if ((world->scope->runs & 1u << run) == 0)
            continue;
        client_later(world, plan->starts_ms, run, STEP_CREATE, client_run_is_due);
        if (run_is_cancelled(world, run) && !plan->is_cancelled_at_once)
            client_later(world, plan->cancel_ms, run, STEP_CANCEL, client_send);
    }
    client_later(world, ASKS_EVERY_MS, 0, STEP_CREATE, client_ask);
}
