#include "api/grading/result_submission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/metrics.h"
#include "api/http/thread_pool.h"
#include "api/grading/delivery_table.h"
#include "api/grading/inflight.h"
#include "api/options.h"
#include "api/grading/result_refusal.h"
#include "api/grading/result_text.h"
#include "api/uplink/signals.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/domain/run.h"
#include "common/base/secret.h"
#include "common/store/lease_store.h"
#include "common/store/log_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"

enum { TRY_MS = 15000, RETRY_PAUSE_MS = 200, LEASE_WINDOW = 4 };

const struct json_field result_submission_fields[] = {
    {.name = "worker_id", .kind = FIELD_STRING, .is_required = true},
    {.name = "result", .kind = FIELD_ANY, .is_required = true},
    {.name = "success", .kind = FIELD_BOOLEAN},
    {.name = "logs", .kind = FIELD_ANY}, /* an object, or the same as text in a form: read_logs */
    {.name = NULL},
};

static const struct json_field logs_fields[] = {
    {.name = "stdout", .kind = FIELD_STRING},
    {.name = "stderr", .kind = FIELD_STRING},
    {.name = NULL},
};

struct submission {
    struct api *api;
    void (*settled)(enum bw_code code, const struct bw_error *error, void *context);
    void *context;
    struct job_id job;
    enum protocol protocol; /* the grader's: jobs of the other are not known to it */
    int64_t expires_ms;     /* clock_boot_ms until which it is tried */
    json_t *logs;           /* NULL: none */
    struct log_commit log;
    struct result_commit result; /* its text is the submission's */
    enum bw_code refused;        /* not BW_OK: the job fails by `refusal` */
    bool is_callers_refusal;     /* whose caller knows it, and waits for its being on record */
    struct bw_error refusal;
};

static struct submission *result_submission_new(struct api *api)
{
    struct submission *submission = calloc(1, sizeof *submission);
    if (submission == NULL)
        return NULL;
    submission->api = api;
    inflight_begin(api);
    return submission;
}

/* After this the api may be gone, unless what it was begun for counts by itself. */
static void result_submission_free(struct submission *submission)
{
    struct api *api = submission->api;
    json_decref(submission->logs);
    free(submission->result.result.text);
    free(submission);
    inflight_end(api);
}

/* Frees before it tells: what is left of the request may be freed by the HTTP server at once, in
 * another thread. */
static void submission_settle(struct submission *submission, enum bw_code code,
                              const struct bw_error *error)
{
    void (*settled)(enum bw_code, const struct bw_error *, void *) = submission->settled;
    void *context = submission->context;
    result_submission_free(submission);
    settled(code, error, context);
}

static void submission_refuse(struct submission *submission, enum bw_code code,
                              const struct bw_error *error)
{
    metric_add(submission->api->metrics,
               code == BW_UNAVAILABLE ? API_RESULTS_UNSTORED : API_RESULTS_REFUSED, 1);
    submission_settle(submission, code, error);
}

/* What people should know of a result that is on record. */
static void log_stored(const struct submission *submission)
{
    const struct result *result = &submission->result.result;
    if (submission->refused != BW_OK)
        log_warning("a result can't be taken: its job has failed", log_text("job", result->job),
                    log_text("worker", result->worker),
                    log_text("reason", submission->refusal.message));
    else if (result->note[0] != '\0')
        log_info("a result was mended", log_text("job", result->job),
                 log_text("worker", result->worker), log_text("note", result->note));
}

static void accept_result(struct submission *submission, enum api_metric as)
{
    metric_add(submission->api->metrics, submission->refused == BW_OK ? as : API_RESULTS_REFUSED,
               1);
    delivery_table_finish(submission->api->hand_outs, submission->result.result.job);
    log_stored(submission);
    if (submission->refused == BW_OK || submission->is_callers_refusal) {
        submission_settle(submission, BW_OK, NULL);
        return;
    }
    struct bw_error refusal = submission->refusal;
    submission_settle(submission, submission->refused, &refusal);
}

static int64_t time_left(const struct submission *submission)
{
    int64_t left_ms = submission->expires_ms - clock_boot_ms();
    return left_ms > 0 ? left_ms : 0;
}

/* ---- The last step: the result is stored, or something stands there ---- */

static enum bw_code refuse_second(const struct result *mine, const struct result *first,
                                  struct bw_error *error)
{
    const char *outcome = outcome_name(first->outcome);
    if (first->worker[0] == '\0')
        return bw_fail(error, BW_CONFLICT, "job '%s' has its result already: it %s%s%s", mine->job,
                       first->outcome == OUTCOME_CANCELLED ? "was cancelled" : outcome,
                       first->reason[0] == '\0' ? "" : ", ", first->reason);
    if (strcmp(first->worker, mine->worker) == 0)
        return bw_fail(error, BW_CONFLICT,
                       "job '%s' has its result already: this worker sent another one before (%s)",
                       mine->job, outcome);
    return bw_fail(error, BW_CONFLICT, "job '%s' has its result already: from another grader (%s)",
                   mine->job, outcome);
}

static bool is_repeated(const struct result *mine, const struct result *first)
{
    return strcmp(first->worker, mine->worker) == 0 && strcmp(first->digest, mine->digest) == 0;
}

static void settle_duplicate(struct submission *submission, const struct result *first)
{
    const struct result *mine = &submission->result.result;
    struct bw_error error;
    if (first == NULL) {
        enum bw_code code = bw_fail(&error, BW_UNAVAILABLE,
                                    "the result that job '%s' has could not be read", mine->job);
        submission_refuse(submission, code, &error);
        return;
    }
    if (is_repeated(mine, first) || MUTANT("duplicate_is_success")) {
        accept_result(submission, API_RESULTS_REPEATED);
        return;
    }
    delivery_table_finish(submission->api->hand_outs, mine->job);
    submission_refuse(submission, refuse_second(mine, first, &error), &error);
}

static enum bw_code become_refusal(struct submission *submission, enum bw_code code,
                                   const struct bw_error *refusal, struct bw_error *error);
static void store_result(struct submission *submission);

/* The database does not take what was to be stored: then the job fails by that. */
static void store_refusal(struct submission *submission)
{
    struct bw_error refusal, error;
    const char *job = submission->result.result.job;
    enum bw_code code = bw_fail(&refusal, BW_TOO_LARGE,
                                "the result of job '%s' does not fit one document of the database",
                                job);
    if (submission->refused != BW_OK)
        code = bw_fail(&error, BW_INTERNAL, "the result of job '%s' can't be stored", job);
    else
        code = become_refusal(submission, code, &refusal, &error);
    if (code == BW_OK)
        store_result(submission);
    else
        submission_refuse(submission, code, &error);
}

static void refuse_unstored(struct submission *submission, enum commit_outcome outcome)
{
    struct bw_error error;
    if (outcome == COMMIT_REFUSED) {
        store_refusal(submission);
        return;
    }
    enum bw_code code = bw_fail(&error, BW_UNAVAILABLE,
                                "the result of job '%s' could not be stored in time: send it again",
                                submission->result.result.job);
    submission_refuse(submission, code, &error);
}

static void submission_result_settled(struct result_commit *commit, enum commit_outcome outcome,
                                      const struct result *first)
{
    struct submission *submission = commit->context;
    if (outcome == COMMIT_DONE)
        accept_result(submission, API_RESULTS_ACCEPTED);
    else if (outcome == COMMIT_DUPLICATE)
        settle_duplicate(submission, first);
    else
        refuse_unstored(submission, outcome);
}

static void store_result(struct submission *submission)
{
    submission->result.settled = submission_result_settled;
    submission->result.context = submission;
    result_store_insert(submission->api->result_store, &submission->result, time_left(submission));
}

/* ---- Before it: the logs that the result's digest stands for ---- */

static void log_settled(struct log_commit *commit, enum commit_outcome outcome)
{
    struct submission *submission = commit->context;
    if (outcome == COMMIT_DONE)
        store_result(submission);
    else
        refuse_unstored(submission, outcome);
}

static void submission_store(struct submission *submission)
{
    if (submission->logs == NULL) {
        store_result(submission);
        return;
    }
    const json_t *out = json_object_get(submission->logs, "stdout"),
                 *err = json_object_get(submission->logs, "stderr");
    struct log_commit *log = &submission->log;
    memcpy(log->job, submission->result.result.job, sizeof log->job);
    memcpy(log->digest, submission->result.result.digest, sizeof log->digest);
    log->out = json_string_value(out);
    log->out_length = json_string_length(out);
    log->err = json_string_value(err);
    log->err_length = json_string_length(err);
    log->settled = log_settled;
    log->context = submission;
    log_store_insert(submission->api->log_store, log, time_left(submission));
}

/* ---- Before that: was the job ever handed to this worker? ---- */

struct search {
    const char *worker;
    uint32_t found; /* leases in this window */
    bool is_handed;
};

static void submission_take_lease(const struct lease *lease, void *context)
{
    struct search *search = context;
    search->found++;
    search->is_handed = search->is_handed || strcmp(lease->worker, search->worker) == 0;
}

/* Attempts have no gaps: on by windows until one is not full. Whatever became of the lease, it was
 * handed out. */
static enum bw_code search_leases(struct submission *submission, bool *is_handed,
                                  struct bw_error *error)
{
    struct search search = {.worker = submission->result.result.worker};
    char ids[1][JOB_ID_SIZE];
    memcpy(ids[0], submission->result.result.job, sizeof ids[0]);
    uint32_t first = 1;
    do {
        search.found = 0;
        enum bw_code code = lease_store_read(submission->api->lease_store,
                                             (const char(*)[JOB_ID_SIZE])ids, 1, first,
                                             LEASE_WINDOW, submission_take_lease, &search, error);
        if (code != BW_OK)
            return code;
        first += LEASE_WINDOW;
    } while (search.found == LEASE_WINDOW && !search.is_handed);
    *is_handed = search.is_handed || MUTANT("anyone_may_answer");
    return BW_OK;
}

static enum bw_code submission_refuse_unknown(const char *job, struct bw_error *error)
{
    char shown[80];
    return bw_fail(error, BW_NOT_FOUND, "job '%s' is not known",
                   text_show(job, shown, sizeof shown));
}

/* Why this worker may not send a result: there is no such job, or it was not its own. */
static enum bw_code refuse_stranger(struct submission *submission, struct bw_error *error)
{
    const struct job_id *job = &submission->job;
    const char *id = submission->result.result.job;
    struct run run;
    uint32_t slot;
    enum bw_code code = run_store_read(submission->api->run_store, job->run, &run, error);
    if (code == BW_NOT_FOUND)
        return submission_refuse_unknown(id, error);
    if (code != BW_OK)
        return code;
    bool is_course = submission->protocol == PROTOCOL_COURSE;
    bool is_known = (run.course[0] != '\0') == is_course &&
                    run_job_slot(run.has_pre, run.students, run.has_post, job->kind, job->index,
                                 &slot);
    run_clear(&run);
    if (!is_known)
        return submission_refuse_unknown(id, error);
    return bw_fail(error, BW_CONFLICT, "job '%s' was never handed to worker '%s'", id,
                   submission->result.result.worker);
}

static void judge_by_leases(void *context);

/* False: there is no time for it. */
static bool judge_again(struct submission *submission)
{
    return time_left(submission) > RETRY_PAUSE_MS &&
           thread_pool_submit_later(submission->api->thread_pool, true, RETRY_PAUSE_MS,
                                    judge_by_leases, submission);
}

/* On the thread pool. While the database is away the result waits, without a thread. */
static void judge_by_leases(void *context)
{
    struct submission *submission = context;
    struct bw_error error;
    bool is_handed;
    enum bw_code code = search_leases(submission, &is_handed, &error);
    if (code == BW_OK && !is_handed)
        code = refuse_stranger(submission, &error);
    if (code == BW_OK)
        submission_store(submission);
    else if (code != BW_UNAVAILABLE || !judge_again(submission))
        submission_refuse(submission, code, &error);
}

/* ---- First: what was sent ---- */

/* An object, or its JSON text in a form, which then takes the text's place. *logs: borrowed from
 * the arguments, NULL if there are none. Nobody but the request may hold a reference: it can be
 * answered and freed by another thread as soon as the submission is on its way. */
static enum bw_code read_logs(json_t *arguments, const struct json_limits *cost,
                              struct json_mend_report *mended, json_t **logs,
                              struct bw_error *error)
{
    static const struct json_mend_limits limits = {.max_values = JSON_MEND_MAX_VALUES};
    json_t *value = json_object_get(arguments, "logs");
    *logs = NULL;
    if (value == NULL)
        return BW_OK;
    if (json_is_string(value)) {
        json_t *parsed = NULL;
        enum bw_code code = json_parse_mended(json_string_value(value), json_string_length(value),
                                              "logs", &limits, cost, &parsed, mended, error);
        if (code != BW_OK)
            return code;
        value = parsed;
        if (json_object_set_new(arguments, "logs", parsed) != 0)
            return bw_fail(error, BW_INTERNAL, "memory is short");
    }
    enum bw_code code = json_check(value, logs_fields, "logs", NULL, error);
    if (code == BW_OK)
        *logs = value;
    return code;
}

/* Did the grader send any output? */
static bool is_silent(const json_t *logs)
{
    return json_string_length(json_object_get(logs, "stdout")) == 0 &&
           json_string_length(json_object_get(logs, "stderr")) == 0;
}

/* The value as it is stored: compact JSON within the limit. */
static enum bw_code submission_read_result(const struct api *api, const json_t *value,
                                           struct json_mend_report *mended, struct result *result,
                                           struct bw_error *error)
{
    bool is_cut;
    enum bw_code code = result_text_make(value, (size_t)api->options->max_result_bytes,
                                         &result->text, &is_cut, error);
    if (code != BW_OK)
        return code;
    mended->counts[JSON_MEND_SIZE] += is_cut;
    result->text_length = strlen(result->text);
    return BW_OK;
}

/* Of result, success and logs in one canonical form: equal after parsing is equal here. */
static enum bw_code make_digest(json_t *value, bool is_success, json_t *logs,
                                char digest[DIGEST_SIZE], struct bw_error *error)
{
    json_t *all = json_pack("{s:O,s:b,s:O?}", "result", value, "success", (int)is_success, "logs",
                            logs);
    char *text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(all);
    if (text == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    secret_digest(&(struct digest_part){text, strlen(text)}, 1, digest);
    free(text);
    return BW_OK;
}

/* The job fails by a refusal, whatever was sent. Only refusals for what a grader itself did wrong
 * count towards its being broken. */
static enum bw_code become_refusal(struct submission *submission, enum bw_code code,
                                   const struct bw_error *refusal, struct bw_error *error)
{
    struct result *result = &submission->result.result;
    struct json_t *sentence = json_string(refusal->message);
    submission->refused = code;
    submission->refusal = *refusal;
    json_decref(submission->logs);
    submission->logs = NULL;
    free(result->text);
    result->text = NULL;
    result->text_length = 0;
    result->note[0] = '\0';
    result->outcome = OUTCOME_FAILED;
    result->is_silent = code != BW_TOO_LARGE;
    text_show(refusal->message, result->reason, sizeof result->reason);
    code = make_digest(sentence, false, NULL, result->digest, error);
    json_decref(sentence);
    return code;
}

static enum bw_code fill_result(struct submission *submission,
                                const struct result_submission_request *request,
                                struct bw_error *error)
{
    struct result *result = &submission->result.result;
    struct json_mend_report mended = {{0}};
    if (request->mended != NULL)
        mended = *request->mended;
    result->outcome = request->is_success ? OUTCOME_SUCCEEDED : OUTCOME_FAILED;
    submission->logs = json_incref(request->logs);
    result->is_silent = !request->is_success && is_silent(request->logs);
    enum bw_code code = submission_read_result(submission->api, request->result, &mended, result,
                                               error);
    if (code != BW_OK)
        return code;
    json_mend_note(&mended, result->note);
    return make_digest(request->result, request->is_success, request->logs, result->digest, error);
}

static enum bw_code result_submission_fill(struct submission *submission,
                                           const struct result_submission_request *request,
                                           struct bw_error *error)
{
    struct result *result = &submission->result.result;
    struct bw_error refusal;
    if (!job_id_parse(request->job, &submission->job))
        return submission_refuse_unknown(request->job, error);
    job_id_format(&submission->job, result->job);
    snprintf(result->worker, sizeof result->worker, "%s", request->worker);
    submission->is_callers_refusal = request->refused != BW_OK;
    if (submission->is_callers_refusal)
        return become_refusal(submission, request->refused, request->refusal, error);
    enum bw_code code = fill_result(submission, request, &refusal);
    if (code == BW_TOO_LARGE)
        return become_refusal(submission, code, &refusal, error);
    *error = refusal;
    return code;
}

enum bw_code result_submission_begin(struct api *api,
                                     const struct result_submission_request *request,
                                     struct bw_error *error)
{
    struct submission *submission = result_submission_new(api);
    if (submission == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    submission->settled = request->settled;
    submission->context = request->context;
    submission->protocol = request->protocol;
    submission->expires_ms = clock_boot_ms() + TRY_MS;
    enum bw_code code = result_submission_fill(submission, request, error);
    if (code != BW_OK) {
        result_submission_free(submission);
        return code;
    }
    const struct result *result = &submission->result.result;
    bool is_handed = delivery_table_has(api->hand_outs, result->job, result->worker);
    if (is_handed || request->refused == BW_OK) /* else anybody may have sent it */
        signals_heard(api->signals, result->worker, HEARD_RESULT);
    if (is_handed)
        submission_store(submission);
    else
        thread_pool_submit(api->thread_pool, true, judge_by_leases, submission);
    return BW_OK;
}

/* ---- The classic protocol's form of it ---- */

/* Unknown, never handed out, too late: all are the caller's mistake. */
static enum bw_code seed_code(enum bw_code code)
{
    return code == BW_NOT_FOUND || code == BW_CONFLICT ? BW_BAD_REQUEST : code;
}

static void answer(enum bw_code code, const struct bw_error *error, void *context)
{
    if (code == BW_OK)
        exchange_answer_json(context, json_object());
    else
        exchange_refuse(context, seed_code(code), error);
}

enum bw_code result_submission_handle(struct api *api, struct exchange *exchange,
                                      struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    const struct json_limits limits = exchange_json_limits(exchange);
    json_t *logs = NULL;
    enum bw_code code = read_logs(request->arguments, &limits, request->mended, &logs, error);
    if (code != BW_OK) {
        result_refuse(api, exchange, code, error);
        return BW_PENDING;
    }
    struct result_submission_request submitted = {
        .job = request->path_id,
        .worker = json_string_value(json_object_get(request->arguments, "worker_id")),
        .is_success = !json_is_false(json_object_get(request->arguments, "success")),
        .result = json_object_get(request->arguments, "result"),
        .logs = logs,
        .mended = request->mended,
        .settled = answer,
        .context = exchange,
    };
    code = result_submission_begin(api, &submitted, error);
    return code == BW_OK ? BW_PENDING : seed_code(code);
}
