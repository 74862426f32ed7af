#include "api/grading/job_return.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/inflight.h"
#include "api/grading/job_claim.h"
#include "api/http/thread_pool.h"
#include "api/metrics.h"
#include "api/uplink/signals.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/log.h"

enum { RETURN_TRY_MS = 15000, RETURN_RETRY_MS = 200 };

/* Belongs to the thread pool's task. */
struct job_return {
    struct api *api;
    void (*completed)(enum bw_code code, const struct bw_error *error, void *context);
    void *context;
    struct job_claim claim;
    char reason[RETURN_REASON_SIZE];
    bool is_ruled;
    int64_t expires_ms; /* clock_boot_ms until which it is tried */
};

bool job_return_is_asked(const json_t *arguments)
{
    return json_object_get(arguments, "outcome") != NULL;
}

enum bw_code job_return_check_outcome(const json_t *value, const char *path, const void *context,
                                      struct bw_error *error)
{
    (void)context;
    if (strcmp(json_string_value(value), owner_name(OWNER_INFRASTRUCTURE)) == 0)
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: must be 'infrastructure'", path);
}

/* Frees before it tells, as result_submission does. */
static void job_return_complete(struct job_return *job_return, enum bw_code code,
                                const struct bw_error *error)
{
    struct job_return own = *job_return;
    if (code != BW_OK && !own.is_ruled) /* else the result's submission counts it */
        metric_add(own.api->metrics,
                   code == BW_UNAVAILABLE ? API_RESULTS_UNSTORED : API_RESULTS_REFUSED, 1);
    free(job_return);
    inflight_end(own.api);
    own.completed(code, error, own.context);
}

/* ---- On the thread pool ---- */

static void note_result(const struct result *result, void *context)
{
    *(struct result *)context = *result;
    ((struct result *)context)->text = NULL;
}

/* What becomes of the return of a job that has the result `first`, which counts. */
static enum bw_code job_return_decide_late(const struct job_return *job_return,
                                           const struct result *first, struct bw_error *error)
{
    const struct job_claim *claim = &job_return->claim;
    struct api *api = job_return->api;
    bool is_excused = false;
    enum bw_code code = BW_OK;
    if (!job_return->is_ruled && strcmp(first->holder, claim->worker) == 0 &&
        first->reported == OUTCOME_NONE)
        return result_store_end_holding(api->result_store, claim->id, claim->worker, error);
    if (!job_return->is_ruled && job_claim_may_be_excused(claim, first))
        code = job_claim_read_excuse(api, claim, &is_excused, error);
    if (code == BW_OK && !is_excused)
        code = job_claim_refuse_second(claim->id, claim->worker, first, error);
    return code;
}

/* Reads the job's result. first->outcome: OUTCOME_NONE if it has none. */
static enum bw_code job_return_read_result(const struct job_return *job_return,
                                           struct result *first, struct bw_error *error)
{
    char ids[1][JOB_ID_SIZE];
    memcpy(ids[0], job_return->claim.id, sizeof ids[0]);
    first->outcome = OUTCOME_NONE;
    return result_store_read(job_return->api->result_store, (const char(*)[JOB_ID_SIZE])ids, 1,
                             false, note_result, first, error);
}

/* The lease's end that is not ours. */
static enum bw_code refuse_ended(const struct lease *lease, struct bw_error *error)
{
    return bw_fail(error, BW_CONFLICT, "job '%s' is not this worker's any more: attempt %u was %s",
                   lease->job, lease->attempt, lease_end_name(lease->end));
}

static enum bw_code end_lease(const struct job_return *job_return, struct lease *lease,
                              struct bw_error *error)
{
    bool done;
    memcpy(lease->reason, job_return->reason, sizeof lease->reason);
    lease->is_ruled = job_return->is_ruled;
    enum bw_code code = lease_store_return(job_return->api->lease_store, lease, &done, error);
    if (code == BW_OK && !done)
        return bw_fail(error, BW_UNAVAILABLE, "the lease of job '%s' has just ended", lease->job);
    if (code != BW_OK)
        return code;
    log_info("return stored", log_text("job_id", lease->job), log_number("attempt", lease->attempt),
             log_text("reason", lease->reason));
    metric_add(job_return->api->metrics, API_RESULTS_RETURNED, 1);
    return BW_OK;
}

/* BW_UNAVAILABLE: to be tried again. A lease that was ended since it was read is read again. */
static enum bw_code try_return(const struct job_return *job_return, struct bw_error *error)
{
    struct lease last;
    struct result first;
    enum bw_code code = job_claim_check(job_return->api, &job_return->claim, &last, error);
    if (code != BW_OK)
        return code;
    if (last.end == LEASE_RETURNED) {
        metric_add(job_return->api->metrics, API_RESULTS_REPEATED, 1);
        return BW_OK;
    }
    code = job_return_read_result(job_return, &first, error);
    if (code == BW_OK && first.outcome != OUTCOME_NONE)
        return job_return_decide_late(job_return, &first, error);
    if (code == BW_OK && last.end != LEASE_LIVE)
        code = refuse_ended(&last, error);
    return code == BW_OK ? end_lease(job_return, &last, error) : code;
}

static void job_return_run(void *context);

/* While the database is unavailable it waits, without blocking a thread. False: no time is left. */
static bool try_again(struct job_return *job_return)
{
    return job_return->expires_ms - clock_boot_ms() > RETURN_RETRY_MS &&
           thread_pool_submit_later(job_return->api->thread_pool, true, RETURN_RETRY_MS,
                                    job_return_run, job_return);
}

static void job_return_run(void *context)
{
    struct job_return *job_return = context;
    struct bw_error error;
    enum bw_code code = try_return(job_return, &error);
    if (code != BW_UNAVAILABLE || !try_again(job_return))
        job_return_complete(job_return, code, code == BW_OK ? NULL : &error);
}

/* ---- First: what was sent ---- */

/* One line that fits. */
static void read_reason(const json_t *arguments, char reason[RETURN_REASON_SIZE])
{
    const char *given = json_string_value(json_object_get(arguments, "reason"));
    char *line = bw_copy(given == NULL || given[0] == '\0' ? "no reason given" : given);
    for (char *at = line; *at != '\0'; at++)
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = ' ';
    text_show(line, reason, RETURN_REASON_SIZE);
    free(line);
}

enum bw_code job_return_begin(struct api *api, const struct job_return_request *request,
                              struct bw_error *error)
{
    struct job_claim claim;
    enum bw_code code = job_claim_make(request->job, request->worker, request->protocol, &claim,
                                       error);
    if (code != BW_OK)
        return code;
    struct job_return *job_return = bw_alloc(sizeof *job_return);
    *job_return = (struct job_return){.api = api,
                                      .completed = request->completed,
                                      .context = request->context,
                                      .claim = claim,
                                      .is_ruled = request->is_ruled,
                                      .expires_ms = clock_boot_ms() + RETURN_TRY_MS};
    read_reason(request->arguments, job_return->reason);
    inflight_begin(api);
    signals_seen(api->signals, claim.worker, SEEN_RESULT);
    thread_pool_submit(api->thread_pool, true, job_return_run, job_return);
    return BW_OK;
}
