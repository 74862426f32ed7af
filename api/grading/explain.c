#include "api/grading/explain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/run_status.h"
#include "api/http/exchange.h"
#include "api/http/thread_pool.h"
#include "api/uplink/scheduler_queries.h"
#include "common/base/alloc.h"
#include "common/db/database.h"
#include "common/domain/wait_reason.h"
#include "common/store/run_jobs.h"

enum { NO_SLOT = UINT32_MAX };

static const struct bw_error unknown_worker = {"there is no grader with this id"},
                             busy = {"the server is busy: try again"};

/* A request that waits for the scheduler. */
struct explaining {
    struct api *api;
    struct exchange *exchange;
    void (*answer)(struct exchange *exchange, json_t *value);
    bool is_of_course;
    char course[WORKER_ID_SIZE];
    char run[RUN_ID_SIZE]; /* "": it is about a grader */
    uint32_t slot;         /* NO_SLOT: it is about the run */
};

/* ---- What the API itself knows ---- */

static json_t *explain_own_reason(enum wait_reason reason)
{
    static const char *const texts[WAIT_REASONS][2] = {
        [WAIT_DATABASE] = {"the database can't be reached", "the database can be reached again"},
        [WAIT_NO_LEADER] = {"no leading scheduler has answered", "a scheduler leads"},
        [WAIT_NOT_STARTED] = {"the run is not started", "the run is started"},
    };
    return json_pack("{s:s,s:s,s:s}", "reason", wait_reason_word(reason), "detail",
                     texts[reason][0], "changes_when", texts[reason][1]);
}

static json_t *explain_own_answer(const char *state, enum wait_reason reason)
{
    return json_pack("{s:s,s:[o]}", "state", state, "reasons", explain_own_reason(reason));
}

/* The outcome of a run that is over, or of its job at `slot`. */
static const char *explain_outcome(const struct run *run, uint32_t slot)
{
    struct job_fact fact = {.outcome = OUTCOME_NONE};
    if (slot == NO_SLOT)
        return run_phase_name(run->phase);
    if (slot < run->summary_length)
        fact.outcome = summary_outcome(run->summary[slot]);
    return outcome_name(run_status_job_outcome(&fact, run->phase));
}

/* The answer that follows from the run's record alone; NULL: only the scheduler knows. */
static json_t *explain_from_record(const struct run *run, uint32_t slot)
{
    if (run->finished_ms != 0 || run_phase_is_over(run->phase))
        return json_pack("{s:s,s:s*,s:[]}", "state", "ended", "outcome", explain_outcome(run, slot),
                         "reasons");
    return run->started_ms == 0 ? explain_own_answer("waiting", WAIT_NOT_STARTED) : NULL;
}

static enum wait_reason explain_why_unanswered(const struct api *api)
{
    return database_is_unavailable(api->database) ? WAIT_DATABASE : WAIT_NO_LEADER;
}

/* ---- What a course may see ---- */

/* The list with the jobs of all other courses as one number. */
static json_t *explain_mask_ahead(const json_t *ahead, const char *course)
{
    json_t *masked = json_array(), *entry;
    json_int_t others = 0;
    size_t i;
    json_array_foreach (ahead, i, entry) {
        const char *name = json_string_value(json_object_get(entry, "course"));
        if (name != NULL && strcmp(name, course) == 0)
            json_array_append(masked, entry);
        else
            others += json_integer_value(json_object_get(entry, "jobs"));
    }
    if (others > 0)
        json_array_append_new(masked, json_pack("{s:n,s:I}", "course", "jobs", others));
    return masked;
}

static void explain_mask(json_t *answer, const char *course)
{
    json_t *reason;
    size_t i;
    json_array_foreach (json_object_get(answer, "reasons"), i, reason) {
        const json_t *ahead = json_object_get(reason, "ahead");
        if (ahead != NULL)
            json_object_set_new(reason, "ahead", explain_mask_ahead(ahead, course));
        json_object_del(reason, "reservations");
    }
}

/* ---- Asking ---- */

static void explain_end(struct explaining *explaining, json_t *answer)
{
    explaining->answer(explaining->exchange, answer);
    free(explaining);
}

static void explain_refuse_later(struct explaining *explaining, enum bw_code code,
                                 const struct bw_error *error)
{
    (void)explain_refuse(explaining->exchange, code, error);
    free(explaining);
}

/* The scheduler does not know the run: it has ended meanwhile. */
static void explain_read_again(void *context)
{
    struct explaining *explaining = context;
    struct bw_error error;
    struct run run;
    enum bw_code code = run_store_read(explaining->api->run_store, explaining->run, &run, &error);
    if (code == BW_NOT_FOUND)
        code = bw_fail(&error, BW_BAD_REQUEST, "the grading run was removed meanwhile");
    if (code != BW_OK) {
        explain_refuse_later(explaining, code, &error);
        return;
    }
    json_t *answer = explain_from_record(&run, explaining->slot);
    run_clear(&run);
    explain_end(explaining,
                answer != NULL ? answer : explain_own_answer("unknown", WAIT_NO_LEADER));
}

static void explain_take_unknown(struct explaining *explaining)
{
    if (explaining->run[0] == '\0')
        explain_refuse_later(explaining, BW_BAD_REQUEST, &unknown_worker);
    else if (!thread_pool_submit(explaining->api->thread_pool, false, explain_read_again,
                                 explaining))
        explain_refuse_later(explaining, BW_UNAVAILABLE, &busy);
}

/* An earlier version's scheduler answers null. */
static void explain_answered(enum bw_code code, const struct query_answer *answer, void *context)
{
    struct explaining *explaining = context;
    if (code != BW_OK || !json_is_object(answer->value)) {
        enum wait_reason reason = explain_why_unanswered(explaining->api);
        explain_end(explaining, explain_own_answer("unknown", reason));
        return;
    }
    if (json_object_get(answer->value, "unknown") != NULL) {
        explain_take_unknown(explaining);
        return;
    }
    json_t *shown = json_deep_copy(answer->value);
    if (explaining->is_of_course)
        explain_mask(shown, explaining->course);
    explain_end(explaining, shown);
}

static enum bw_code explain_ask(struct api *api, const struct explain_request *request,
                                enum query_kind kind, const char *subject, const char *run,
                                uint32_t slot)
{
    struct explaining *explaining = bw_alloc(sizeof *explaining);
    *explaining = (struct explaining){.api = api,
                                      .exchange = request->exchange,
                                      .answer = request->answer,
                                      .is_of_course = request->course != NULL,
                                      .slot = slot};
    snprintf(explaining->run, sizeof explaining->run, "%s", run);
    snprintf(explaining->course, sizeof explaining->course, "%s",
             request->course != NULL ? request->course : "");
    struct query query = {.kind = kind,
                          .request_timeout_ms = QUERY_TIMEOUT_MS,
                          .answered = explain_answered,
                          .context = explaining};
    snprintf(query.subject, sizeof query.subject, "%s", subject);
    scheduler_queries_ask(api->queries, &query);
    return BW_PENDING;
}

enum bw_code explain_refuse(struct exchange *exchange, enum bw_code code,
                            const struct bw_error *error)
{
    if (code == BW_UNAVAILABLE)
        exchange_refuse_with(exchange, code, error, "reason", wait_reason_word(WAIT_DATABASE));
    else
        exchange_refuse(exchange, code, error);
    return BW_PENDING;
}

/* Answers from the run's record, or asks. */
static enum bw_code explain_run_or_job(struct api *api, const struct explain_request *request,
                                       struct run *run, uint32_t slot)
{
    char id[RUN_ID_SIZE], job[JOB_ID_SIZE] = "";
    json_t *answer = explain_from_record(run, slot);
    memcpy(id, run->id, sizeof id);
    if (slot != NO_SLOT)
        run_slot_job_id(run, slot, job);
    run_clear(run);
    if (answer != NULL) {
        request->answer(request->exchange, answer);
        return BW_OK;
    }
    return slot == NO_SLOT ? explain_ask(api, request, QUERY_EXPLAIN_RUN, id, id, slot)
                           : explain_ask(api, request, QUERY_EXPLAIN_JOB, job, id, slot);
}

enum bw_code explain_run(struct api *api, const struct explain_request *request, struct run *run)
{
    return explain_run_or_job(api, request, run, NO_SLOT);
}

enum bw_code explain_job(struct api *api, const struct explain_request *request, struct run *run,
                         uint32_t slot)
{
    return explain_run_or_job(api, request, run, slot);
}

enum bw_code explain_worker(struct api *api, const struct explain_request *request,
                            const char *worker)
{
    return explain_ask(api, request, QUERY_EXPLAIN_WORKER, worker, "", NO_SLOT);
}
