#include "scheduler/rules/reconcile.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/asked_workers.h"
#include "scheduler/rules/pausing.h"
#include "scheduler/rules/run_progress.h"
#include "scheduler/rules/replica_signals.h"
#include "scheduler/rules/worker_record.h"

enum {
    SHORTEST_MS = 500,
    LONGEST_MS = 5000,
    LEASES_AT_ONCE = 512,
    HEARTBEAT_MS = 2500,    /* every replica sends one more often */
    SIGNALS_PAUSE_MS = 400, /* polls wait, some of them for a second only */
    SIGNALS_OVERLAP_MS = 5000,
    CLOCK_PAUSE_MS = 1000,
    COUNTS_PAUSE_MS = 5000,
    COUNTS_AT_ONCE = 32
};

static int64_t interval_ms(const struct scheduler *scheduler)
{
    int64_t half_ms = scheduler->settings.heartbeat_ms / 2;
    if (half_ms < SHORTEST_MS)
        return SHORTEST_MS;
    return half_ms < LONGEST_MS ? half_ms : LONGEST_MS;
}

static void find_runs(struct scheduler *scheduler)
{
    scheduler->reconcile.in_flight++;
    scheduler_submit(scheduler, scheduler_db_job(scheduler, DB_JOB_FIND_RUNS));
}

/* Some of the leased jobs each time, one part after the other. Those that were handed out a moment
 * ago are skipped. */
static void find_results(struct scheduler *scheduler)
{
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_FIND_RESULTS);
    const struct live_lease *lease, *following;
    size_t at = 0, first = scheduler->reconcile.first_lease;
    db_job->wanted.jobs = bw_alloc_array(LEASES_AT_ONCE, sizeof *db_job->wanted.jobs);
    db_job->wanted.attempts = bw_alloc_array(LEASES_AT_ONCE, sizeof *db_job->wanted.attempts);
    HASH_ITER (hh, scheduler->leases.leases, lease, following) {
        if (at++ < first || scheduler->now_ms - lease->leased_ms < interval_ms(scheduler))
            continue;
        if (db_job->wanted.count == LEASES_AT_ONCE)
            break;
        memcpy(db_job->wanted.jobs[db_job->wanted.count], lease->job, JOB_ID_SIZE);
        db_job->wanted.attempts[db_job->wanted.count++] = lease->attempt;
    }
    scheduler->reconcile.first_lease = db_job->wanted.count == LEASES_AT_ONCE ? at - 1 : 0;
    if (db_job->wanted.count == 0) {
        db_job_free(db_job);
        return;
    }
    scheduler->reconcile.in_flight++;
    scheduler_submit(scheduler, db_job);
}

/* If the stream delivers no signal for longer than a replica's heartbeat interval, it has lost
 * signals or there are no replicas: the stored signals are read. Signals that were applied before
 * are recognized by their numbers. */
static void find_signals(struct scheduler *scheduler)
{
    int64_t silence_ms = scheduler->settings.heartbeat_ms < HEARTBEAT_MS
                             ? scheduler->settings.heartbeat_ms
                             : HEARTBEAT_MS;
    if (scheduler->reconcile.streamed_ms == 0)
        scheduler->reconcile.streamed_ms = scheduler->now_ms;
    if (scheduler->reconcile.is_scanning ||
        scheduler->now_ms - scheduler->reconcile.streamed_ms < silence_ms ||
        scheduler->now_ms - scheduler->reconcile.scanned_ms < SIGNALS_PAUSE_MS)
        return;
    scheduler->reconcile.scanned_ms = scheduler->now_ms;
    scheduler->reconcile.is_scanning = true;
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_FIND_SIGNALS);
    db_job->found_signals.age_ms = SIGNALS_OVERLAP_MS;
    scheduler_submit(scheduler, db_job);
}

/* The dates that this leader writes and compares follow a step of the database's clock within a
 * second or two. */
static void sample_clock(struct scheduler *scheduler)
{
    if (scheduler->reconcile.is_sampling ||
        scheduler->now_ms - scheduler->reconcile.sampled_ms < CLOCK_PAUSE_MS)
        return;
    scheduler->reconcile.sampled_ms = scheduler->now_ms;
    scheduler->reconcile.is_sampling = true;
    scheduler_submit(scheduler, scheduler_db_job(scheduler, DB_JOB_SAMPLE_CLOCK));
}

/* Counts that no mark has recorded would be lost with this leader. Each is an update of its own, so
 * some workers' each time, one part after the other. */
static void record_counts(struct scheduler *scheduler)
{
    struct known_worker *worker, *following;
    size_t at = 0, recorded = 0, first = scheduler->reconcile.first_worker;
    if (scheduler->now_ms - scheduler->reconcile.counted_ms < COUNTS_PAUSE_MS)
        return;
    scheduler->reconcile.counted_ms = scheduler->now_ms;
    HASH_ITER (hh, scheduler->workers.workers, worker, following) {
        if (at++ < first || worker->epoch == 0 || worker->jobs_recorded == worker->jobs_processed)
            continue;
        if (recorded == COUNTS_AT_ONCE)
            break;
        worker_record(scheduler, worker);
        recorded++;
    }
    scheduler->reconcile.first_worker = recorded == COUNTS_AT_ONCE ? at - 1 : 0;
}

void reconcile_tick(struct scheduler *scheduler)
{
    sample_clock(scheduler);
    find_signals(scheduler);
    record_counts(scheduler);
    if (scheduler->reconcile.in_flight > 0 ||
        scheduler->now_ms - scheduler->reconcile.begun_ms < interval_ms(scheduler))
        return;
    scheduler->reconcile.begun_ms = scheduler->now_ms;
    asked_workers_forget(scheduler, scheduler->now_ms - interval_ms(scheduler));
    find_runs(scheduler);
    find_results(scheduler);
    (void)pausing_want(scheduler);
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
static void take_runs(struct scheduler *scheduler, struct db_job *db_job)
{
    char(*missed)[RUN_ID_SIZE] = bw_alloc_array(db_job->found.count, sizeof *missed);
    size_t count = 0;
    for (size_t i = 0; i < db_job->found.count; i++) {
        struct run *run = &db_job->found.runs[i];
        if (queue_find(&scheduler->queue, run->id) != NULL) {
            run_changed(scheduler, run);
        } else if (was_missed(&scheduler->reconcile, run->id)) {
            log_warning("a started run was recovered by reconcile", log_text("run_id", run->id));
            metric_add(scheduler->metrics, SCHEDULER_MISSED, 1);
            run_changed(scheduler, run);
        } else {
            memcpy(missed[count++], run->id, RUN_ID_SIZE);
        }
    }
    free(scheduler->reconcile.missed);
    scheduler->reconcile.missed = missed;
    scheduler->reconcile.missed_count = count;
}

static void take_signals(struct scheduler *scheduler, struct db_job *db_job)
{
    scheduler->reconcile.is_scanning = false;
    for (size_t i = 0; i < db_job->found_signals.count; i++)
        if (replica_signals_take(scheduler, &db_job->found_signals.signals[i]))
            metric_add(scheduler->metrics, SCHEDULER_MISSED, 1);
}

void reconcile_completed(struct scheduler *scheduler, struct db_job *db_job)
{
    if (db_job->kind == DB_JOB_SAMPLE_CLOCK) {
        scheduler->reconcile.is_sampling = false;
        return;
    }
    if (db_job->kind == DB_JOB_FIND_SIGNALS) {
        take_signals(scheduler, db_job);
        return;
    }
    scheduler->reconcile.in_flight--;
    if (db_job->code != BW_OK)
        return; /* the next pass repeats it */
    if (db_job->kind == DB_JOB_FIND_RUNS)
        take_runs(scheduler, db_job);
}
