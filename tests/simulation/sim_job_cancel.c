#include "tests/simulation/sim_job_cancel.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "tests/simulation/sim_call.h"

enum {
    DICE_HOUR = 100,
    DICE_RUN,
    HOURS_PER_MILLE = 500,
    RUNS_PER_MILLE = 400,
    JOBS_MOST = 3, /* of a run */
    LATEST_MS = 90 * 1000,
    TRY_AGAIN_MS = 1000
};

/* A request: two operations. It is sent again until it is answered. */
struct cancel_call {
    struct sim_call call; /* first */
    struct subject job;
    bool is_noted;   /* the run's document has it: the result is inserted now */
    bool is_refused; /* the run is not under way, or the job is over */
};

struct cancel_task {
    struct task task;
    struct subject job;
};

bool sim_job_is_cancelled(const struct sim_job *job)
{
    return job->result != NULL && job->result->outcome == OUTCOME_CANCELLED &&
           job->result->owner == OWNER_CLIENT;
}

static void cancel_insert(struct world *world, const struct cancel_call *request)
{
    struct result result = {.outcome = OUTCOME_CANCELLED, .owner = OWNER_CLIENT};
    sim_job_id(world, request->job.run, (uint32_t)request->job.slot, result.job);
    snprintf(result.reason, sizeof result.reason, "the grading job was cancelled");
    (void)sim_result_insert(world, &result, ++world->database.nonce);
}

static void cancel_apply(struct world *world, struct sim_call *call)
{
    struct cancel_call *request = (struct cancel_call *)call;
    const struct sim_run *run = &world->database.runs[request->job.run];
    bool is_over = run->is_hidden || run->jobs[request->job.slot].result != NULL;
    request->is_refused = is_over || (!request->is_noted && !run->is_active);
    if (request->is_refused)
        return;
    if (request->is_noted)
        cancel_insert(world, request);
    else
        sim_run_note_job_cancel(world, request->job.run);
}

/* 200, or 409: the job's result decides. */
static void cancel_is_answered(struct world *world, const struct cancel_call *request)
{
    const struct sim_job *job = &world->database.runs[request->job.run].jobs[request->job.slot];
    struct job_truth *truth = &world->checker.jobs[request->job.run][request->job.slot];
    bool is_cancelled = sim_job_is_cancelled(job);
    if (is_cancelled && truth->cancelled_ms == 0)
        truth->cancelled_ms = world->now_ms;
    world_note(world, ACTOR_CLIENT, 0, is_cancelled ? "job is cancelled" : "job is not cancelled",
               request->job, 0);
}

static void cancel_send(struct world *world, struct cancel_call *request);

static void cancel_begin(struct world *world, struct task *task)
{
    const struct cancel_task *begins = (const struct cancel_task *)task;
    struct cancel_call *request = bw_alloc(sizeof *request);
    request->job = begins->job;
    free(task);
    cancel_send(world, request);
}

static void cancel_later(struct world *world, struct subject job, int64_t delay_ms)
{
    struct cancel_task *later = bw_alloc(sizeof *later);
    later->job = job;
    world_later(world, delay_ms, &later->task, cancel_begin);
}

static void cancel_answered(struct world *world, struct sim_call *call)
{
    struct cancel_call *request = (struct cancel_call *)call;
    if (!call->is_known) {
        cancel_later(world, request->job, TRY_AGAIN_MS);
        free(request);
    } else if (request->is_refused || request->is_noted) {
        cancel_is_answered(world, request);
        free(request);
    } else {
        request->is_noted = true;
        cancel_send(world, request);
    }
}

static void cancel_send(struct world *world, struct cancel_call *request)
{
    request->call = (struct sim_call){.dice = &world->client.dice,
                                      .incarnation = &world->client.incarnation,
                                      .apply = cancel_apply,
                                      .answered = cancel_answered};
    sim_call_send(world, &request->call);
}

void sim_job_cancel(struct world *world, int run, uint32_t slot, int64_t delay_ms)
{
    cancel_later(world, (struct subject){run, (int)slot, -1, -1}, delay_ms);
}

static void cancel_plan_run(struct world *world, int run)
{
    struct dice dice = dice_make(world->plan->seed, DICE_RUN, (uint64_t)run);
    bool is_in = dice_chance(&dice, RUNS_PER_MILLE) && (world->scope->runs & 1u << run) != 0;
    int64_t count = dice_between(&dice, 1, JOBS_MOST);
    int slots = (int)world->database.runs[run].slots;
    for (int64_t i = 0; i < count && is_in; i++) {
        uint32_t slot = (uint32_t)dice_between(&dice, 0, slots - 1);
        int64_t delay_ms = dice_between(&dice, 0, LATEST_MS);
        sim_job_cancel(world, run, slot, world->plan->runs[run].starts_ms + delay_ms);
    }
}

void sim_job_cancel_init(struct world *world)
{
    struct dice hour = dice_make(world->plan->seed, DICE_HOUR, 0);
    bool is_in = dice_chance(&hour, HOURS_PER_MILLE);
    for (int run = 0; run < RUNS && is_in; run++)
        cancel_plan_run(world, run);
}

/* ---- The checks ---- */

void check_cancel_hand_out(struct world *world, int scheduler, struct subject subject)
{
    const struct job_truth *truth = &world->checker.jobs[subject.run][subject.slot];
    if (truth->cancelled_ms != 0 && world->checker.recovery_ms[scheduler] > truth->cancelled_ms)
        checker_fail(world, "I4", "a job is handed out by a leader that came after its cancelling",
                     subject);
}

void check_cancels(struct world *world, int number)
{
    const struct sim_run *run = &world->database.runs[number];
    for (uint32_t slot = 0; slot < run->slots; slot++)
        if (world->checker.jobs[number][slot].cancelled_ms != 0 &&
            !sim_job_is_cancelled(&run->jobs[slot]))
            checker_fail(world, "I2", "a job that was cancelled has another result",
                         (struct subject){number, (int)slot, -1, -1});
}
