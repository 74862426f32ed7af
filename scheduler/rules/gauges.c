#include "scheduler/rules/gauges.h"

#include "common/base/metrics.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/missing_graders.h"

enum { PAUSE_MS = 500 };

static int64_t gauges_out_of_contact(const struct scheduler *scheduler)
{
    int64_t out_of_contact = 0;
    const struct known_replica *replica, *following;
    HASH_ITER (hh, scheduler->replicas.replicas, replica, following)
        out_of_contact += !replica->in_contact;
    return out_of_contact;
}

/* The age in milliseconds of the oldest run with a queued job; 0: there is none. Runs are in the
 * order in which they were added, so it is among the first. */
static int64_t gauges_oldest_ms(const struct scheduler *scheduler)
{
    const struct active_run *run, *following;
    HASH_ITER (hh, scheduler->queue.runs, run, following)
        if (run->is_ready)
            return scheduler->date_ms > run->run.started_ms
                       ? scheduler->date_ms - run->run.started_ms
                       : 0;
    return 0;
}

void gauges_tick(struct scheduler *scheduler)
{
    struct metrics *metrics = scheduler->metrics;
    if (scheduler->now_ms - scheduler->published_ms < PAUSE_MS)
        return;
    scheduler->published_ms = scheduler->now_ms;
    metric_set(metrics, SCHEDULER_QUEUED_JOBS, (int64_t)queue_length(&scheduler->queue));
    metric_set(metrics, SCHEDULER_RUNNING_JOBS, HASH_COUNT(scheduler->leases.leases));
    metric_set(metrics, SCHEDULER_WAITING_POLLS, (int64_t)scheduler->replicas.waiting);
    missing_graders_count(scheduler);
    metric_set(metrics, SCHEDULER_WORKERS_PAUSED,
               worker_table_paused(&scheduler->workers, scheduler->now_ms));
    for (unsigned kind = 0; kind < PAUSE_KINDS; kind++)
        metric_set(metrics, SCHEDULER_PAUSED_CLUSTER + kind, scheduler->pauses.in_force[kind]);
    metric_set(metrics, SCHEDULER_WORKERS_STUCK,
               worker_table_stuck(&scheduler->workers, scheduler->settings.job_timeout_ms,
                                  scheduler->now_ms));
    metric_set(metrics, SCHEDULER_REPLICAS_OUT_OF_CONTACT, gauges_out_of_contact(scheduler));
    metric_set(metrics, SCHEDULER_OLDEST_QUEUED_SECONDS, gauges_oldest_ms(scheduler) / 1000);
}
