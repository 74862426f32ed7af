#include "tests/simulation/checker.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "scheduler/state/queue.h"
#include "tests/simulation/sim_job_cancel.h"
#include "tests/simulation/sim_keys.h"
#include "tests/simulation/sim_return.h"
#include "tests/simulation/world.h"

enum { MOST_ATTEMPTS = 3, WATCH_NOTIFIED_MS = 60 * 1000 };

void checker_fail(struct world *world, const char *promise, const char *check,
                  struct subject subject)
{
    struct failure *failure = &world->checker.failure;
    if (failure->promise != NULL)
        return;
    *failure = (struct failure){promise, check, world->now_ms, subject};
    world_note_detail(world, ACTOR_WORLD, 0, "FAILED", subject, 0, check);
}

void checker_init(struct world *world)
{
    struct checker *checker = &world->checker;
    checker->workers = bw_alloc_array(WORKERS_MOST, sizeof *checker->workers);
    for (int run = 0; run < RUNS; run++) {
        const struct planned_run *plan = &world->plan->runs[run];
        uint32_t slots = run_job_count(plan->has_pre, plan->students, plan->has_post);
        checker->jobs[run] = bw_alloc_array(slots, sizeof *checker->jobs[run]);
    }
}

void checker_destroy(struct world *world)
{
    for (int run = 0; run < RUNS; run++)
        free(world->checker.jobs[run]);
    free(world->checker.workers);
}

/* ---- What is true ---- */

static enum job_outcome job_outcome(const struct sim_run *run, uint32_t slot)
{
    return run->jobs[slot].result != NULL ? run->jobs[slot].result->outcome : OUTCOME_NONE;
}

enum run_phase checker_phase(const struct world *world, int number)
{
    const struct sim_run *run = &world->database.runs[number];
    uint32_t first = run->run.has_pre ? 1 : 0;
    struct run_facts facts = {
        .has_pre = run->run.has_pre,
        .has_post = run->run.has_post,
        .students = run->run.students,
        .is_started = run->run.started_ms != 0,
        .is_cancelled = run->run.cancelled_ms != 0,
        .pre = run->run.has_pre ? job_outcome(run, 0) : OUTCOME_NONE,
        .post = run->run.has_post ? job_outcome(run, run->slots - 1) : OUTCOME_NONE,
    };
    for (uint32_t slot = first; slot < first + run->run.students; slot++) {
        enum job_outcome outcome = job_outcome(run, slot);
        facts.students_done += outcome != OUTCOME_NONE;
        facts.students_superseded += outcome == OUTCOME_SUPERSEDED;
        facts.any_cancelled = facts.any_cancelled || (outcome == OUTCOME_CANCELLED &&
                                                      !sim_job_is_cancelled(&run->jobs[slot]));
    }
    return run_phase(&facts);
}

struct failed_attempts checker_failed_attempts(const struct world *world, int run, uint32_t slot)
{
    const struct sim_job *job = &world->database.runs[run].jobs[slot];
    struct failed_attempts failed = {0};
    for (uint32_t i = 0; i < job->attempt_room; i++) {
        if (!job->attempts[i].exists)
            continue;
        enum lease_end end = job->attempts[i].lease.end;
        failed.lost += end == LEASE_LOST;
        failed.expired += end == LEASE_EXPIRED;
        failed.undeliverable += end == LEASE_UNDELIVERABLE;
    }
    return failed;
}

uint32_t checker_max_attempts(const struct world *world, int run)
{
    uint32_t own = (uint32_t)world->database.runs[run].run.max_attempts;
    return own > 0 && own < MOST_ATTEMPTS ? own : MOST_ATTEMPTS;
}

enum job_kind checker_slot_kind(const struct sim_run *run, uint32_t slot)
{
    enum job_kind kind;
    uint32_t index;
    run_slot_job(run->run.has_pre, run->run.students, slot, &kind, &index);
    return kind;
}

static bool kind_has_begun(const struct world *world, int number, enum job_kind kind)
{
    const struct sim_run *run = &world->database.runs[number];
    enum run_phase phase = checker_phase(world, number);
    bool has_pre = !run->run.has_pre || job_outcome(run, 0) == OUTCOME_SUCCEEDED;
    if (kind == JOB_PRE)
        return run->run.started_ms != 0;
    if (kind == JOB_STUDENT)
        return has_pre && run->run.started_ms != 0;
    return phase == RUN_POST || run_phase_is_over(phase);
}

/* ---- Leases ---- */

/* Does the leader know of it? It may not yet know of an insert that was in flight when it
 * recovered; it does when it inserts the same attempt, perhaps for another worker, and recovers
 * again. Nothing of it reaches the grader before.
 */
static bool leader_knows(const struct world *world, const struct lease *lease)
{
    int leader = sim_scheduler_leader(world);
    if (leader < 0)
        return false;
    const struct live_lease *known = lease_table_find(
        &world->schedulers[leader].core.scheduler.leases, lease->job);
    return known != NULL && known->attempt == lease->attempt &&
           strcmp(known->worker->id, lease->worker) == 0;
}

/* Live leases of the worker that are the present leader's. */
static int worker_live(const struct world *world, int worker)
{
    int live = 0;
    for (int i = 0; i < RUNS; i++) {
        const struct sim_run *run = &world->database.runs[i];
        if (!run->is_active)
            continue;
        for (uint32_t slot = 0; slot < run->slots; slot++) {
            const struct sim_job *job = &run->jobs[slot];
            for (uint32_t at = 0; at < job->attempt_room && job->result == NULL; at++) {
                const struct lease *lease = &job->attempts[at].lease;
                live += job->attempts[at].exists && lease->end == LEASE_LIVE &&
                        lease->term == world->database.leader.term &&
                        sim_worker_number(lease->worker) == worker && leader_knows(world, lease);
            }
        }
    }
    return live;
}

static void check_concurrency(struct world *world, const struct lease *lease,
                              struct subject subject)
{
    const struct worker *worker = &world->database.workers[subject.worker].worker;
    int most = worker->is_socket ? 1 : worker->concurrency;
    if (most == 0 || lease->term != world->database.leader.term || !leader_knows(world, lease))
        return;
    if (worker_live(world, subject.worker) >= most)
        checker_fail(world, "I3", "a grader has more jobs than it takes at once", subject);
}

void check_lease_insert(struct world *world, int number, uint32_t slot, const struct lease *lease)
{
    const struct sim_run *run = &world->database.runs[number];
    const struct sim_job *job = &run->jobs[slot];
    enum job_kind kind = checker_slot_kind(run, slot);
    struct failed_attempts failed = checker_failed_attempts(world, number, slot);
    struct subject subject = {number, (int)slot, (int)lease->attempt,
                              sim_worker_number(lease->worker)};
    const struct sim_attempt *former = sim_attempt_find(job, lease->attempt - 1);
    if (lease->attempt > 1 && former == NULL)
        checker_fail(world, "I3", "an attempt follows a gap", subject);
    if (former != NULL && former->lease.end == LEASE_LIVE)
        checker_fail(world, "I3", "an attempt begins before the end of the former is on record",
                     subject);
    if (failed_attempts_total(&failed) >= checker_max_attempts(world, number))
        checker_fail(world, "I3", "a job has more attempts than its limit", subject);
    if (!kind_has_begun(world, number, kind))
        checker_fail(world, "I4", "a job is handed out before its phase has begun", subject);
    if (!run->run.has_stages[kind])
        checker_fail(world, "I4", "a job without stages is handed out", subject);
    check_concurrency(world, lease, subject);
    check_return_insert(world, number, slot, lease);
    world->checker.jobs[number][slot].due_ms = world->now_ms + lease->limit_ms;
}

void check_stamp(struct world *world, int run, uint32_t slot, const struct lease *lease,
                 int64_t term)
{
    struct subject subject = {run, (int)slot, (int)lease->attempt,
                              sim_worker_number(lease->worker)};
    if (term < lease->term)
        checker_fail(world, "I6", "a leader of the past takes a lease over", subject);
}

/* ---- Results and runs ---- */

static bool worker_had_job(const struct sim_job *job, const char *worker)
{
    for (uint32_t i = 0; i < job->attempt_room; i++)
        if (job->attempts[i].exists && strcmp(job->attempts[i].lease.worker, worker) == 0)
            return true;
    return false;
}

void check_result_insert(struct world *world, int number, uint32_t slot,
                         const struct result *result)
{
    const struct sim_run *run = &world->database.runs[number];
    enum job_kind kind = checker_slot_kind(run, slot);
    struct subject subject = {number, (int)slot, -1, sim_worker_number(result->worker)};
    if (result->worker[0] != '\0') {
        if (!worker_had_job(&run->jobs[slot], result->worker))
            checker_fail(world, "I2", "a result of a worker that never had the job", subject);
        return;
    }
    if (result->outcome == OUTCOME_CANCELLED && result->owner == OWNER_CLIENT) {
        if (run->run.job_cancels == 0)
            checker_fail(world, "I4", "a job is cancelled alone before its run says so", subject);
        return;
    }
    if (result->outcome == OUTCOME_CANCELLED && run->run.cancelled_ms == 0)
        checker_fail(world, "I4", "a job is cancelled, but nobody asked for that", subject);
    if (result->outcome == OUTCOME_SUCCEEDED && run->run.has_stages[kind])
        checker_fail(world, "I2", "the scheduler says that a job with stages has succeeded",
                     subject);
    if (result->outcome == OUTCOME_SUPERSEDED)
        check_keys_result(world, result, subject);
    else if (!kind_has_begun(world, number, kind))
        checker_fail(world, "I4", "a job ends before its phase has begun", subject);
}

static void check_summary(struct world *world, int number, const uint8_t *summary, uint32_t length)
{
    const struct sim_run *run = &world->database.runs[number];
    for (uint32_t slot = 0; slot < length && slot < run->slots; slot++) {
        enum job_outcome outcome = summary_outcome(summary[slot]);
        struct subject subject = {number, (int)slot, -1, -1};
        if (outcome != OUTCOME_NONE && outcome != job_outcome(run, slot))
            checker_fail(world, "I2", "a run's summary says what no result says", subject);
        if (summary_attempts(summary[slot]) > checker_max_attempts(world, number))
            checker_fail(world, "I3", "a run's summary counts more attempts than its limit",
                         subject);
        struct failed_attempts failed = checker_failed_attempts(world, number, slot);
        if (summary_attempts(summary[slot]) > failed_attempts_total(&failed) + 1)
            checker_fail(world, "I3", "a job is charged for an attempt that has not failed",
                         subject);
    }
}

void check_run_advance(struct world *world, int number, enum run_phase phase,
                       const uint8_t *summary, uint32_t length)
{
    const struct sim_run *run = &world->database.runs[number];
    enum run_phase truth = checker_phase(world, number);
    struct subject subject = {number, -1, -1, -1};
    check_summary(world, number, summary, length);
    if (run->run.finished_ms != 0 && run_phase_is_over(phase) && phase != run->run.phase)
        checker_fail(world, "I4", "a run ends twice, in different ways", subject);
    if (run_phase_is_over(phase) && phase != truth)
        checker_fail(world, "I4", "a run ends otherwise than its results say", subject);
    if (!run_phase_is_over(phase) && phase > truth)
        checker_fail(world, "I4", "a run is recorded in a phase that it has not reached", subject);
}

void check_refused(struct world *world, struct subject subject)
{
    world->checker.jobs[subject.run][subject.slot].is_refused = true;
}

/* ---- Replicas ---- */

void check_delivery(struct world *world, int replica, struct subject subject)
{
    const struct sim_job *job = &world->database.runs[subject.run].jobs[subject.slot];
    const struct sim_attempt *attempt = sim_attempt_find(job, (uint32_t)subject.attempt);
    (void)replica;
    if (attempt == NULL)
        checker_fail(world, "I3", "a job is handed out without a lease on record", subject);
    else if (sim_worker_number(attempt->lease.worker) != subject.worker)
        checker_fail(world, "I3", "a job is handed to another worker than its lease says", subject);
}

void check_poll_cut(struct world *world, int replica, const struct sim_poll *poll)
{
    (void)replica;
    if (poll->ending_ms > CALM_MS)
        checker_fail(world, "I5", "a final poll is not answered",
                     (struct subject){-1, -1, -1, poll->worker});
}

void check_query_unanswered(struct world *world, int replica, const struct sim_query *query)
{
    (void)replica;
    if (query->begun_ms > CALM_MS)
        checker_fail(world, "I5", "a query is not answered",
                     (struct subject){query->run, -1, -1, query->worker});
}

void check_answer(struct world *world, int replica, const struct sim_query *query,
                  const json_t *value)
{
    (void)replica;
    if (!json_is_object(value))
        checker_fail(world, "I8", "a query's answer is none",
                     (struct subject){query->run, -1, -1, query->worker});
}

void check_watch_end(struct world *world, int replica, int run)
{
    (void)replica;
    if (!world->database.runs[run].is_hidden && !run_phase_is_over(checker_phase(world, run)))
        checker_fail(world, "I8", "watchers are told that a run is over, which is not",
                     (struct subject){run, -1, -1, -1});
}

/* ---- The end ---- */

static void check_refusals(struct world *world, int number)
{
    const struct sim_run *run = &world->database.runs[number];
    for (uint32_t slot = 0; slot < run->slots; slot++) {
        struct subject subject = {number, (int)slot, -1, -1};
        if (world->checker.jobs[number][slot].is_refused &&
            job_outcome(run, slot) != OUTCOME_FAILED)
            checker_fail(world, "I2", "a job whose result was refused has not failed", subject);
    }
}

static void check_run_end(struct world *world, int number)
{
    const struct sim_run *run = &world->database.runs[number];
    struct subject subject = {number, -1, -1, -1};
    if (run->run.started_ms == 0 || run->is_hidden)
        return;
    check_refusals(world, number);
    check_cancels(world, number);
    for (uint32_t slot = 0; slot < run->slots && subject.slot < 0; slot++)
        if (job_outcome(run, slot) == OUTCOME_NONE &&
            kind_has_begun(world, number, checker_slot_kind(run, slot)))
            subject.slot = (int)slot;
    if (!run_phase_is_over(checker_phase(world, number)))
        checker_fail(world, "I5", "a run does not end", subject);
    else if (run->run.finished_ms == 0)
        checker_fail(world, "I5", "the end of a run is not recorded",
                     (struct subject){number, -1, -1, -1});
}

static void check_watches(struct world *world, const struct sim_replica *replica)
{
    for (size_t i = 0; i < replica->watch_count; i++) {
        int number = replica->watches[i].run;
        const struct sim_run *run = &world->database.runs[number];
        if (run->recorded_ms != 0 && run->recorded_ms < world->now_ms - WATCH_NOTIFIED_MS)
            checker_fail(world, "I5", "watchers are not told that a run is over",
                         (struct subject){number, -1, -1, -1});
    }
}

bool checker_is_done(const struct world *world)
{
    bool is_done = true;
    for (int i = 0; i < RUNS; i++)
        is_done = is_done && !world->database.runs[i].is_active;
    for (int i = 0; i < REPLICAS; i++)
        is_done = is_done && world->replicas[i].watch_count == 0;
    for (int i = 0; i < GRADERS; i++)
        is_done = is_done && (!world->graders[i].is_alive || world->graders[i].is_registered);
    return is_done;
}

void checker_end(struct world *world)
{
    for (int run = 0; run < RUNS; run++)
        check_run_end(world, run);
    check_removed(world);
    for (int i = 0; i < REPLICAS; i++)
        check_watches(world, &world->replicas[i]);
    for (int i = 0; i < GRADERS; i++) {
        const struct sim_grader *grader = &world->graders[i];
        if (world_has_grader(world, i) && grader->is_alive && !grader->is_registered)
            checker_fail(world, "I5", "a grader can't register",
                         (struct subject){-1, -1, -1, grader->worker});
    }
}
