#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "scheduler/core/core.h"
#include "scheduler/metrics.h"

enum {
    RESULT_TRY_MS = 60000,
    ANSWERED_MEMORY_MS = 10000,
    REPLICA_MEMORY_MS = 60000,
    DEAD_WORKER_MEMORY_MS = 24 * 3600 * 1000,
    PURGE_PAUSE_MS = 600 * 1000
};

/* An insert of a result under way. */
struct pending_result {
    struct result_commit commit; /* first */
    struct inbox *inbox;
    int64_t generation;
    enum commit_outcome outcome;
    struct result settled; /* what the job has: ours, or what was first */
};

void pending_result_free(struct pending_result *pending)
{
    free(pending);
}

uint32_t run_max_attempts(const struct core *core, const struct active_run *run)
{
    uint32_t own = (uint32_t)run->run.max_attempts;
    return own > 0 && own < core->max_attempts ? own : core->max_attempts;
}

/* On the store's thread. */
static void requeue_result_settled(struct result_commit *commit, enum commit_outcome outcome,
                                   const struct result *existing)
{
    struct pending_result *pending = (struct pending_result *)commit;
    pending->outcome = outcome;
    pending->settled = existing != NULL ? *existing : commit->result;
    struct event *event = event_new(EVENT_GIVEN_UP, pending->generation);
    event->given_up = pending;
    inbox_post(pending->inbox, event);
}

void job_settle(struct core *core, struct active_run *run, uint32_t slot, enum job_outcome outcome,
                uint32_t attempts, const char *reason)
{
    struct pending_result *pending = bw_alloc(sizeof *pending);
    enum job_kind kind;
    uint32_t index;
    struct result *result = &pending->commit.result;
    run_slot_job(run->run.has_pre, run->run.students, slot, &kind, &index);
    job_id_make(run->run.id, kind, index, result->job);
    result->outcome = outcome;
    result->attempts = attempts;
    snprintf(result->reason, sizeof result->reason, "%s", reason);
    pending->inbox = core->inbox;
    pending->generation = core->generation;
    pending->commit.settled = requeue_result_settled;
    result_store_insert(core->results, &pending->commit, RESULT_TRY_MS);
}

void given_up_settled(struct core *core, struct pending_result *pending)
{
    /* The stream brings the result as well; what is seen twice changes nothing. */
    if (pending->outcome == COMMIT_DONE || pending->outcome == COMMIT_DUPLICATE)
        result_seen(core, &pending->settled);
    else
        core->must_recover = true;
    if (pending->commit.result.outcome == OUTCOME_FAILED)
        core->giving_up--;
    pending_result_free(pending);
}

void failed_attempts_add(struct failed_attempts *failed_attempts, enum lease_end end)
{
    failed_attempts->lost += end == LEASE_LOST;
    failed_attempts->expired += end == LEASE_EXPIRED;
    failed_attempts->undeliverable += end == LEASE_UNDELIVERABLE;
}

/* "grader lost 2 times, deadline passed 1 time" */
static void describe_failed_attempts(const struct failed_attempts *failed_attempts, char *reason,
                                     size_t size)
{
    const struct {
        const char *text;
        uint32_t count;
    } parts[] = {
        {"grader lost", failed_attempts->lost},
        {"deadline passed", failed_attempts->expired},
        {"could not be delivered", failed_attempts->undeliverable},
    };
    size_t length = 0;
    reason[0] = '\0';
    for (size_t i = 0; i < sizeof parts / sizeof *parts && length < size; i++)
        if (parts[i].count > 0)
            length += (size_t)snprintf(reason + length, size - length, "%s%s %u time%s",
                                       length > 0 ? ", " : "", parts[i].text, parts[i].count,
                                       parts[i].count == 1 ? "" : "s");
}

/* The first retry comes at once, the second after 5 s, all further ones after 25 s. */
static int64_t retry_pause_ms(uint32_t failed_attempts)
{
    static const int64_t pauses_ms[] = {0, 0, 5000, 25000};
    return pauses_ms[failed_attempts < 3 ? failed_attempts : 3];
}

void job_try_again(struct core *core, struct active_run *run, uint32_t slot, uint32_t attempt,
                   const struct failed_attempts *failed_attempts, const char *avoid)
{
    uint32_t total = failed_attempts_total(failed_attempts);
    if (run->run.cancelled_ms != 0)
        return; /* its result is on the way */
    if (total >= run_max_attempts(core, run)) {
        char reason[REASON_SIZE];
        describe_failed_attempts(failed_attempts, reason, sizeof reason);
        metric_add(core->metrics, SCHEDULER_JOBS_GIVEN_UP, 1);
        log_warning("job given up", log_text("run_id", run->run.id), log_number("slot", slot),
                    log_text("reason", reason));
        core->giving_up++;
        job_settle(core, run, slot, OUTCOME_FAILED, total, reason);
        return;
    }
    struct retry retry = {
        .slot = slot,
        .attempt = attempt,
        .failed_attempts = *failed_attempts,
        .due_ms = core->now_ms + retry_pause_ms(total),
    };
    strncpy(retry.avoid, avoid, sizeof retry.avoid - 1);
    queue_retry(run, &retry, core->now_ms);
}

void lease_begin_end(struct core *core, struct live_lease *lease, enum lease_end end)
{
    if (lease->state == LEASE_ENDING || lease->state == LEASE_INSERTING)
        return;
    log_info("lease ends", log_text("job_id", lease->job), log_number("attempt", lease->attempt),
             log_text("end", lease_end_name(end)));
    lease_unsend(lease);
    lease_set_state(lease, LEASE_ENDING);
    lease->end = end;
    struct db_job *db_job = db_job_new(DB_JOB_END_LEASE, core->generation);
    snprintf(db_job->lease.job, sizeof db_job->lease.job, "%s", lease->job);
    db_job->lease.attempt = lease->attempt;
    db_job->lease.term = core->term;
    db_job->lease.end = end;
    db_jobs_submit(core->db_jobs, db_job);
}

void lease_ended(struct core *core, struct db_job *db_job)
{
    struct live_lease *lease = lease_table_find(&core->leases, db_job->lease.job);
    if (lease == NULL || lease->attempt != db_job->lease.attempt || lease->state != LEASE_ENDING)
        return; /* its result came first */
    if (!MUTANT("give_up_unended") && (db_job->code != BW_OK || !db_job->lease.has_ended)) {
        core->must_recover = true; /* not known, or somebody else's doing */
        return;
    }
    struct active_run *run = lease->run;
    struct failed_attempts failed_attempts = lease->failed_attempts;
    uint32_t slot = lease->slot, attempt = lease->attempt;
    char avoid[WORKER_ID_SIZE] = "";
    failed_attempts_add(&failed_attempts, lease->end);
    if (lease->end != LEASE_RELEASED)
        snprintf(avoid, sizeof avoid, "%s", lease->worker->id);
    lease_table_remove(&core->leases, lease);
    metric_add(core->metrics, SCHEDULER_REQUEUES, 1);
    job_try_again(core, run, slot, attempt + (MUTANT("skips_an_attempt") ? 2 : 1), &failed_attempts,
                  avoid);
}

/* What the worker had is lost; what it may never have had goes back without a failed attempt. */
void worker_lost(struct core *core, struct known_worker *worker)
{
    struct live_lease *lease, *following;
    worker_declare_dead(&core->workers, worker);
    log_warning("worker dead", log_text("hostname", worker_hostname(worker)),
                log_number("silent_ms", core->now_ms - worker->heard_ms),
                log_number("leases", worker->held));
    DL_FOREACH_SAFE2(worker->leases, lease, following, worker_next)
    lease_begin_end(core, lease, lease->state == LEASE_UNCONFIRMED ? LEASE_RELEASED : LEASE_LOST);
    record_worker(core, worker);
}

/* How long the worker's replica has said nothing, beyond what is usual. */
static int64_t replica_silence_ms(const struct core *core, const struct known_worker *worker)
{
    const struct known_replica *replica = replica_table_find(&core->replicas, worker->replica);
    int64_t life_ms = core->heartbeat_ms / 2 < 2000 ? core->heartbeat_ms / 2 : 2000;
    if (replica == NULL || core->now_ms - replica->heard_ms <= 3 * life_ms)
        return 0;
    return core->now_ms - replica->heard_ms;
}

static void purge_worker(struct core *core, struct known_worker *worker)
{
    struct db_job *db_job = db_job_new(DB_JOB_DELETE_WORKER, core->generation);
    snprintf(db_job->worker.id, sizeof db_job->worker.id, "%s", worker->id);
    db_jobs_submit(core->db_jobs, db_job);
    worker_table_remove(&core->workers, worker);
}

static void check_workers(struct core *core)
{
    struct known_worker *worker, *following;
    bool purges = core->now_ms - core->purged_ms >= PURGE_PAUSE_MS;
    if (purges)
        core->purged_ms = core->now_ms;
    HASH_ITER (hh, core->workers.workers, worker, following) {
        bool only_waits = worker->held == 0 &&
                          worker->polls != NULL; /* its open poll is life enough */
        if (!only_waits && worker_is_overdue(&core->workers, worker, core->now_ms,
                                             replica_silence_ms(core, worker)))
            worker_lost(core, worker);
        else if (purges && !worker->is_alive && worker->held == 0 && worker->polls == NULL &&
                 core->now_ms - worker->heard_ms > DEAD_WORKER_MEMORY_MS)
            purge_worker(core, worker);
    }
}

static void lease_expired(struct core *core, struct live_lease *lease)
{
    struct known_worker *worker = lease->worker;
    if (lease->state == LEASE_DELIVERED && !worker->has_overrun) {
        worker->has_overrun = true;
        log_warning("worker let a job's deadline pass",
                    log_text("hostname", worker_hostname(worker)), log_text("job_id", lease->job));
    }
    lease_begin_end(core, lease, LEASE_EXPIRED);
}

static void check_leases(struct core *core)
{
    struct live_lease *lease, *following;
    HASH_ITER (hh, core->leases.leases, lease, following) {
        bool is_over = core->now_ms >= lease->deadline_ms;
        /* Whoever may never have received a job has not failed it. */
        if (lease->state == LEASE_UNCONFIRMED && (is_over || core->now_ms >= lease->hold_ms))
            lease_begin_end(core, lease, LEASE_RELEASED);
        else if (is_over)
            lease_expired(core, lease);
    }
}

static void check_replicas(struct core *core)
{
    struct known_replica *replica, *following;
    HASH_ITER (hh, core->replicas.replicas, replica, following) {
        replica_forget_answered(replica, core->now_ms - ANSWERED_MEMORY_MS);
        if (core->now_ms - replica->heard_ms < REPLICA_MEMORY_MS || replica->is_busy)
            continue;
        if (replica->in_contact || replica->outbox != NULL)
            replica_lost_contact(core, replica);
        replica_drop_polls(&core->replicas, replica, core->now_ms);
        if (replica->matched > 0)
            continue;
        log_info("replica forgotten", log_text("replica", replica->id));
        replica_table_remove(&core->replicas, replica);
        core->status_is_stale = true;
    }
}

/* There may be ten thousand workers: they need no look in each tick to be found dead in time. */
static bool looks_at_workers(struct core *core)
{
    if (core->now_ms - core->looked_ms < core->heartbeat_ms / 20)
        return false;
    core->looked_ms = core->now_ms;
    return true;
}

void requeue_tick(struct core *core)
{
    if (looks_at_workers(core))
        check_workers(core);
    check_leases(core);
    check_replicas(core);
    queue_wake(&core->queue, core->now_ms);
}
