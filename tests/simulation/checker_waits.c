/*
 * What waits: no job waits for long beside a poll that could have it. Looked at once a second: a
 * job or a poll that is kept from being matched for some known reason begins to wait when that is
 * over.
 */
#include <string.h>

#include "common/base/alloc.h"
#include "tests/simulation/sim_return.h"
#include "tests/simulation/world.h"

enum {
    SCAN_MS = 1000,
    BOTH_WAIT_MS = 30 * 1000, /* a few lost events, and what recovers from them */
    RETRY_PAUSE_MS = 5000,    /* of a job that has failed twice; its third time is its last */
    PAUSE_SLACK_MS = 5000
};

/* What waits longest, of one protocol. */
struct waiting {
    int64_t job_ms, poll_ms; /* since when; 0: nothing does */
    struct subject job;
    int worker;
};

void check_disturbed(struct world *world)
{
    world->checker.disturbed_ms = world->now_ms;
}

/* Is a part of the cluster unavailable? */
static bool is_disturbed(const struct world *world)
{
    int leader = sim_scheduler_leader(world);
    if (leader < 0 || world->database.is_down)
        return true;
    const struct sim_scheduler *scheduler = &world->schedulers[leader];
    if (!scheduler->is_working || world->now_ms < scheduler->stalled_ms ||
        !scheduler->stream.is_open || world->now_ms < scheduler->stream.stalled_ms)
        return true;
    for (int i = 0; i < REPLICAS; i++) {
        const struct sim_replica *replica = &world->replicas[i];
        if (!replica->is_up || replica->is_cut_off || world->now_ms < replica->stalled_ms)
            return true;
    }
    return false;
}

/* ---- Jobs ---- */

/* Notes whose the job is; true if it is nobody's. */
static bool job_is_unleased(struct world *world, int number, uint32_t slot)
{
    const struct sim_job *job = &world->database.runs[number].jobs[slot];
    int64_t ended_ms = 0;
    bool is_live = false;
    for (uint32_t i = 0; i < job->attempt_room; i++) {
        const struct sim_attempt *attempt = &job->attempts[i];
        if (!attempt->exists)
            continue;
        if (attempt->ended_ms > ended_ms)
            ended_ms = attempt->ended_ms;
        if (attempt->lease.end != LEASE_LIVE)
            continue;
        is_live = true;
        world->checker.workers[sim_worker_number(attempt->lease.worker)].busy_ms = world->now_ms;
    }
    struct failed_attempts failed = checker_failed_attempts(world, number, slot);
    uint32_t total = failed_attempts_total(&failed);
    int64_t pause_ms = total > 1 ? RETRY_PAUSE_MS : 0;
    return !is_live && total < checker_max_attempts(world, number) &&
           world->now_ms >= ended_ms + pause_ms;
}

static bool job_is_free(struct world *world, int number, uint32_t slot, enum run_phase phase)
{
    static const enum run_phase phases[] = {
        [JOB_PRE] = RUN_PRE, [JOB_STUDENT] = RUN_STUDENTS, [JOB_POST] = RUN_POST};
    const struct sim_run *run = &world->database.runs[number];
    enum job_kind kind = checker_slot_kind(run, slot);
    if (sim_pause_may_hold(world, number))
        return false;
    bool is_unleased = run->jobs[slot].result == NULL && job_is_unleased(world, number, slot);
    return is_unleased && !check_is_returned(&run->jobs[slot]) && run->run.cancelled_ms == 0 &&
           phases[kind] == phase && run->run.has_stages[kind];
}

static void scan_run(struct world *world, int number, struct waiting *waiting)
{
    const struct sim_run *run = &world->database.runs[number];
    enum run_phase phase = checker_phase(world, number);
    for (uint32_t slot = 0; slot < run->slots; slot++) {
        int64_t *free_ms = &world->checker.jobs[number][slot].free_ms;
        if (!job_is_free(world, number, slot, phase)) {
            *free_ms = 0;
            continue;
        }
        if (*free_ms == 0)
            *free_ms = world->now_ms;
        if (waiting->job_ms != 0 && waiting->job_ms <= *free_ms)
            continue;
        waiting->job_ms = *free_ms;
        waiting->job = (struct subject){number, (int)slot, -1, -1};
    }
}

/* ---- Polls ---- */

/* Could its grader begin a job? One that was taken for lost is handed one when it polls again; one
 * that failed at once and without a word is given a rest. */
static bool poll_is_free(const struct world *world, const struct sim_poll *poll)
{
    const struct sim_grader *grader = &world->graders[poll->owner.grader];
    const struct worker_truth *worker = &world->checker.workers[poll->worker];
    const struct sim_slot *slot = &grader->slots[poll->owner.slot];
    bool is_open = grader->incarnation == poll->owner.incarnation &&
                   slot->serial == poll->owner.serial && slot->state == SLOT_POLLING;
    bool rests = grader->broken_ms != 0 &&
                 world->now_ms < grader->broken_ms + WORKER_PAUSE_MS + PAUSE_SLACK_MS;
    if (!is_open || poll->is_ending || rests || sim_pause_may_hold_worker(world, poll->worker) ||
        worker->busy_ms == world->now_ms || worker->lost_ms >= poll->parked_ms)
        return false;
    for (int i = 0; i < SLOTS_MOST; i++)
        if (grader->slots[i].state >= SLOT_WORKING)
            return false;
    return true;
}

static void scan_poll(struct world *world, struct sim_poll *poll, struct waiting *waiting)
{
    if (!poll_is_free(world, poll)) {
        poll->free_ms = 0;
        return;
    }
    if (poll->free_ms == 0)
        poll->free_ms = world->now_ms;
    if (waiting->poll_ms != 0 && waiting->poll_ms <= poll->free_ms)
        return;
    waiting->poll_ms = poll->free_ms;
    waiting->worker = poll->worker;
}

/* ---- Both ---- */

static int64_t later_of(int64_t left_ms, int64_t right_ms)
{
    return left_ms > right_ms ? left_ms : right_ms;
}

static void check_both_wait(struct world *world, const struct waiting *waiting)
{
    int64_t since_ms = later_of(later_of(waiting->job_ms, waiting->poll_ms),
                                world->checker.disturbed_ms);
    if (waiting->job_ms == 0 || waiting->poll_ms == 0 || world->now_ms - since_ms <= BOTH_WAIT_MS)
        return;
    struct subject subject = waiting->job;
    subject.worker = waiting->worker;
    checker_fail(world, "I5", "a job waits beside a poll that could have it", subject);
}

static void scan_waits(struct world *world, struct task *task)
{
    struct waiting waiting[PROTOCOLS];
    memset(waiting, 0, sizeof waiting);
    if (is_disturbed(world))
        check_disturbed(world);
    for (int i = 0; i < RUNS; i++)
        if (world->database.runs[i].is_active) {
            scan_run(world, i, &waiting[world->database.runs[i].run.protocol]);
            check_breaker_waits(world, i);
        }
    for (int i = 0; i < REPLICAS; i++) {
        struct sim_replica *replica = &world->replicas[i];
        for (size_t at = 0; at < replica->poll_count; at++) {
            struct sim_poll *poll = &replica->polls[at];
            scan_poll(world, poll, &waiting[world->database.workers[poll->worker].worker.protocol]);
        }
    }
    for (int protocol = 0; protocol < PROTOCOLS; protocol++)
        check_both_wait(world, &waiting[protocol]);
    world_later(world, SCAN_MS, task, scan_waits);
}

void check_waits_begin(struct world *world)
{
    world_later(world, SCAN_MS, bw_alloc(sizeof(struct task)), scan_waits);
}
