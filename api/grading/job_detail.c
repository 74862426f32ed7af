#include "api/grading/job_detail.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/grading/definition_cache.h"
#include "api/grading/job_attempts.h"
#include "api/grading/job_entry.h"
#include "api/grading/pauses.h"
#include "api/grading/result_pages.h"
#include "api/grading/run_facts.h"
#include "api/grading/run_receipts.h"
#include "api/http/answer_stream.h"
#include "api/http/exchange.h"
#include "api/options.h"
#include "common/base/alloc.h"
#include "common/db/database.h"
#include "common/store/result_store.h"
#include "common/store/run_jobs.h"

/* The data that the answer is made of. */
struct job_detail {
    struct run run;
    struct definition *definition;
    struct run_facts_found found;
    struct result result; /* without its text; its job is "" while there is none; its receipt's text
                             and its drift are owned */
    struct result_pages *texts;
    json_t *job; /* all members but the result, which may be long */
    uint32_t slot;
    const char *before, *after;
    bool is_begun;
    size_t max_result_bytes;
};

static void job_detail_take_result(const struct result *result, void *context)
{
    struct job_detail *detail = context;
    free(detail->result.receipt.text);
    free(detail->result.drift);
    detail->result = *result;
    detail->result.text = detail->result.files = detail->result.tests = NULL;
    if (result->receipt.text != NULL)
        detail->result.receipt.text = bw_copy(result->receipt.text);
    if (result->drift != NULL)
        detail->result.drift = bw_copy(result->drift);
}

/* The job's result; NULL: it has none. */
static const struct result *job_detail_result(const struct job_detail *detail)
{
    return detail->result.job[0] != '\0' ? &detail->result : NULL;
}

/* Reads the result, without its text and with its receipt, of a job that has an outcome. */
static enum bw_code job_detail_read_result(struct api *api, struct job_detail *detail,
                                           struct bw_error *error)
{
    char id[1][JOB_ID_SIZE];
    run_slot_job_id(&detail->run, detail->slot, id[0]);
    if (detail->found.jobs[detail->slot].outcome == OUTCOME_NONE)
        return BW_OK;
    return result_store_read_receipts(api->result_store, (const char(*)[JOB_ID_SIZE])id, 1,
                                      job_detail_take_result, detail, error);
}

static json_t *job_detail_log(const char *path)
{
    char *out = bw_format("%s?stream=stdout", path), *err = bw_format("%s?stream=stderr", path);
    json_t *log = json_pack("{s:s,s:s}", "stdout", out, "stderr", err);
    free(out);
    free(err);
    return log;
}

/* Adds where the job's logs are. `is_over`: it has ended. */
static void job_detail_add_logs(struct job_detail *detail, const struct job_detail_request *request,
                                bool is_over)
{
    json_object_set_new(detail->job, "log", job_detail_log(request->log));
    if (request->logs != NULL && is_over)
        json_object_set_new(detail->job, "logs", json_string(request->logs));
}

/* Adds what the list of jobs does not show. */
static enum bw_code job_detail_complete(struct api *api, struct job_detail *detail,
                                        struct bw_error *error)
{
    const struct job_attempts_sources sources = {.leases = api->lease_store,
                                                 .workers = api->worker_store,
                                                 .date_ms = database_now_ms(api->database)};
    json_t *attempts = NULL, *paused = NULL;
    enum bw_code code = job_attempts_make(&sources, &detail->run, detail->slot,
                                          job_detail_result(detail), &attempts, error);
    if (code != BW_OK)
        return code;
    json_object_set_new(detail->job, "run_id", json_string(detail->run.id));
    json_object_set_new(detail->job, "attempts", attempts);
    if (detail->result.drift != NULL)
        json_object_set_new(detail->job, "drift", json_loads(detail->result.drift, 0, NULL));
    if (detail->result.reason[0] != '\0')
        json_object_set_new(detail->job, "reason", json_string(detail->result.reason));
    if (detail->found.jobs[detail->slot].outcome == OUTCOME_NONE)
        code = pause_of_run(api, &detail->run, &paused, error);
    if (paused != NULL)
        json_object_set_new(detail->job, "paused", paused);
    return code;
}

/* Makes all members but the result. */
static enum bw_code job_detail_make(struct api *api, struct job_detail *detail,
                                    const struct job_detail_request *request,
                                    struct bw_error *error)
{
    const struct run_facts_sources sources = {.leases = api->lease_store,
                                              .results = api->result_store};
    const struct job_view view = {.run = &detail->run,
                                  .definition = detail->definition,
                                  .facts = detail->found.jobs,
                                  .phase = run_status_phase(&detail->run, detail->found.jobs)};
    struct job_entry entry = {.slot = detail->slot};
    enum bw_code code = job_entries_read(&sources, &view, &entry, 1, error);
    if (code == BW_OK)
        code = job_detail_read_result(api, detail, error);
    if (code != BW_OK)
        return code;
    /* These stand behind the result, where result_pages writes them; the drift is whole. */
    entry.signature[0] = entry.superseded_by[0] = '\0';
    entry.has_score = entry.has_max_score = false;
    entry.has_drift = false;
    detail->job = job_entry_make(&view, &entry);
    const char *left_over = run_status_job_left_over(&view.facts[detail->slot], view.phase);
    if (left_over != NULL)
        json_object_set_new(detail->job, "reason", json_string(left_over));
    job_detail_add_logs(detail, request, left_over != NULL || job_detail_result(detail) != NULL);
    return job_detail_complete(api, detail, error);
}

static enum bw_code job_detail_read(struct api *api, struct job_detail *detail,
                                    const struct job_detail_request *request,
                                    struct bw_error *error)
{
    const struct run_facts_sources sources = {.leases = api->lease_store,
                                              .results = api->result_store};
    enum bw_code code = definition_cache_get(api->definitions, detail->run.id, &detail->definition,
                                             error);
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_INTERNAL, "the definition of '%s' is missing", detail->run.id);
    if (code == BW_OK)
        code = run_facts_read(&sources, &detail->run, &detail->found, error);
    if (code != BW_OK)
        return code;
    detail->texts = result_pages_new(api->result_store, &detail->run, detail->found.jobs);
    return job_detail_make(api, detail, request, error);
}

/* ---- The answer ---- */

/* Writes the job's members without the closing brace. */
static void job_detail_write_begin(struct job_detail *detail, struct text_buffer *part)
{
    text_buffer_add_text(part, detail->before);
    text_buffer_add_new(part, json_incref(detail->job));
    part->length--;
    text_buffer_add_text(part, ",\"result\":");
}

static enum bw_code job_detail_write_result(struct job_detail *detail, struct text_buffer *part,
                                            struct bw_error *error)
{
    const struct job_fact *fact = &detail->found.jobs[detail->slot];
    const json_t *reason = json_object_get(detail->job, "reason");
    if (fact->outcome != OUTCOME_NONE)
        return result_pages_add(detail->texts, detail->slot, detail->slot + 1, part, error);
    text_buffer_add_new(part,
                        reason == NULL ? json_null() : json_copy((json_t *)(uintptr_t)reason));
    return BW_OK;
}

/* The result is read by a part of its own: `needed` is asked before it. */
static enum bw_code job_detail_produce(void *context, struct text_buffer *part, bool *is_last,
                                       struct bw_error *error)
{
    struct job_detail *detail = context;
    if (!detail->is_begun) {
        detail->is_begun = true;
        job_detail_write_begin(detail, part);
        return BW_OK;
    }
    enum bw_code code = job_detail_write_result(detail, part, error);
    if (detail->result.receipt.text != NULL) {
        text_buffer_add_text(part, ",\"receipt\":");
        run_receipts_write(&detail->result.receipt, NULL, part);
    }
    text_buffer_add_text(part, "}");
    text_buffer_add_text(part, detail->after);
    *is_last = true;
    return code;
}

static void job_detail_release(void *context)
{
    struct job_detail *detail = context;
    json_decref(detail->job);
    free(detail->result.receipt.text);
    free(detail->result.drift);
    result_pages_free(detail->texts);
    run_facts_clear(&detail->found);
    definition_release(detail->definition);
    run_clear(&detail->run);
    free(detail);
}

/* Bytes that the database's driver holds of a reply, beside the result that is copied from it. */
enum { REPLY_BYTES = 16 * 1024 * 1024 };

static size_t job_detail_held(const void *context)
{
    const struct job_detail *detail = context;
    return detail->found.count * sizeof *detail->found.jobs + result_pages_held(detail->texts);
}

/* Bytes for reading the result: a reply, and four copies of the longest result. */
static size_t job_detail_needed(const void *context)
{
    const struct job_detail *detail = context;
    return job_detail_result(detail) == NULL ? 0 : REPLY_BYTES + 4 * detail->max_result_bytes;
}

enum bw_code job_detail_send(struct api *api, struct exchange *exchange, const struct run *run,
                             const struct job_detail_request *request, struct bw_error *error)
{
    struct job_detail *detail = bw_alloc(sizeof *detail);
    detail->run = *run;
    detail->slot = request->slot;
    detail->before = request->before;
    detail->after = request->after;
    detail->max_result_bytes = (size_t)api->options->max_result_bytes;
    enum bw_code code = job_detail_read(api, detail, request, error);
    if (code != BW_OK) {
        job_detail_release(detail);
        return code;
    }
    answer_stream_send(api->answer_streams, exchange,
                       &(struct answer_source){.produce = job_detail_produce,
                                               .release = job_detail_release,
                                               .held = job_detail_held,
                                               .needed = job_detail_needed,
                                               .context = detail});
    return BW_OK;
}
