#include "scheduler/rules/decide.h"

#include "scheduler/metrics.h"
#include "scheduler/rules/dispatch.h"
#include "scheduler/rules/estimate.h"
#include "scheduler/rules/gauges.h"
#include "scheduler/rules/history.h"
#include "scheduler/rules/job_return.h"
#include "scheduler/rules/job_times.h"
#include "scheduler/rules/missing_graders.h"
#include "scheduler/rules/lease_lifecycle.h"
#include "scheduler/rules/pausing.h"
#include "scheduler/rules/query_answers.h"
#include "scheduler/rules/reconcile.h"
#include "scheduler/rules/replica_callbacks.h"
#include "scheduler/rules/replica_liveness.h"
#include "scheduler/rules/retention_schedule.h"
#include "scheduler/rules/run_progress.h"
#include "scheduler/rules/replica_signals.h"
#include "scheduler/rules/supersede.h"
#include "scheduler/rules/watch_notify.h"
#include "scheduler/rules/webhooks.h"
#include "scheduler/rules/worker_liveness.h"
#include "scheduler/rules/worker_record.h"

enum {
    GAP_MS = 1000,       /* a longer time between two ticks is a gap */
    STREAM_GAP_MS = 2000 /* likewise between two answers of the change stream */
};

static void decide_db_job(struct scheduler *scheduler, struct db_job *db_job)
{
    switch (db_job->kind) {
    case DB_JOB_END_LEASE:
        lease_end_completed(scheduler, db_job);
        break;
    case DB_JOB_SAVE_RUN:
        run_save_completed(scheduler, db_job);
        break;
    case DB_JOB_PLACE_RUN:
        supersede_place_completed(scheduler, db_job);
        break;
    case DB_JOB_READ_WORKER:
        replica_signals_take_read(scheduler, db_job);
        break;
    case DB_JOB_FIND_RUNS:
    case DB_JOB_FIND_RESULTS:
    case DB_JOB_FIND_SIGNALS:
    case DB_JOB_SAMPLE_CLOCK:
        reconcile_completed(scheduler, db_job);
        break;
    case DB_JOB_REMOVE_RUNS:
    case DB_JOB_REMOVE_ORPHANS:
    case DB_JOB_REMOVE_AUDIT:
        retention_schedule_completed(scheduler, db_job);
        break;
    case DB_JOB_NOTE_GRADERS:
        missing_graders_completed(scheduler, db_job);
        break;
    case DB_JOB_MARK_WORKERS:
        worker_record_completed(scheduler);
        break;
    case DB_JOB_READ_PAUSES:
    case DB_JOB_INSERT_PAUSE:
        pausing_completed(scheduler, db_job);
        break;
    case DB_JOB_RECORD_EVENTS:
        webhooks_completed(scheduler, db_job);
        break;
    case DB_JOB_READ_TIMES:
    case DB_JOB_SAVE_TIMES:
        job_times_completed(scheduler, db_job);
        break;
    case DB_JOB_DELETE_WORKER:
    case DB_JOB_FORGET_PAUSES:
    case DB_JOB_RECORD_SAMPLE: /* without the database a step has no sample */
        break;
    }
}

/* Handles an event of this generation. */
static void decide_handle(struct scheduler *scheduler, struct event *event)
{
    switch (event->kind) {
    case EVENT_RUN_CHANGED:
        run_changed(scheduler, &event->run);
        break;
    case EVENT_RESULT:
        result_seen(scheduler, &event->result);
        break;
    case EVENT_RETURNED:
        job_returned(scheduler, &event->returned);
        break;
    case EVENT_SIGNAL:
        scheduler->reconcile.streamed_ms = scheduler->now_ms;
        replica_signals_take(scheduler, &event->signal);
        break;
    case EVENT_WORKER:
        replica_signals_take_worker(scheduler, &event->worker);
        break;
    case EVENT_STREAM_LOST:
        scheduler->must_recover = true;
        break;
    case EVENT_LEASED:
        dispatch_lease_completed(scheduler, &event->leased.insert, event->leased.outcome);
        break;
    case EVENT_GIVEN_UP:
        run_result_completed(scheduler, &event->given_up.result, event->given_up.inserted,
                             event->given_up.outcome);
        break;
    case EVENT_CALLBACK:
        replica_callbacks_completed(scheduler, event->callback);
        break;
    case EVENT_DB_JOB:
        decide_db_job(scheduler, event->db_job);
        break;
    case EVENT_MARK:
    case EVENT_DEPOSED:
    case EVENT_STOP:
        break;
    }
}

/* Handles an event that an earlier generation asked for. */
static void decide_handle_late(struct scheduler *scheduler, const struct event *event)
{
    if (event->kind != EVENT_DB_JOB)
        return;
    const struct db_job *db_job = event->db_job;
    if (db_job->kind == DB_JOB_RECORD_EVENTS)
        webhooks_completed(scheduler, event->db_job);
    if (db_job->kind == DB_JOB_END_LEASE)
        lease_end_completed_late(scheduler, db_job);
    if (db_job->kind == DB_JOB_READ_TIMES || db_job->kind == DB_JOB_SAVE_TIMES)
        job_times_completed_late(scheduler, db_job);
}

void decide_event(struct scheduler *scheduler, struct event *event)
{
    bool is_outside = event->kind == EVENT_STOP || event->kind == EVENT_DEPOSED;
    scheduler->is_stopping = scheduler->is_stopping || event->kind == EVENT_STOP;
    metric_add(scheduler->metrics, SCHEDULER_EVENTS, 1);
    if (!is_outside && event->generation == scheduler->generation)
        decide_handle(scheduler, event);
    else if (!is_outside)
        decide_handle_late(scheduler, event);
    event_free(event);
}

/* While this process or the change stream was paused, no heartbeat could arrive: the pause does not
 * count as silence. */
static void extend_deadlines(struct scheduler *scheduler)
{
    int64_t tick_gap_ms = scheduler->now_ms - scheduler->ticked_ms - DECIDE_TICK_MS;
    int64_t stream_gap_ms = scheduler->now_ms - scheduler->stream_seen_ms;
    if (tick_gap_ms > GAP_MS)
        worker_table_extend_deadlines(&scheduler->workers, tick_gap_ms, scheduler->now_ms);
    else if (stream_gap_ms > STREAM_GAP_MS)
        worker_table_extend_deadlines(&scheduler->workers, scheduler->now_ms - scheduler->ticked_ms,
                                      scheduler->now_ms);
}

void decide_tick(struct scheduler *scheduler)
{
    if (scheduler->now_ms - scheduler->ticked_ms < DECIDE_TICK_MS)
        return;
    extend_deadlines(scheduler);
    scheduler->ticked_ms = scheduler->now_ms;
    worker_liveness_tick(scheduler);
    lease_lifecycle_tick(scheduler);
    replica_liveness_tick(scheduler);
    pausing_tick(scheduler);
    queue_wake(&scheduler->queue, scheduler->now_ms);
    run_progress_tick(scheduler);
    reconcile_tick(scheduler);
    retention_schedule_tick(scheduler);
    webhooks_tick(scheduler);
    gauges_tick(scheduler);
    history_tick(scheduler);
    job_times_tick(scheduler);
    estimate_tick(scheduler);
}

/* Opens hand-outs once every live replica has seen this term and sent a full resync, or when the
 * grace period is over. A replica that has seen this term ignores callbacks of former leaders. A
 * lease that is unconfirmed after the resync stays unconfirmed until its worker polls. A replica
 * that can't be reached delays hand-outs only for the grace period. */
static void open_hand_outs(struct scheduler *scheduler)
{
    const struct known_replica *replica, *following;
    if (scheduler->now_ms >= scheduler->opens_ms || scheduler->replicas.replicas == NULL)
        return;
    HASH_ITER (hh, scheduler->replicas.replicas, replica, following)
        if (!replica->in_contact || !replica->has_resynced)
            return;
    scheduler->opens_ms = scheduler->now_ms;
}

bool decide_round(struct scheduler *scheduler)
{
    if (!scheduler->is_handing_out) {
        open_hand_outs(scheduler);
        pausing_round(scheduler);
        query_answers_round(scheduler);
        watch_notify_round(scheduler);
    }
    scheduler->is_handing_out = dispatch_round(scheduler);
    if (scheduler->is_handing_out)
        return true;
    replica_callbacks_round(scheduler);
    worker_record_round(scheduler);
    return false;
}

void decide_shutdown_round(struct scheduler *scheduler)
{
    replica_callbacks_round(scheduler);
    worker_record_round(scheduler);
}

bool decide_has_hand_outs(const struct scheduler *scheduler)
{
    const struct live_lease *lease, *following;
    HASH_ITER (hh, scheduler->leases.leases, lease, following)
        if (lease->state == LEASE_INSERTING || lease->state == LEASE_DELIVERING)
            return true;
    return false;
}
