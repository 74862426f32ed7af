#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "scheduler/core/core.h"
#include "scheduler/metrics.h"

enum {
    SAVE_PAUSE_MS = 1000, /* a run's summary is recorded no more often than that */
    OWN_AT_ONCE = 500     /* results of the scheduler's own under way at once, of one run */
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
        .pre = run->run.has_pre ? slot_outcome(run, 0) : OUTCOME_NONE,
        .post = run->run.has_post ? slot_outcome(run, run->slots - 1) : OUTCOME_NONE,
        .students_done = run->students_done + (MUTANT("post_too_early") ? 1 : 0),
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

/* A job without stages isn't handed out: it succeeds at once. One of a cancelled run is cancelled.
 */
static void settle_own(struct core *core, struct active_run *run)
{
    bool is_cancelled = run->run.cancelled_ms != 0;
    while (run->own_next < run->own_end && run->own_pending < OWN_AT_ONCE) {
        uint32_t slot = run->own_next++;
        if (slot_outcome(run, slot) != OUTCOME_NONE)
            continue;
        run->own_pending++;
        if (is_cancelled)
            job_settle(core, run, slot, OUTCOME_CANCELLED, 0, "the grading run was cancelled");
        else
            job_settle(core, run, slot, OUTCOME_SUCCEEDED, 0, "no stages");
    }
}

/* Records what is known of the run, unless that is under way. */
static void run_progress_save_run(struct core *core, struct active_run *run)
{
    if (run->is_saving)
        return;
    struct db_job *db_job = db_job_new(DB_JOB_SAVE_RUN, core->generation);
    snprintf(db_job->run.id, sizeof db_job->run.id, "%s", run->run.id);
    db_job->run.phase = run->phase;
    db_job->run.ended_ms = run->last_result_ms;
    db_job->run.summary = bw_alloc(run->slots + 1);
    memcpy(db_job->run.summary, run->run.summary, run->slots);
    db_job->run.summary_length = run->slots;
    run->is_saving = true;
    run->is_dirty = false;
    db_jobs_submit(core->db_jobs, db_job);
}

/* The phase's jobs get their results from us. */
static void open_own(struct active_run *run)
{
    run_phase_slots(run, run->phase, &run->own_next, &run->own_end);
    queue_close(run);
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
 * from the results, and who reads the run derives it from them. Whoever started the run has
 * recorded its first one. */
static void record_phase(struct core *core, struct active_run *run)
{
    if (run->phase == run->run.phase)
        return;
    run->is_dirty = true;
    if (run_phase_is_over(run->phase))
        run_progress_save_run(core, run);
}

void run_advance(struct core *core, struct active_run *run)
{
    enum run_phase phase = run_current_phase(run);
    if (phase != run->phase) {
        if (phase == RUN_POST)
            FAILPOINT("before_post_queued");
        run->phase = phase;
        open_phase(run);
        log_info("run advances", log_text("run_id", run->run.id),
                 log_text("state", run_phase_name(phase)));
        record_phase(core, run);
    }
    settle_own(core, run);
}

static void run_started(struct core *core, struct run *run)
{
    log_info("run started", log_text("run_id", run->id), log_number("students", run->students));
    struct active_run *added = queue_add(&core->queue, run);
    added->phase = RUN_CREATED;
    run_advance(core, added);
}

/* The mark only asks: what makes jobs cancelled is their results. */
static void run_cancelled(struct core *core, struct active_run *run, int64_t cancelled_ms)
{
    log_info("run is cancelled", log_text("run_id", run->run.id));
    run->run.cancelled_ms = cancelled_ms;
    open_own(run);
    settle_own(core, run);
}

void run_changed(struct core *core, struct run *run)
{
    struct active_run *known = queue_find(&core->queue, run->id);
    if (run->started_ms == 0 || run->finished_ms != 0)
        return;
    if (known == NULL)
        run_started(core, run);
    else if (run->cancelled_ms != 0 && known->run.cancelled_ms == 0)
        run_cancelled(core, known, run->cancelled_ms);
}

void run_resume(struct core *core, struct active_run *run)
{
    if (run->is_dirty)
        run_progress_save_run(core, run);
    if (run->run.cancelled_ms != 0)
        open_own(run);
    settle_own(core, run);
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
    run->run.summary[slot] = summary_make(outcome, attempts);
    run->students_done += kind == JOB_STUDENT;
    run->students_cancelled += kind == JOB_STUDENT && outcome == OUTCOME_CANCELLED;
    run->is_dirty = true;
}

/* How the job went says something of its worker. */
static void judge_worker(struct core *core, const struct live_lease *lease,
                         const struct result *result)
{
    struct known_worker *worker = lease->worker;
    bool is_quick = core->now_ms - lease->leased_ms < WORKER_QUICK_MS;
    bool is_broken = result->outcome == OUTCOME_FAILED && result->is_silent && is_quick;
    if (strcmp(worker->id, result->worker) != 0)
        return;
    worker_acted(worker, core->now_ms);
    if (!worker_note_result(worker, is_broken, core->now_ms))
        return;
    metric_add(core->metrics, SCHEDULER_PAUSES, 1);
    log_error("worker paused: it fails every job at once, without any output",
              log_text("hostname", worker_hostname(worker)),
              log_number("failures", worker->quick_failures),
              log_number("pause_ms", WORKER_PAUSE_MS));
}

/* The job needs no more attempts. Returns how many leases of it counted. */
static uint32_t drop_attempts(struct core *core, struct active_run *run, uint32_t slot,
                              const struct result *result)
{
    struct live_lease *lease = lease_table_find(&core->leases, result->job);
    struct failed_attempts failed_attempts = {0};
    if (lease != NULL) {
        uint32_t counted = failed_attempts_total(&lease->failed_attempts) + 1;
        judge_worker(core, lease, result);
        lease_table_remove(&core->leases, lease);
        return counted;
    }
    if (queue_drop_retry(run, slot, &failed_attempts))
        return failed_attempts_total(&failed_attempts);
    return result->attempts;
}

void result_seen(struct core *core, const struct result *result)
{
    struct job_id job;
    uint32_t slot;
    struct known_worker *worker = worker_table_find(&core->workers, result->worker);
    if (worker != NULL)
        hear_of_life(core, worker, core->now_ms, "");
    if (!job_id_parse(result->job, &job))
        return;
    struct active_run *run = queue_find(&core->queue, job.run);
    if (run == NULL || !run_job_slot(run->run.has_pre, run->run.students, run->run.has_post,
                                     job.kind, job.index, &slot))
        return;
    if (slot_outcome(run, slot) != OUTCOME_NONE)
        return;
    metric_add(core->metrics, SCHEDULER_RESULTS, 1);
    if (run->own_pending > 0 && result->worker[0] == '\0')
        run->own_pending--;
    uint32_t attempts = drop_attempts(core, run, slot, result);
    run_note_result(run, slot, result, attempts);
    run_advance(core, run);
}

void run_saved(struct core *core, struct db_job *db_job)
{
    struct active_run *run = queue_find(&core->queue, db_job->run.id);
    if (run == NULL)
        return;
    run->is_saving = false;
    run->saved_ms = core->now_ms;
    if (db_job->code != BW_OK) {
        run->is_dirty = true; /* the next tick tries again */
        return;
    }
    run->run.phase = db_job->run.phase;
    if (run_phase_is_over(db_job->run.phase))
        queue_remove(&core->queue, run);
    else
        record_phase(core, run);
}

void progress_tick(struct core *core)
{
    struct active_run *run, *following;
    HASH_ITER (hh, core->queue.runs, run, following)
        if (run->is_dirty && core->now_ms - run->saved_ms >= SAVE_PAUSE_MS)
            run_progress_save_run(core, run);
}
