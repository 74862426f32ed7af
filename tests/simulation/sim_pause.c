#include "tests/simulation/sim_pause.h"

#include <stdlib.h>

#include "common/base/alloc.h"
#include "tests/simulation/sim_call.h"
#include "tests/simulation/world.h"

enum {
    DICE_PAUSE = 60,
    TRY_AGAIN_MS = 1000,
    RESUME_SLACK_MS = 15 * 1000, /* a resume may become known by a reconcile pass alone */
    BREAK_LASTS_MS = 20 * 1000,
    CLUSTER_PAUSES = 3,
    OTHERS_PER_MILLE = 60
};

/* A request, which is sent again until it is known to be done. */
struct pause_call {
    struct sim_call call; /* first */
    int target;
    bool is_resume;
    int64_t timeout_ms;
};

struct pause_task {
    struct task task;
    int target;
    bool is_resume;
    bool is_only; /* unless the target is being paused, or is */
    int64_t timeout_ms;
};

static void pause_send(struct world *world, struct task *task);

static void pause_later(struct world *world, int64_t delay_ms, int run, bool is_resume,
                        int64_t timeout_ms)
{
    struct pause_task *later = bw_alloc(sizeof *later);
    later->target = run;
    later->is_resume = is_resume;
    later->timeout_ms = timeout_ms;
    world_later(world, delay_ms > 0 ? delay_ms : 0, &later->task, pause_send);
}

/* Nobody can pause or resume a run that is not there, or over, or a grader that is not there. */
static bool pause_is_refused(const struct world *world, int target)
{
    if (target >= TARGET_GRADER) {
        const struct sim_grader *grader = &world->graders[target - TARGET_GRADER];
        return grader->registrations == 0 || !world->database.workers[grader->worker].exists;
    }
    return target < RUNS && (!world->database.runs[target].is_created ||
                             world->database.runs[target].run.finished_ms != 0);
}

/* The worker that is paused, or was. */
static int pause_worker(const struct world *world, int target)
{
    return sim_worker_number(world->database.pauses[target].pause.name);
}

/* A run that is over has no pause. */
static void pause_resume(struct world *world, int target)
{
    if (target >= TARGET_CLUSTER || !pause_is_refused(world, target))
        sim_pause_end(world, target);
}

static void pause_apply(struct world *world, struct sim_call *call)
{
    const struct pause_call *request = (const struct pause_call *)call;
    int target = request->target;
    if (!request->is_resume && pause_is_refused(world, target))
        return;
    if (request->is_resume) {
        world->pauses.answered_ms[target] = 0; /* another pause may have followed meanwhile */
        pause_resume(world, target);
    } else if (world->pauses.is_wanted[target]) {
        sim_pause_put(world, target, request->timeout_ms, target % 2 == 0);
    }
}

static void pause_ask(struct world *world, int target, bool is_resume)
{
    int replica = (int)dice_between(&world->client.dice, 0, REPLICAS - 1);
    struct sim_query query = {.kind = QUERY_PAUSES, .worker = -1, .run = target};
    if (is_resume && pause_worker(world, target) >= 0 && target >= TARGET_GRADER) {
        query.kind = QUERY_RESUMED;
        query.worker = pause_worker(world, target);
    }
    if (world->replicas[replica].is_up)
        sim_replica_ask(world, replica, &query);
}

static void pause_completed(struct world *world, struct sim_call *call)
{
    struct pause_call *request = (struct pause_call *)call;
    if (!call->is_known)
        pause_later(world, TRY_AGAIN_MS, request->target, request->is_resume, request->timeout_ms);
    else
        pause_ask(world, request->target, request->is_resume);
    free(request);
}

static void pause_send(struct world *world, struct task *task)
{
    struct pause_task *sends = (struct pause_task *)task;
    struct pause_call *request = bw_alloc(sizeof *request);
    if (!sends->is_resume && !world->pauses.is_wanted[sends->target]) {
        free(request); /* it was to be resumed meanwhile */
        free(task);
        return;
    }
    if (sends->is_resume) {
        world->pauses.is_wanted[sends->target] = false;
        world->pauses.answered_ms[sends->target] = 0;
    }
    request->target = sends->target;
    request->is_resume = sends->is_resume;
    request->timeout_ms = sends->timeout_ms;
    request->call = (struct sim_call){.dice = &world->client.dice,
                                      .incarnation = &world->client.incarnation,
                                      .apply = pause_apply,
                                      .answered = pause_completed};
    sim_call_send(world, &request->call);
    free(task);
}

static void pause_begin(struct world *world, struct task *task)
{
    struct pause_task *begins = (struct pause_task *)task;
    if (begins->is_only && world->pauses.is_wanted[begins->target]) {
        free(task);
        return;
    }
    world->pauses.is_wanted[begins->target] = true;
    pause_send(world, task);
}

void sim_pause_answered(struct world *world, int run, int64_t asked_ms)
{
    const struct sim_pause *stored = &world->database.pauses[run];
    if (world->pauses.is_wanted[run] && stored->exists && asked_ms >= stored->put_ms &&
        world->pauses.answered_ms[run] == 0)
        world->pauses.answered_ms[run] = world->now_ms;
}

static bool pause_is_there(const struct world *world, const struct sim_pause *stored)
{
    bool was_a_moment_ago = stored->ended_ms != 0 &&
                            world->now_ms - stored->ended_ms < RESUME_SLACK_MS;
    return (stored->exists && stored->pause.resumed_ms == 0) || was_a_moment_ago;
}

bool sim_pause_may_hold(const struct world *world, int run)
{
    const struct sim_pause *pauses = world->database.pauses;
    int course = world->plan->runs[run].course - 1;
    return pause_is_there(world, &pauses[run]) ||
           pause_is_there(world, &world->database.breaks[run]) ||
           pause_is_there(world, &pauses[TARGET_CLUSTER]) ||
           (course >= 0 && (pause_is_there(world, &pauses[TARGET_COURSE + course]) ||
                            pause_is_there(world, &pauses[TARGET_ASSIGNMENT + course])));
}

bool sim_pause_may_hold_worker(const struct world *world, int worker)
{
    int target = TARGET_GRADER + sim_worker_grader(worker);
    return pause_is_there(world, &world->database.pauses[target]) &&
           pause_worker(world, target) == worker;
}

static bool pause_holds(const struct world *world, int target)
{
    const struct sim_pause *stored = &world->database.pauses[target];
    return world->pauses.answered_ms[target] != 0 && stored->exists && stored->pause.until_ms == 0;
}

/* One that a leader stored as it died becomes known to the next by a reconcile pass. */
static bool break_holds(const struct world *world, int run)
{
    const struct sim_pause *stored = &world->database.breaks[run];
    int64_t since_ms = stored->put_ms > world->checker.disturbed_ms ? stored->put_ms
                                                                    : world->checker.disturbed_ms;
    return stored->exists && stored->pause.resumed_ms == 0 && stored->put_ms != 0 &&
           world->now_ms - since_ms > RESUME_SLACK_MS;
}

bool sim_pause_holds(const struct world *world, int run)
{
    int course = world->plan->runs[run].course - 1;
    return pause_holds(world, run) || pause_holds(world, TARGET_CLUSTER) ||
           break_holds(world, run) ||
           (course >= 0 && (pause_holds(world, TARGET_COURSE + course) ||
                            pause_holds(world, TARGET_ASSIGNMENT + course)));
}

bool sim_pause_holds_worker(const struct world *world, int worker)
{
    int target = TARGET_GRADER + sim_worker_grader(worker);
    return pause_holds(world, target) && pause_worker(world, target) == worker;
}

/* Staff look now and then whether the run's breaker has paused it. */
static void pause_watch_break(struct world *world, struct task *task)
{
    const struct pause_task *watches = (const struct pause_task *)task;
    const struct sim_pause *stored = &world->database.breaks[watches->target];
    if (stored->exists && stored->pause.resumed_ms == 0 &&
        world->now_ms - stored->put_ms > BREAK_LASTS_MS)
        pause_later(world, 0, watches->target, true, 0);
    world_later(world, BREAK_LASTS_MS, task, pause_watch_break);
}

static void pause_watch(struct world *world, int run)
{
    struct pause_task *watches = bw_alloc(sizeof *watches);
    watches->target = run;
    world_later(world, BREAK_LASTS_MS, &watches->task, pause_watch_break);
}

static void pause_plan(struct world *world, struct dice *dice, int run, int64_t at_ms,
                       int64_t lasts_ms)
{
    struct pause_task *begins = bw_alloc(sizeof *begins);
    begins->target = run;
    begins->timeout_ms = dice_chance(dice, 300) ? dice_between(dice, 1000, 60 * 1000) : 0;
    world_later(world, at_ms > 0 ? at_ms : 0, &begins->task, pause_begin);
    pause_later(world, at_ms + lasts_ms, run, true, 0);
}

void sim_pause_soon(struct world *world, int target, int64_t delay_ms, int64_t lasts_ms)
{
    struct pause_task *begins = bw_alloc(sizeof *begins);
    begins->target = target;
    begins->is_only = true;
    world_later(world, delay_ms, &begins->task, pause_begin);
    pause_later(world, delay_ms + lasts_ms, target, true, 0);
}

/* Assignments, courses and graders. */
static void pause_plan_others(struct world *world)
{
    for (int target = TARGET_COURSE; target < PAUSE_TARGETS; target++) {
        struct dice dice = dice_make(world->plan->seed, DICE_PAUSE, 1000 + (uint64_t)target);
        int64_t at_ms = dice_between(&dice, 0, LAST_START_MS);
        int64_t lasts_ms = dice_between(&dice, 100, 60 * 1000);
        if (dice_chance(&dice, OTHERS_PER_MILLE))
            pause_plan(world, &dice, target, at_ms, lasts_ms);
    }
}

/* The dice are thrown for each run, whether it takes part or not. */
void sim_pause_init(struct world *world)
{
    struct dice dice = dice_make(world->plan->seed, DICE_PAUSE, 0);
    for (int run = 0; run < RUNS; run++) {
        int64_t at_ms = world->plan->runs[run].starts_ms + dice_between(&dice, -500, 60 * 1000);
        int64_t lasts_ms = dice_between(&dice, 100, 60 * 1000);
        bool is_paused = dice_chance(&dice, 300) && (world->scope->runs & 1u << run) != 0;
        struct dice own = dice_make(world->plan->seed, DICE_PAUSE, (uint64_t)run + 1);
        if (world->plan->runs[run].breaker > 0)
            pause_watch(world, run);
        if (is_paused)
            pause_plan(world, &own, run, at_ms, lasts_ms);
    }
    for (int i = 0; i < CLUSTER_PAUSES; i++) {
        int64_t at_ms = dice_between(&dice, 0, LAST_START_MS);
        int64_t lasts_ms = dice_between(&dice, 100, 20 * 1000);
        if (dice_chance(&dice, 200))
            pause_plan(world, &dice, TARGET_CLUSTER, at_ms, lasts_ms);
    }
    pause_plan_others(world);
}
