#include "scheduler/rules/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "scheduler/core/core.h"
#include "scheduler/options.h"
#include "scheduler/metrics.h"

enum {
    AGE_PAUSE_MS = 60000,
    SHORTEST_MS = 500,
    LONGEST_MS = 5000,
    LEASES_AT_ONCE = 512,
    SIGN_OF_LIFE_MS = 2500, /* every replica sends one more often */
    SIGNALS_PAUSE_MS = 400, /* polls wait, some of them for a second only */
    SIGNALS_OVERLAP_MS = 5000,
    CLOCK_PAUSE_MS = 1000,
    COUNTS_PAUSE_MS = 5000,
    COUNTS_AT_ONCE = 32
};

void reconcile_reset(struct reconcile *reconcile)
{
    free(reconcile->missed);
    memset(reconcile, 0, sizeof *reconcile);
}

static int64_t interval_ms(const struct core *core)
{
    int64_t half_ms = core->heartbeat_ms / 2;
    if (half_ms < SHORTEST_MS)
        return SHORTEST_MS;
    return half_ms < LONGEST_MS ? half_ms : LONGEST_MS;
}

static void look_for_runs(struct core *core)
{
    core->reconcile.under_way++;
    db_jobs_submit(core->db_jobs, db_job_new(DB_JOB_FIND_RUNS, core->generation));
}

/* Some of the leased jobs each time, one part after the other. Those that were handed out a moment
 * ago need no look. */
static void look_for_results(struct core *core)
{
    struct db_job *db_job = db_job_new(DB_JOB_FIND_RESULTS, core->generation);
    const struct live_lease *lease, *following;
    size_t at = 0, first = core->reconcile.first_lease;
    db_job->wanted.jobs = bw_alloc_array(LEASES_AT_ONCE, sizeof *db_job->wanted.jobs);
    HASH_ITER (hh, core->leases.leases, lease, following) {
        if (at++ < first || core->now_ms - lease->leased_ms < interval_ms(core))
            continue;
        if (db_job->wanted.count == LEASES_AT_ONCE)
            break;
        memcpy(db_job->wanted.jobs[db_job->wanted.count++], lease->job, JOB_ID_SIZE);
    }
    core->reconcile.first_lease = db_job->wanted.count == LEASES_AT_ONCE ? at - 1 : 0;
    if (db_job->wanted.count == 0) {
        db_job_free(db_job);
        return;
    }
    core->reconcile.under_way++;
    db_jobs_submit(core->db_jobs, db_job);
}

/* Old runs: every minute, or more often where they are kept for less than ten. */
static void look_for_old_runs(struct core *core)
{
    int64_t retain_ms = core->options->retain_runs_ms;
    int64_t pause_ms = retain_ms / 10 < AGE_PAUSE_MS ? retain_ms / 10 : AGE_PAUSE_MS;
    if (retain_ms == 0 || core->now_ms - core->reconcile.aged_ms < pause_ms)
        return;
    core->reconcile.aged_ms = core->now_ms;
    struct db_job *db_job = db_job_new(DB_JOB_REMOVE_RUNS, core->generation);
    db_job->removed.now_ms = database_now_ms(core->database);
    db_job->removed.before_ms = db_job->removed.now_ms - retain_ms;
    db_job->removed.job_timeout_ms = core->job_timeout_ms;
    core->reconcile.under_way++;
    db_jobs_submit(core->db_jobs, db_job);
}

static void look_for_orphans(struct core *core)
{
    if (core->reconcile.orphaned_ms == 0)
        core->reconcile.orphaned_ms = core->now_ms; /* the start is busy enough */
    if (core->now_ms - core->reconcile.orphaned_ms < core->options->orphan_age_ms)
        return;
    core->reconcile.orphaned_ms = core->now_ms;
    core->reconcile.under_way++;
    db_jobs_submit(core->db_jobs, db_job_new(DB_JOB_REMOVE_ORPHANS, core->generation));
}

/* A stream that brings no signal for longer than a replica is ever silent has lost them, or there
 * are none: then they are read. What was heard before is told by its number. */
static void look_for_signals(struct core *core)
{
    int64_t silence_ms = core->heartbeat_ms < SIGN_OF_LIFE_MS ? core->heartbeat_ms
                                                              : SIGN_OF_LIFE_MS;
    if (core->reconcile.streamed_ms == 0)
        core->reconcile.streamed_ms = core->now_ms;
    if (core->reconcile.is_looking || core->now_ms - core->reconcile.streamed_ms < silence_ms ||
        core->now_ms - core->reconcile.heard_ms < SIGNALS_PAUSE_MS)
        return;
    core->reconcile.heard_ms = core->now_ms;
    core->reconcile.is_looking = true;
    struct db_job *db_job = db_job_new(DB_JOB_FIND_SIGNALS, core->generation);
    db_job->unheard.age_ms = SIGNALS_OVERLAP_MS;
    db_jobs_submit(core->db_jobs, db_job);
}

/* The dates that this leader writes and compares follow a step of the database's clock within a
 * second or two. */
static void look_at_clock(struct core *core)
{
    if (core->reconcile.is_sampling || core->now_ms - core->reconcile.sampled_ms < CLOCK_PAUSE_MS)
        return;
    core->reconcile.sampled_ms = core->now_ms;
    core->reconcile.is_sampling = true;
    db_jobs_submit(core->db_jobs, db_job_new(DB_JOB_SAMPLE_CLOCK, core->generation));
}

/* Counts that no mark has recorded would be lost with this leader. Each is an update of its own, so
 * some workers' each time, one part after the other. */
static void record_counts(struct core *core)
{
    struct known_worker *worker, *following;
    size_t at = 0, recorded = 0, first = core->reconcile.first_worker;
    if (core->now_ms - core->reconcile.counted_ms < COUNTS_PAUSE_MS)
        return;
    core->reconcile.counted_ms = core->now_ms;
    HASH_ITER (hh, core->workers.workers, worker, following) {
        if (at++ < first || worker->epoch == 0 || worker->jobs_recorded == worker->jobs_processed)
            continue;
        if (recorded == COUNTS_AT_ONCE)
            break;
        record_worker(core, worker);
        recorded++;
    }
    core->reconcile.first_worker = recorded == COUNTS_AT_ONCE ? at - 1 : 0;
}

void reconcile_tick(struct core *core)
{
    look_at_clock(core);
    look_for_signals(core);
    record_counts(core);
    if (core->reconcile.under_way > 0 ||
        core->now_ms - core->reconcile.begun_ms < interval_ms(core))
        return;
    core->reconcile.begun_ms = core->now_ms;
    forget_asked_workers(core, core->now_ms - interval_ms(core));
    look_for_runs(core);
    look_for_results(core);
    look_for_old_runs(core);
    look_for_orphans(core);
}

static bool was_missed(const struct reconcile *reconcile, const char *run_id)
{
    for (size_t i = 0; i < reconcile->missed_count; i++)
        if (strcmp(reconcile->missed[i], run_id) == 0)
            return true;
    return false;
}

/* A run that the queue lacks may have ended since it was read. Only one that is still active when
 * it is read again has really been missed. */
static void take_runs(struct core *core, struct db_job *db_job)
{
    char(*missed)[RUN_ID_SIZE] = calloc(db_job->found.count + 1, sizeof *missed);
    size_t count = 0;
    if (missed == NULL)
        abort();
    for (size_t i = 0; i < db_job->found.count; i++) {
        struct run *run = &db_job->found.runs[i];
        if (queue_find(&core->queue, run->id) != NULL) {
            run_changed(core, run);
        } else if (was_missed(&core->reconcile, run->id)) {
            log_warning("a started run was found by looking", log_text("run_id", run->id));
            metric_add(core->metrics, SCHEDULER_MISSED, 1);
            run_changed(core, run);
        } else {
            memcpy(missed[count++], run->id, RUN_ID_SIZE);
        }
    }
    free(core->reconcile.missed);
    core->reconcile.missed = missed;
    core->reconcile.missed_count = count;
}

static void take_signals(struct core *core, struct db_job *db_job)
{
    core->reconcile.is_looking = false;
    for (size_t i = 0; i < db_job->unheard.count; i++)
        if (hear_signal(core, &db_job->unheard.signals[i]))
            metric_add(core->metrics, SCHEDULER_MISSED, 1);
}

void reconcile_seen(struct core *core, struct db_job *db_job)
{
    if (db_job->kind == DB_JOB_SAMPLE_CLOCK) {
        core->reconcile.is_sampling = false;
        return;
    }
    if (db_job->kind == DB_JOB_FIND_SIGNALS) {
        take_signals(core, db_job);
        return;
    }
    core->reconcile.under_way--;
    if (db_job->code != BW_OK)
        return; /* the next look is as good */
    if (db_job->kind == DB_JOB_FIND_RUNS)
        take_runs(core, db_job);
    if (db_job->kind == DB_JOB_REMOVE_RUNS && db_job->removed.count > 0)
        log_info("old runs removed", log_number("runs", (int64_t)db_job->removed.count));
    if (db_job->kind == DB_JOB_REMOVE_ORPHANS && db_job->removed.count > 0)
        log_info("orphans removed", log_number("documents", (int64_t)db_job->removed.count));
}
