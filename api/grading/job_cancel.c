#include "api/grading/job_cancel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/delivery_table.h"
#include "api/grading/inflight.h"
#include "api/http/thread_pool.h"
#include "api/metrics.h"
#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/store/result_store.h"
#include "common/store/run_jobs.h"

enum { CANCEL_TRY_MS = 10000 };

/* Belongs to the handler's thread, then to the store's. */
struct job_cancel {
    struct result_commit commit; /* first */
    struct api *api;
    struct exchange *exchange;
    void (*answer)(struct exchange *exchange, const struct job_cancel_outcome *outcome);
};

static void job_cancel_complete(struct job_cancel *cancel, enum bw_code code,
                                enum job_outcome outcome, const struct bw_error *error)
{
    struct job_cancel own = *cancel;
    struct job_cancel_outcome answer = {
        .job = own.commit.result.job, .code = code, .outcome = outcome, .error = *error};
    free(cancel);
    own.answer(own.exchange, &answer);
    inflight_end(own.api);
}

/* Whether a grader that was to go on with a superseded job has reported nothing. */
static bool job_cancel_is_unreported(const struct result *first)
{
    return first->outcome == OUTCOME_SUPERSEDED && first->holder[0] != '\0' &&
           first->reported == OUTCOME_NONE;
}

static void job_cancel_stop_holder(void *context);

/* The job has a result already. One that was cancelled stays so; of a superseded one, the holder is
 * to stop. */
static void job_cancel_compare(struct job_cancel *cancel, const struct result *first)
{
    struct bw_error error = {""};
    enum bw_code code = BW_OK;
    if (result_is_held(first)) {
        thread_pool_submit(cancel->api->thread_pool, true, job_cancel_stop_holder, cancel);
        return;
    }
    if (first->outcome != OUTCOME_CANCELLED && !job_cancel_is_unreported(first))
        code = bw_fail(&error, BW_CONFLICT, "the grading job '%s' is over: it %s%s", first->job,
                       first->outcome == OUTCOME_SUPERSEDED ? "was " : "",
                       outcome_name(first->outcome));
    job_cancel_complete(cancel, code, first->outcome, &error);
}

static void job_cancel_inserted(struct result_commit *commit, enum commit_outcome outcome,
                                const struct result *existing)
{
    struct job_cancel *cancel = (struct job_cancel *)commit;
    struct bw_error error = {""};
    if (outcome == COMMIT_DONE) {
        log_info("job cancelled", log_text("job_id", commit->result.job));
        metric_add(cancel->api->metrics, API_JOBS_CANCELLED, 1);
        delivery_table_finish(cancel->api->hand_outs, commit->result.job);
        job_cancel_complete(cancel, BW_OK, OUTCOME_CANCELLED, &error);
    } else if (outcome == COMMIT_DUPLICATE && existing != NULL) {
        job_cancel_compare(cancel, existing);
    } else {
        enum bw_code code = bw_fail(
            &error, BW_UNAVAILABLE,
            "the cancelling of job '%s' could not be stored in time: try again",
            commit->result.job);
        job_cancel_complete(cancel, code, OUTCOME_NONE, &error);
    }
}

static void job_cancel_note_result(const struct result *result, void *context)
{
    *(struct result *)context = *result;
    ((struct result *)context)->text = NULL;
}

static enum bw_code job_cancel_read(const struct job_cancel *cancel, struct result *first,
                                    struct bw_error *error)
{
    char ids[1][JOB_ID_SIZE];
    memcpy(ids[0], cancel->commit.result.job, sizeof ids[0]);
    first->outcome = OUTCOME_NONE;
    return result_store_read(cancel->api->result_store, (const char(*)[JOB_ID_SIZE])ids, 1, false,
                             job_cancel_note_result, first, error);
}

/* On the thread pool. The holder may report meanwhile, so the result is read again. */
static void job_cancel_stop_holder(void *context)
{
    struct job_cancel *cancel = context;
    struct result_store *store = cancel->api->result_store;
    struct result first;
    struct bw_error error;
    enum bw_code code = job_cancel_read(cancel, &first, &error);
    if (code == BW_OK)
        code = result_store_end_holding(store, first.job, first.holder, &error);
    if (code == BW_OK)
        code = job_cancel_read(cancel, &first, &error);
    if (code != BW_OK) {
        job_cancel_complete(cancel, code, OUTCOME_NONE, &error);
        return;
    }
    log_info("holder of a superseded job stopped", log_text("job_id", first.job),
             log_text("worker", first.holder));
    delivery_table_finish(cancel->api->hand_outs, first.job);
    job_cancel_compare(cancel, &first);
}

/* A job without a result whose run is not under way: it has not begun, or never ran. */
static enum bw_code job_cancel_refuse_run(const struct run *run, enum job_outcome *outcome,
                                          struct bw_error *error)
{
    *outcome = run->started_ms == 0 && run->cancelled_ms == 0 ? OUTCOME_NONE : OUTCOME_CANCELLED;
    if (*outcome == OUTCOME_NONE)
        return bw_fail(error, BW_CONFLICT, "the grading run '%s' of this job is not started",
                       run->id);
    return bw_fail(error, BW_CONFLICT, "the grading run '%s' of this job is over: it is %s",
                   run->id, run_phase_name(run->phase));
}

/* Marks the run. If it has ended since it was read, it is read again for the sentence. */
static enum bw_code job_cancel_mark(const struct job_cancel *cancel, const struct run *run,
                                    enum job_outcome *outcome, struct bw_error *error)
{
    struct run now;
    if (run->started_ms == 0 || run->finished_ms != 0)
        return job_cancel_refuse_run(run, outcome, error);
    enum bw_code code = run_store_note_job_cancel(cancel->api->run_store, run->id, error);
    if (code != BW_CONFLICT)
        return code;
    code = run_store_read(cancel->api->run_store, run->id, &now, error);
    if (code != BW_OK)
        return code;
    code = job_cancel_refuse_run(&now, outcome, error);
    run_clear(&now);
    return code;
}

void job_cancel_begin(struct api *api, const struct job_cancel_request *request)
{
    struct job_cancel *cancel = bw_alloc(sizeof *cancel);
    struct result *result = &cancel->commit.result, first;
    enum job_outcome outcome = OUTCOME_NONE;
    struct bw_error error = {""};
    cancel->api = api;
    cancel->exchange = request->exchange;
    cancel->answer = request->answer;
    inflight_begin(api);
    run_slot_job_id(request->run, request->slot, result->job);
    enum bw_code code = job_cancel_read(cancel, &first, &error);
    if (code == BW_OK && first.outcome != OUTCOME_NONE) {
        job_cancel_compare(cancel, &first);
        return;
    }
    if (code == BW_OK)
        code = job_cancel_mark(cancel, request->run, &outcome, &error);
    if (code != BW_OK) {
        job_cancel_complete(cancel, code, outcome, &error);
        return;
    }
    FAILPOINT("before_job_cancel_result");
    result->outcome = OUTCOME_CANCELLED;
    result->owner = OWNER_CLIENT;
    snprintf(result->reason, sizeof result->reason, "the grading job was cancelled");
    cancel->commit.completed = job_cancel_inserted;
    result_store_insert(api->result_store, &cancel->commit, CANCEL_TRY_MS);
}
