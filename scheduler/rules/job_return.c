#include "scheduler/rules/job_return.h"

#include "common/base/log.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/lease_lifecycle.h"
#include "scheduler/rules/retry.h"
#include "scheduler/rules/spans.h"
#include "scheduler/rules/worker_liveness.h"

static enum scheduler_metric returned_metric(enum protocol protocol)
{
#define METRIC(unused, protocol, ...) SCHEDULER_JOBS_RETURNED_##protocol,
    static const enum scheduler_metric metrics[] = {PROTOCOL_MAP(METRIC, )};
#undef METRIC
    return metrics[protocol];
}

void job_returned(struct scheduler *scheduler, const struct lease *returned)
{
    struct live_lease *lease = lease_table_find(&scheduler->leases, returned->job);
    if (lease == NULL || lease->attempt != returned->attempt)
        return; /* seen before, or the job has its result */
    struct active_run *run = lease->run;
    struct failed_attempts failed_attempts = lease->failed_attempts;
    uint32_t slot = lease->slot;
    log_warning(returned->is_ruled ? "job returned by an owner rule" : "job returned by its grader",
                log_text("job_id", lease->job), log_number("attempt", lease->attempt),
                log_text("hostname", worker_hostname(lease->worker)),
                log_text("reason", returned->reason));
    metric_add(scheduler->metrics, returned_metric(run->run.protocol), 1);
    worker_note_seen(scheduler, lease->worker, scheduler->now_ms, "");
    if (returned->is_ruled)
        worker_acted(lease->worker, scheduler->now_ms); /* the job may be to blame */
    else
        worker_note_end(scheduler, lease->worker, true);
    spans_attempt_ended(scheduler, lease, "returned");
    lease_withdraw(scheduler, lease);
    lease_remove(scheduler, lease);
    returned_jobs_note(&run->returned, slot, returned, scheduler->now_ms);
    job_retry(scheduler, run, slot, returned->attempt + 1, &failed_attempts, returned->worker);
}
