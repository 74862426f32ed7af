#include "scheduler/rules/retry.h"

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/store/run_jobs.h"
#include "scheduler/metrics.h"

static uint32_t run_max_attempts(const struct scheduler *scheduler, const struct active_run *run)
{
    uint32_t own = (uint32_t)run->run.max_attempts;
    return own > 0 && own < scheduler->settings.max_attempts ? own
                                                             : scheduler->settings.max_attempts;
}

void job_insert_result(struct scheduler *scheduler, const struct active_run *run, uint32_t slot,
                       const struct result *own)
{
    struct result result = *own;
    run_slot_job_id(&run->run, slot, result.job);
    scheduler_insert_result(scheduler, &result);
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

/* The first retry comes at once, the second after 5 s, all further ones after 25 s. `ended`: how
 * many attempts have failed or were returned. */
static int64_t retry_backoff_ms(uint32_t ended)
{
    static const int64_t backoffs_ms[] = {0, 0, 5000, 25000};
    return backoffs_ms[ended < 3 ? ended : 3];
}

static void job_give_up(struct scheduler *scheduler, const struct active_run *run, uint32_t slot,
                        const struct result *own)
{
    metric_add(scheduler->metrics, SCHEDULER_JOBS_GIVEN_UP, 1);
    log_warning("job given up", log_text("run_id", run->run.id), log_number("slot", slot),
                log_text("reason", own->reason));
    scheduler->giving_up++;
    job_insert_result(scheduler, run, slot, own);
}

/* Has it had enough? Then *own says why: the graders are at fault, which have lost it, returned it
 * or exceeded its deadline. */
static bool is_enough(const struct scheduler *scheduler, const struct active_run *run,
                      const struct failed_attempts *failed_attempts,
                      const struct returned_job *returned, struct result *own)
{
    *own = (struct result){.outcome = OUTCOME_FAILED,
                           .owner = OWNER_INFRASTRUCTURE,
                           .attempts = failed_attempts_total(failed_attempts)};
    if (returned_job_is_hopeless(returned)) {
        if (returned->count < RETURNED_MOST_WORKERS)
            snprintf(own->reason, sizeof own->reason, "returned %u times: %s", returned->ruled,
                     returned->reason);
        else
            snprintf(own->reason, sizeof own->reason, "%u graders could not run it: %s",
                     returned->count, returned->reason);
        return true;
    }
    if (own->attempts < run_max_attempts(scheduler, run))
        return false;
    describe_failed_attempts(failed_attempts, own->reason, sizeof own->reason);
    return true;
}

void job_retry(struct scheduler *scheduler, struct active_run *run, uint32_t slot, uint32_t attempt,
               const struct failed_attempts *failed_attempts, const char *avoid)
{
    const struct returned_job *returned = returned_jobs_find(run->returned, slot);
    struct result own;
    if (run->run.cancelled_ms != 0 || queue_is_withheld(run, slot))
        return; /* a result of it is being inserted */
    if (is_enough(scheduler, run, failed_attempts, returned, &own)) {
        job_give_up(scheduler, run, slot, &own);
        return;
    }
    uint32_t ended = own.attempts + returned_job_count(returned);
    struct retry retry = {
        .slot = slot,
        .attempt = attempt,
        .failed_attempts = *failed_attempts,
        .due_ms = scheduler->now_ms + retry_backoff_ms(ended),
    };
    strncpy(retry.avoid, avoid, sizeof retry.avoid - 1);
    queue_retry(run, &retry, scheduler->now_ms);
}
