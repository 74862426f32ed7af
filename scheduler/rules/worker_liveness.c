#include "scheduler/rules/worker_liveness.h"

#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "common/base/log.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/lease_lifecycle.h"
#include "scheduler/rules/sharing.h"
#include "scheduler/rules/webhooks.h"
#include "scheduler/rules/worker_record.h"

enum { DEAD_WORKER_MEMORY_MS = 24 * 3600 * 1000, PURGE_PAUSE_MS = 600 * 1000 };

void worker_note_seen(struct scheduler *scheduler, struct known_worker *worker, int64_t seen_ms,
                      const char *replica)
{
    if (!worker_seen(worker, seen_ms, replica))
        return;
    log_info("worker alive again", log_text("replica", replica));
    worker_record(scheduler, worker);
}

void worker_note_end(struct scheduler *scheduler, struct known_worker *worker, bool is_broken)
{
    worker_acted(worker, scheduler->now_ms);
    if (!worker_note_result(worker, is_broken, scheduler->now_ms))
        return;
    metric_add(scheduler->metrics, SCHEDULER_PAUSES, 1);
    log_error("worker paused: it fails every job at once without any output, or returns it",
              log_text("hostname", worker_hostname(worker)),
              log_number("failures", worker->quick_failures),
              log_number("pause_ms", WORKER_PAUSE_MS));
}

void worker_fault_changed(struct scheduler *scheduler, struct known_worker *worker,
                          const char *fault)
{
    if (!worker_note_fault(worker, fault, scheduler->now_ms))
        return;
    if (fault[0] == '\0')
        log_info("worker has recovered", log_text("hostname", worker_hostname(worker)));
    else
        log_warning("worker can't run jobs", log_text("hostname", worker_hostname(worker)),
                    log_text("fault", fault));
}

void worker_lost(struct scheduler *scheduler, struct known_worker *worker)
{
    struct live_lease *lease, *following;
    worker_declare_dead(worker);
    log_warning("worker dead", log_text("hostname", worker_hostname(worker)),
                log_number("silent_ms", scheduler->now_ms - worker->seen_ms),
                log_number("leases", worker->held));
    webhooks_worker_lost(scheduler, worker);
    DL_FOREACH_SAFE2(worker->leases, lease, following, worker_next)
    lease_begin_end(scheduler, lease, lease_is_undelivered(lease) ? LEASE_RELEASED : LEASE_LOST);
    worker_record(scheduler, worker);
}

void worker_registered_again(struct scheduler *scheduler, struct known_worker *worker,
                             const struct worker *registered)
{
    if (worker->is_alive && worker->held > 0)
        worker_lost(scheduler, worker); /* its jobs are requeued, not resumed */
    worker_describe(worker, registered);
    sharing_take_worker(scheduler, worker);
    worker->beats_at_work = false;
    worker->busy_until_ms = 0;
    (void)worker_seen(worker, scheduler->now_ms, registered->replica);
}

void worker_sockets_lost(struct scheduler *scheduler, const struct known_replica *replica)
{
    struct known_worker *worker, *following;
    HASH_ITER (hh, scheduler->workers.workers, worker, following)
        if (worker->is_socket && worker->is_alive &&
            strcmp(worker->socket_replica, replica->id) == 0 &&
            strcmp(worker->socket_process, replica->process) == 0)
            worker_lost(scheduler, worker);
}

/* How long the worker's replica has been silent, in milliseconds; 0 if that is not unusual. */
static int64_t replica_silence_ms(const struct scheduler *scheduler,
                                  const struct known_worker *worker)
{
    const struct known_replica *replica = replica_table_find(&scheduler->replicas, worker->replica);
    int64_t alive_ms = scheduler->settings.heartbeat_ms / 2 < 2000
                           ? scheduler->settings.heartbeat_ms / 2
                           : 2000;
    if (replica == NULL || scheduler->now_ms - replica->seen_ms <= 3 * alive_ms)
        return 0;
    return scheduler->now_ms - replica->seen_ms;
}

static void purge_worker(struct scheduler *scheduler, struct known_worker *worker)
{
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_DELETE_WORKER);
    snprintf(db_job->worker.id, sizeof db_job->worker.id, "%s", worker->id);
    scheduler_submit(scheduler, db_job);
    worker_groups_leave(&scheduler->groups, worker);
    worker_table_remove(&scheduler->workers, worker);
}

/* A worker with a parked poll counts as seen at each scan, so its silence is counted from the end
 * of the poll. */
static void note_waiting(const struct scheduler *scheduler, struct known_worker *worker)
{
    if (worker->is_alive && worker_only_waits(worker))
        worker->seen_ms = scheduler->now_ms;
}

static void check_workers(struct scheduler *scheduler)
{
    struct known_worker *worker, *following;
    bool purges = scheduler->now_ms - scheduler->purged_ms >= PURGE_PAUSE_MS;
    if (purges)
        scheduler->purged_ms = scheduler->now_ms;
    HASH_ITER (hh, scheduler->workers.workers, worker, following) {
        note_waiting(scheduler, worker);
        if (worker_is_overdue(&scheduler->workers, worker, scheduler->now_ms,
                              replica_silence_ms(scheduler, worker)))
            worker_lost(scheduler, worker);
        else if (purges && !worker->is_alive && worker->held == 0 && worker->polls == NULL &&
                 scheduler->now_ms - worker->seen_ms > DEAD_WORKER_MEMORY_MS)
            purge_worker(scheduler, worker);
    }
}

/* Scanning up to ten thousand workers in every tick is not needed to find dead workers in time. */
static bool scan_is_due(struct scheduler *scheduler)
{
    if (scheduler->now_ms - scheduler->workers_scanned_ms < scheduler->settings.heartbeat_ms / 20)
        return false;
    scheduler->workers_scanned_ms = scheduler->now_ms;
    return true;
}

void worker_liveness_tick(struct scheduler *scheduler)
{
    if (scan_is_due(scheduler))
        check_workers(scheduler);
}
