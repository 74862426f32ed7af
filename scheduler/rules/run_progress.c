#include "scheduler/rules/run_progress.h"

#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/foretold.h"
#include "scheduler/rules/history.h"
#include "scheduler/rules/job_times.h"
#include "scheduler/rules/lease_lifecycle.h"
#include "scheduler/rules/pausing.h"
#include "scheduler/rules/retry.h"
#include "scheduler/rules/spans.h"
#include "scheduler/rules/supersede.h"
#include "scheduler/rules/webhooks.h"
#include "scheduler/rules/worker_liveness.h"

enum {
    SAVE_PAUSE_MS = 1000, /* a run's summary is recorded no more often than that */
    OWN_AT_ONCE = 500     /* results of the scheduler's own in flight at once, of one run */
};

static enum job_outcome slot_outcome(const struct active_run *run, uint32_t slot)
{
    return summary_outcome(run->run.summary[slot]);
}

enum run_phase run_current_phase(const struct active_run *run)
{
    struct run_facts facts = {
        .has_pre = run->run.has_pre,
        .has_post = run->run.has_post,
        .students = run->run.students,
        .is_started = true,
        .is_cancelled = run->run.cancelled_ms != 0,
        .any_cancelled = run->students_cancelled > 0,
        .students_superseded = run->students_superseded,
        .pre = run->run.has_pre ? slot_outcome(run, 0) : OUTCOME_NONE,
        .post = run->run.has_post ? slot_outcome(run, run->slots - 1) : OUTCOME_NONE,
        .students_done = run->students_done,
    };
    return run_phase(&facts);
}

void run_phase_slots(const struct active_run *run, enum run_phase phase, uint32_t *first,
                     uint32_t *end)
{
    uint32_t students_first = run->run.has_pre ? 1 : 0;
    *first = *end = 0;
    if (phase == RUN_PRE)
        *end = 1;
    if (phase == RUN_STUDENTS) {
        *first = students_first;
        *end = students_first + run->run.students;
    }
    if (phase == RUN_POST) {
        *first = students_first + run->run.students;
        *end = *first + 1;
    }
}

enum job_kind run_phase_kind(enum run_phase phase)
{
    return phase == RUN_PRE ? JOB_PRE : phase == RUN_POST ? JOB_POST : JOB_STUDENT;
}

/* Whether no student of the run counts. */
static bool run_is_superseded(const struct active_run *run)
{
    return run->run.students > 0 && run->students_superseded == run->run.students;
}

/* A job without stages isn't handed out: it succeeds at once. One of a cancelled run is cancelled;
 * the one before the students, if they were all superseded, is superseded. */
static void run_insert_own_results(struct scheduler *scheduler, struct active_run *run)
{
    static const struct result cancelled = {.outcome = OUTCOME_CANCELLED,
                                            .reason = "the grading run was cancelled"},
                               superseded = {.outcome = OUTCOME_SUPERSEDED,
                                             .owner = OWNER_CLIENT,
                                             .reason = "the grading run was superseded"},
                               empty = {.outcome = OUTCOME_SUCCEEDED, .reason = "no stages"};
    const struct result *own = run->run.cancelled_ms != 0 ? &cancelled
                               : run_is_superseded(run)   ? &superseded
                                                          : &empty;
    if (run->is_paused && own == &empty)
        return;
    while (run->own_next < run->own_end && run->own_pending < OWN_AT_ONCE) {
        uint32_t slot = run->own_next++;
        if (slot_outcome(run, slot) != OUTCOME_NONE)
            continue;
        run->own_pending++;
        job_insert_result(scheduler, run, slot, own);
    }
}

/* Records what is known of the run, unless that is in flight. */
static void run_progress_save_run(struct scheduler *scheduler, struct active_run *run)
{
    bool is_held = run_phase_is_over(run->phase) && supersede_is_pending(run);
    if (run->is_saving || is_held)
        return;
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_SAVE_RUN);
    snprintf(db_job->run.id, sizeof db_job->run.id, "%s", run->run.id);
    db_job->run.phase = run->phase;
    db_job->run.ended_ms = run->last_result_ms;
    db_job->run.summary = bw_alloc(run->slots + 1);
    memcpy(db_job->run.summary, run->run.summary, run->slots);
    db_job->run.summary_length = run->slots;
    db_job->run.breaker = run->run.breaker;
    db_job->run.foretold = run->foretold;
    webhooks_take_run(scheduler, run, db_job);
    run->is_saving = true;
    run->is_dirty = false;
    scheduler_submit(scheduler, db_job);
}

/* The phase's jobs get their results from us. Inserts that are in flight already, for a step
 * without stages that is cancelled now, are not counted: their jobs get the same result again, and
 * the first one that is seen counts. */
static void open_own(struct active_run *run)
{
    run_phase_slots(run, run->phase, &run->own_next, &run->own_end);
    run->own_pending = 0;
    queue_close(run);
    queue_attend(run);
}

/* Makes the jobs of the phase that has begun available. */
static void open_phase(struct active_run *run)
{
    uint32_t first, end;
    if (run->run.cancelled_ms != 0 || !run->run.has_stages[run_phase_kind(run->phase)]) {
        open_own(run);
        return;
    }
    run_phase_slots(run, run->phase, &first, &end);
    queue_open_slots(run, first, end);
}

/* The end of a run is recorded at once. A phase on the way can wait for the next tick: it follows
 * from the results, and readers of the run derive it from them. The API records the first phase
 * when it starts the run. */
static void record_phase(struct scheduler *scheduler, struct active_run *run)
{
    if (run->phase == run->run.phase)
        return;
    queue_set_dirty(run);
    if (run_phase_is_over(run->phase))
        run_progress_save_run(scheduler, run);
}

static void run_advance(struct scheduler *scheduler, struct active_run *run)
{
    enum run_phase phase = run_current_phase(run);
    if (phase != run->phase) {
        run->phase = phase;
        open_phase(run);
        log_info("run advances", log_text("run_id", run->run.id),
                 log_text("state", run_phase_name(phase)));
        if (run_phase_is_over(phase))
            foretold_run_ended(scheduler, run);
        record_phase(scheduler, run);
    }
    run_insert_own_results(scheduler, run);
}

static void run_started(struct scheduler *scheduler, struct run *run)
{
    log_info("run started", log_text("run_id", run->id), log_number("students", run->students));
    struct active_run *added = queue_add(&scheduler->queue, run);
    added->phase = RUN_CREATED;
    pausing_take_run(scheduler, added);
    supersede_run_started(scheduler, added);
    run_advance(scheduler, added);
}

/* The mark only asks: what makes jobs cancelled is their results. */
static void run_cancelled(struct scheduler *scheduler, struct active_run *run, int64_t cancelled_ms)
{
    log_info("run is cancelled", log_text("run_id", run->run.id));
    run->run.cancelled_ms = cancelled_ms;
    open_own(run);
    run_insert_own_results(scheduler, run);
}

void run_changed(struct scheduler *scheduler, struct run *run)
{
    struct active_run *known = queue_find(&scheduler->queue, run->id);
    if (run->started_ms == 0 || run->finished_ms != 0)
        return;
    if (known == NULL)
        run_started(scheduler, run);
    else if (run->cancelled_ms != 0 && known->run.cancelled_ms == 0)
        run_cancelled(scheduler, known, run->cancelled_ms);
}

void run_resume(struct scheduler *scheduler, struct active_run *run)
{
    if (run->is_dirty)
        run_progress_save_run(scheduler, run);
    if (run->run.cancelled_ms != 0 || run_is_superseded(run))
        open_own(run);
    run_insert_own_results(scheduler, run);
}

void run_note_result(struct active_run *run, uint32_t slot, const struct result *result,
                     uint32_t attempts)
{
    enum job_outcome outcome = result->outcome;
    enum job_kind kind;
    uint32_t index;
    if (result->finished_ms > run->last_result_ms)
        run->last_result_ms = result->finished_ms;
    run_slot_job(run->run.has_pre, run->run.students, slot, &kind, &index);
    run->run.summary[slot] = summary_make(outcome, attempts, result->owner, kind);
    returned_jobs_remove(&run->returned, slot);
    queue_job_ended(run, slot);
    run->students_done += kind == JOB_STUDENT;
    if (kind == JOB_STUDENT)
        breaker_note(&run->run.breaker, outcome, result->signature);
    run->students_cancelled += kind == JOB_STUDENT && run_cancelled_job(outcome, result->owner);
    if (outcome == OUTCOME_FAILED)
        webhooks_note_failure(run, slot, result, attempts);
    run->students_superseded += kind == JOB_STUDENT && outcome == OUTCOME_SUPERSEDED;
    queue_set_dirty(run);
}

/* How the job went says something of its worker. */
static void worker_note_outcome(struct scheduler *scheduler, const struct live_lease *lease,
                                const struct result *result)
{
    struct known_worker *worker = lease->worker;
    bool is_quick = scheduler->now_ms - lease->leased_ms < WORKER_QUICK_MS;
    bool is_broken = result->outcome == OUTCOME_FAILED && result->is_silent && is_quick;
    if (strcmp(worker->id, result->worker) != 0)
        return;
    worker_note_end(scheduler, worker, is_broken);
    if (!is_broken)
        job_times_note_result(scheduler, lease, result);
    enum job_kind kind;
    uint32_t index;
    run_slot_job(lease->run->run.has_pre, lease->run->run.students, lease->slot, &kind, &index);
    if (!is_broken && kind == JOB_STUDENT)
        usual_time_learn(&scheduler->supersedes, &lease->run->run,
                         scheduler->now_ms - lease->leased_ms);
}

/* The job has a result that the lease's worker did not report: whoever sends no heartbeats at work
 * is not heard of before it is done with it. */
static void run_progress_leave_worker(const struct live_lease *lease)
{
    if (lease->state == LEASE_UNCONFIRMED)
        worker_goes_on(lease->worker, lease->hold_ms);
    else if (lease->state == LEASE_DELIVERED || lease->is_sent)
        worker_goes_on(lease->worker, lease->deadline_ms);
}

/* The job needs no more attempts. Returns how many leases of it counted. */
static uint32_t drop_attempts(struct scheduler *scheduler, struct active_run *run, uint32_t slot,
                              const struct result *result)
{
    struct live_lease *lease = lease_table_find(&scheduler->leases, result->job);
    struct failed_attempts failed_attempts = {0};
    if (lease != NULL) {
        uint32_t counted = failed_attempts_total(&lease->failed_attempts) + 1;
        worker_note_outcome(scheduler, lease, result);
        if (strcmp(lease->worker->id, result->worker) != 0)
            run_progress_leave_worker(lease);
        else if (lease->state != LEASE_DELIVERED)
            spans_handed_out(scheduler, lease); /* the result came before the replica's word */
        spans_attempt_ended(scheduler, lease, NULL);
        if (strcmp(lease->worker->id, result->worker) != 0 &&
            strcmp(lease->worker->id, result->holder) != 0)
            lease_notify_worker(scheduler, lease);
        lease_withdraw(scheduler, lease);
        lease_remove(scheduler, lease);
        return counted;
    }
    if (queue_drop_retry(run, slot, &failed_attempts))
        return failed_attempts_total(&failed_attempts);
    return result->attempts;
}

void result_seen(struct scheduler *scheduler, const struct result *result)
{
    struct job_id job;
    uint32_t slot;
    struct known_worker *worker = worker_table_find(&scheduler->workers, result->worker);
    if (worker != NULL)
        worker_note_seen(scheduler, worker, scheduler->now_ms, "");
    if (!job_id_parse(result->job, &job))
        return;
    struct active_run *run = queue_find(&scheduler->queue, job.run);
    if (run == NULL || !run_job_slot(run->run.has_pre, run->run.students, run->run.has_post,
                                     job.kind, job.index, &slot))
        return;
    if (slot_outcome(run, slot) != OUTCOME_NONE)
        return;
    if (result->outcome != OUTCOME_NONE)
        metric_add(scheduler->metrics,
                   SCHEDULER_RESULTS_SUCCEEDED + result->outcome - OUTCOME_SUCCEEDED, 1);
    /* Before own_next, a job without a result has an insert of ours in flight. */
    if (run->own_pending > 0 && slot < run->own_next)
        run->own_pending--;
    uint32_t attempts = drop_attempts(scheduler, run, slot, result);
    spans_job_ended(scheduler, run, result);
    history_note_result(scheduler, run, result->outcome);
    run_note_result(run, slot, result, attempts);
    if (result->outcome == OUTCOME_SUPERSEDED && run->phase == RUN_PRE && run_is_superseded(run))
        open_own(run);
    run_advance(scheduler, run);
    pausing_check_breaker(scheduler, run);
}

void run_result_completed(struct scheduler *scheduler, const struct result *result,
                          enum job_outcome inserted, enum commit_outcome outcome)
{
    /* The stream brings the result as well; what is seen twice changes nothing. */
    if (outcome == COMMIT_DONE || outcome == COMMIT_DUPLICATE)
        result_seen(scheduler, result);
    else
        scheduler->must_recover = true;
    if (inserted == OUTCOME_FAILED)
        scheduler->giving_up--;
}

void run_save_completed(struct scheduler *scheduler, struct db_job *db_job)
{
    struct active_run *run = queue_find(&scheduler->queue, db_job->run.id);
    if (run == NULL)
        return;
    run->is_saving = false;
    run->saved_ms = scheduler->now_ms;
    if (db_job->code != BW_OK) {
        queue_set_dirty(run); /* the next tick tries again */
        webhooks_keep_run(run, db_job);
        return;
    }
    run->run.phase = db_job->run.phase;
    if (run_phase_is_over(db_job->run.phase)) {
        spans_run_ended(scheduler, run);
        pausing_forget_run(scheduler, run);
        supersede_table_remove_run(&scheduler->supersedes, run);
        queue_remove(&scheduler->queue, run);
        return;
    }
    record_phase(scheduler, run);
}

void run_progress_tick(struct scheduler *scheduler)
{
    struct active_run *run, *following;
    DL_FOREACH_SAFE2(scheduler->queue.attended, run, following, attended_next)
    {
        run_insert_own_results(scheduler, run); /* those of a run that was paused until now */
        supersede_tick(scheduler, run);
        if (run->is_dirty && scheduler->now_ms - run->saved_ms >= SAVE_PAUSE_MS)
            run_progress_save_run(scheduler, run);
        if (!run->is_dirty && run->own_next >= run->own_end && !supersede_is_pending(run))
            queue_stop_attending(run);
    }
}
