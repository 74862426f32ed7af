#include "scheduler/rules/lease_lifecycle.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/domain/lost_job.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/retry.h"
#include "scheduler/rules/spans.h"

enum { CHARGE_STEP_MS = 5000 };

void lease_becomes_unconfirmed(struct scheduler *scheduler, struct live_lease *lease,
                               int64_t hold_ms)
{
    if (lease->state == LEASE_ENDING)
        return;
    lease_unsend(lease);
    lease_set_state(lease, LEASE_UNCONFIRMED);
    lease->hold_ms = scheduler->now_ms + hold_ms;
}

static enum scheduler_metric hand_out_seconds_metric(enum protocol protocol)
{
#define METRIC(unused, protocol, ...) SCHEDULER_HAND_OUT_SECONDS_##protocol,
    static const enum scheduler_metric metrics[] = {PROTOCOL_MAP(METRIC, )};
#undef METRIC
    return metrics[protocol];
}

void lease_is_delivered(struct scheduler *scheduler, struct live_lease *lease)
{
    lease_unsend(lease);
    lease_set_state(lease, LEASE_DELIVERED);
    spans_handed_out(scheduler, lease);
    if (lease->worker->is_alive)
        (void)worker_seen(lease->worker, scheduler->now_ms, "");
    lease->worker->jobs_processed++;
    metric_add(scheduler->metrics, SCHEDULER_HAND_OUTS, 1);
    metric_observe_us(scheduler->metrics, hand_out_seconds_metric(lease->run->run.protocol),
                      (scheduler->now_ms - lease->leased_ms) * 1000);
}

void lease_remove(struct scheduler *scheduler, struct live_lease *lease)
{
    queue_order_correct(lease->run, lease->charged_ms,
                        (double)(scheduler->now_ms - lease->charged_from_ms));
    lease_table_remove(&scheduler->leases, lease);
}

void lease_withdraw(struct scheduler *scheduler, struct live_lease *lease)
{
    struct parked_poll *poll = NULL;
    if (lease->replica != NULL && !lease->is_sent)
        poll = replica_find_poll(lease->replica, lease->poll);
    if (poll != NULL)
        poll_unmatch(&scheduler->replicas, poll, lease->worker);
    lease_unsend(lease);
}

void lease_notify_worker(struct scheduler *scheduler, const struct live_lease *lease)
{
    const struct known_worker *worker = lease->worker;
    struct known_replica *replica = NULL;
    if (worker->is_socket)
        replica = replica_table_find(&scheduler->replicas, worker->socket_replica);
    if (replica == NULL || strcmp(replica->process, worker->socket_process) != 0 ||
        lease->state == LEASE_INSERTING)
        return;
    replica_notify(replica, LOST_JOB_WATCH, LOST_JOB_EVENT,
                   json_pack("{s:s,s:s}", "worker", worker->id, "job", lease->job));
}

bool lease_is_undelivered(const struct live_lease *lease)
{
    return lease->state == LEASE_UNCONFIRMED ||
           (lease->state == LEASE_DELIVERING && !lease->is_sent);
}

void lease_begin_end(struct scheduler *scheduler, struct live_lease *lease, enum lease_end end)
{
    if (lease->state == LEASE_ENDING || lease->state == LEASE_INSERTING)
        return;
    log_info("lease ends", log_text("job_id", lease->job), log_number("attempt", lease->attempt),
             log_text("end", lease_end_name(end)));
    lease_withdraw(scheduler, lease);
    lease_set_state(lease, LEASE_ENDING);
    lease->end = end;
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_END_LEASE);
    snprintf(db_job->lease.job, sizeof db_job->lease.job, "%s", lease->job);
    db_job->lease.attempt = lease->attempt;
    db_job->lease.term = scheduler->term;
    db_job->lease.end = end;
    scheduler_submit(scheduler, db_job);
}

void lease_end_completed(struct scheduler *scheduler, const struct db_job *db_job)
{
    struct live_lease *lease = lease_table_find(&scheduler->leases, db_job->lease.job);
    if (lease == NULL || lease->attempt != db_job->lease.attempt || lease->state != LEASE_ENDING)
        return; /* its result was stored first */
    if (db_job->code != BW_OK || !db_job->lease.has_ended) {
        scheduler->must_recover = true; /* unknown, or ended by another process */
        return;
    }
    struct active_run *run = lease->run;
    struct failed_attempts failed_attempts = lease->failed_attempts;
    uint32_t slot = lease->slot, attempt = lease->attempt;
    char avoid[WORKER_ID_SIZE] = "";
    spans_attempt_ended(scheduler, lease, lease_end_name(lease->end));
    failed_attempts_add(&failed_attempts, lease->end);
    if (lease->end != LEASE_RELEASED)
        snprintf(avoid, sizeof avoid, "%s", lease->worker->id);
    lease_notify_worker(scheduler, lease);
    lease_remove(scheduler, lease);
    metric_add(scheduler->metrics, SCHEDULER_REQUEUES, 1);
    job_retry(scheduler, run, slot, attempt + 1, &failed_attempts, avoid);
}

void lease_end_completed_late(struct scheduler *scheduler, const struct db_job *db_job)
{
    const struct live_lease *lease = lease_table_find(&scheduler->leases, db_job->lease.job);
    bool may_have_ended = db_job->code != BW_OK || db_job->lease.has_ended;
    if (!may_have_ended || lease == NULL || lease->attempt != db_job->lease.attempt)
        return;
    log_info("lease ended during a recovery, recovering again", log_text("job_id", lease->job),
             log_number("attempt", lease->attempt));
    scheduler->must_recover = true;
}

static void lease_expired(struct scheduler *scheduler, struct live_lease *lease)
{
    struct known_worker *worker = lease->worker;
    if (lease->state == LEASE_DELIVERED && !worker->has_overrun) {
        worker->has_overrun = true;
        log_warning("worker let a job's deadline pass",
                    log_text("hostname", worker_hostname(worker)), log_text("job_id", lease->job));
    }
    lease_begin_end(scheduler, lease, LEASE_EXPIRED);
}

/* A job that takes longer than is usual is charged while it runs, not only when it ends. */
static void lease_charge(const struct scheduler *scheduler, struct live_lease *lease)
{
    double took_ms = (double)(scheduler->now_ms - lease->charged_from_ms);
    if (took_ms < lease->charged_ms + CHARGE_STEP_MS)
        return;
    queue_order_charge(lease->run, took_ms - lease->charged_ms);
    lease->charged_ms = took_ms;
}

void lease_lifecycle_tick(struct scheduler *scheduler)
{
    struct live_lease *lease, *following;
    HASH_ITER (hh, scheduler->leases.leases, lease, following) {
        bool is_over = scheduler->now_ms >= lease->deadline_ms;
        lease_charge(scheduler, lease);
        bool is_held_enough = lease->state == LEASE_UNCONFIRMED &&
                              scheduler->now_ms >= lease->hold_ms;
        if (is_held_enough || (is_over && lease_is_undelivered(lease)))
            lease_begin_end(scheduler, lease, LEASE_RELEASED);
        else if (is_over)
            lease_expired(scheduler, lease);
    }
}
