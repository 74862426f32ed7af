#include "scheduler/rules/retention_schedule.h"

#include "common/base/log.h"

enum { SHORTEST_PAUSE_MS = 1000, LONGEST_PAUSE_MS = 60000 };

/* What is old: every minute, or more often where it is kept for less than ten. */
static int64_t retention_pause_ms(int64_t retain_ms)
{
    if (retain_ms / 10 > LONGEST_PAUSE_MS)
        return LONGEST_PAUSE_MS;
    return retain_ms / 10 > SHORTEST_PAUSE_MS ? retain_ms / 10 : SHORTEST_PAUSE_MS;
}

static void remove_old_runs(struct scheduler *scheduler)
{
    struct retention_schedule *schedule = &scheduler->retention;
    int64_t retain_ms = scheduler->settings.retain_runs_ms;
    if (retain_ms == 0 || schedule->is_removing_runs ||
        scheduler->now_ms - schedule->runs_ms < retention_pause_ms(retain_ms))
        return;
    schedule->runs_ms = scheduler->now_ms;
    schedule->is_removing_runs = true;
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_REMOVE_RUNS);
    db_job->removed.now_ms = scheduler->date_ms;
    db_job->removed.retain_ms = retain_ms;
    db_job->removed.job_timeout_ms = scheduler->settings.job_timeout_ms;
    scheduler_submit(scheduler, db_job);
}

static void remove_old_audit(struct scheduler *scheduler)
{
    struct retention_schedule *schedule = &scheduler->retention;
    int64_t retain_ms = scheduler->settings.retain_audit_ms;
    if (retain_ms == 0 || schedule->is_removing_audit ||
        scheduler->now_ms - schedule->audit_ms < retention_pause_ms(retain_ms))
        return;
    schedule->audit_ms = scheduler->now_ms;
    schedule->is_removing_audit = true;
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_REMOVE_AUDIT);
    db_job->removed.now_ms = scheduler->date_ms;
    db_job->removed.retain_ms = retain_ms;
    scheduler_submit(scheduler, db_job);
}

static void remove_orphans(struct scheduler *scheduler)
{
    struct retention_schedule *schedule = &scheduler->retention;
    if (schedule->orphans_ms == 0)
        schedule->orphans_ms = scheduler->now_ms; /* the start is busy enough */
    if (schedule->is_removing_orphans ||
        scheduler->now_ms - schedule->orphans_ms < scheduler->settings.orphan_age_ms)
        return;
    schedule->orphans_ms = scheduler->now_ms;
    schedule->is_removing_orphans = true;
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_REMOVE_ORPHANS);
    db_job->removed.now_ms = scheduler->date_ms;
    db_job->removed.retain_ms = scheduler->settings.orphan_age_ms;
    scheduler_submit(scheduler, db_job);
}

void retention_schedule_tick(struct scheduler *scheduler)
{
    remove_old_runs(scheduler);
    remove_old_audit(scheduler);
    remove_orphans(scheduler);
}

void retention_schedule_completed(struct scheduler *scheduler, const struct db_job *db_job)
{
    int64_t count = (int64_t)db_job->removed.count;
    bool is_removed = db_job->code == BW_OK && count > 0;
    if (db_job->kind == DB_JOB_REMOVE_RUNS) {
        scheduler->retention.is_removing_runs = false;
        if (is_removed)
            log_info("old runs removed", log_number("runs", count));
    } else if (db_job->kind == DB_JOB_REMOVE_AUDIT) {
        scheduler->retention.is_removing_audit = false;
        if (is_removed)
            log_info("old entries of the audit removed", log_number("documents", count));
    } else {
        scheduler->retention.is_removing_orphans = false;
        if (is_removed)
            log_info("orphans removed", log_number("documents", count));
    }
}
