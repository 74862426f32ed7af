#include "api/grading/run_spans.h"
#include "api/grading/result_submission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/metrics.h"
#include "api/http/thread_pool.h"
#include "api/grading/delivery_table.h"
#include "api/grading/definition_cache.h"
#include "api/grading/image_pins.h"
#include "api/grading/inflight.h"
#include "api/grading/job_claim.h"
#include "api/grading/job_receipt.h"
#include "api/grading/job_return.h"
#include "api/grading/result_files.h"
#include "api/grading/result_scores.h"
#include "api/options.h"
#include "api/grading/result_text.h"
#include "api/uplink/signals.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/domain/log_pieces.h"
#include "common/domain/owner_rules.h"
#include "common/domain/receipt.h"
#include "common/store/log_store.h"
#include "common/store/result_store.h"

enum { TRY_MS = 15000, RETRY_PAUSE_MS = 200 };

struct submission {
    struct api *api;
    void (*completed)(enum bw_code code, const struct bw_error *error, void *context);
    void *context;
    struct job_claim claim;
    struct failure failure;            /* of a result that is a failure */
    char returned[RETURN_REASON_SIZE]; /* why the job is returned in place of its result */
    int64_t expires_ms;                /* clock_boot_ms of the end of all tries */
    json_t *logs;                      /* NULL: none */
    json_t *files;                     /* NULL: none */
    json_t *images;                    /* receipt_images; NULL: none */
    struct job_handing handing;
    struct run_spans_result spans;
    struct log_commit log;
    struct result_commit result; /* its texts and lists are owned by the submission */
    enum bw_code refused;        /* not BW_OK: the job fails, with `refusal` as the reason */
    bool is_callers_refusal; /* the caller has refused the result itself, and waits until that is
                                stored */
    struct bw_error refusal;
};

static struct submission *result_submission_new(struct api *api)
{
    struct submission *submission = bw_alloc(sizeof *submission);
    submission->api = api;
    inflight_begin(api);
    return submission;
}

/* Frees the submission. After this the api may be freed, unless the caller's own operation is
 * counted as in flight. */
static void result_submission_free(struct submission *submission)
{
    struct api *api = submission->api;
    json_decref(submission->logs);
    json_decref(submission->files);
    json_decref(submission->images);
    free(submission->result.result.text);
    free(submission->result.result.files);
    free(submission->result.result.receipt.text);
    free(submission->result.result.drift);
    free(submission->result.result.tests);
    free(submission);
    inflight_end(api);
}

/* Calls `completed`. The submission is freed first: once that is called, the HTTP server may free
 * the rest of the request, in another thread. */
static void submission_complete(struct submission *submission, enum bw_code code,
                                const struct bw_error *error)
{
    void (*completed)(enum bw_code, const struct bw_error *, void *) = submission->completed;
    void *context = submission->context;
    result_submission_free(submission);
    completed(code, error, context);
}

static void submission_refuse(struct submission *submission, enum bw_code code,
                              const struct bw_error *error)
{
    metric_add(submission->api->metrics,
               code == BW_UNAVAILABLE ? API_RESULTS_UNSTORED : API_RESULTS_REFUSED, 1);
    submission_complete(submission, code, error);
}

/* Logs a stored result that was refused or repaired, or that drifted. */
static void log_stored(const struct submission *submission)
{
    const struct result *result = &submission->result.result;
    if (result->drift != NULL)
        log_info("a job ran with another image than the run's pin", log_text("job", result->job),
                 log_text("images", result->drift));
    if (submission->refused != BW_OK)
        log_warning("result refused: its job has failed", log_text("job", result->job),
                    log_text("reason", submission->refusal.message));
    else if (result->note[0] != '\0')
        log_info("result repaired", log_text("job", result->job), log_text("note", result->note));
}

static void accept_result(struct submission *submission, enum api_metric as)
{
    metric_add(submission->api->metrics, submission->refused == BW_OK ? as : API_RESULTS_REFUSED,
               1);
    if (submission->result.result.drift != NULL && as == API_RESULTS_ACCEPTED)
        metric_add(submission->api->metrics, API_IMAGE_DRIFTS, 1);
    if (as == API_RESULTS_ACCEPTED)
        run_spans_result_stored(submission->api, &submission->claim.job, &submission->handing,
                                &submission->spans);
    delivery_table_finish(submission->api->hand_outs, submission->result.result.job);
    log_stored(submission);
    if (submission->refused == BW_OK || submission->is_callers_refusal) {
        submission_complete(submission, BW_OK, NULL);
        return;
    }
    struct bw_error refusal = submission->refusal;
    submission_complete(submission, submission->refused, &refusal);
}

static int64_t time_left(const struct submission *submission)
{
    int64_t left_ms = submission->expires_ms - clock_boot_ms();
    return left_ms > 0 ? left_ms : 0;
}

/* ---- Step 8: the result is stored, or the job has one already ---- */

static bool is_repeated(const struct result *mine, const struct result *first)
{
    return strcmp(first->worker, mine->worker) == 0 && strcmp(first->digest, mine->digest) == 0;
}

static bool submission_try_again(struct submission *submission, void (*step)(void *context));
static void complete_duplicate(struct submission *submission, const struct result *first);

/* Adds the result of a superseded job, which counts for nothing, beside its outcome. If another one
 * was added before, that one is compared. On the thread pool. */
static void keep_result(void *context)
{
    struct submission *submission = context;
    const struct result *mine = &submission->result.result;
    struct result_store *store = submission->api->result_store;
    struct bw_error error;
    struct result first;
    bool is_kept = false;
    enum bw_code code = result_store_keep(store, mine, &is_kept, &error);
    if (code == BW_OK && !is_kept)
        code = result_store_read_one(store, mine->job, &first, &error);
    if (code == BW_UNAVAILABLE && submission_try_again(submission, keep_result))
        return;
    if (code != BW_OK)
        submission_refuse(submission, code, &error);
    else if (is_kept)
        accept_result(submission, API_RESULTS_ACCEPTED);
    else
        complete_duplicate(submission, &first);
}

/* The result is late, for a reason that `refusal` says. Answers a grader that could not know that
 * as if it was taken. On the thread pool. */
static void submission_excuse(void *context)
{
    struct submission *submission = context;
    struct bw_error error = submission->refusal;
    struct bw_error unread;
    bool is_excused;
    enum bw_code code = job_claim_read_excuse(submission->api, &submission->claim, &is_excused,
                                              &unread);
    if (code == BW_UNAVAILABLE && submission_try_again(submission, submission_excuse))
        return;
    if (code != BW_OK) {
        submission_refuse(submission, code, &unread);
        return;
    }
    if (!is_excused) {
        submission_refuse(submission, BW_CONFLICT, &error);
        return;
    }
    log_info("late result dropped", log_text("job", submission->claim.id),
             log_text("reason", error.message));
    submission_refuse(submission, BW_OK, NULL);
}

static void complete_duplicate(struct submission *submission, const struct result *first)
{
    const struct result *mine = &submission->result.result;
    struct bw_error error;
    if (first == NULL) {
        enum bw_code code = bw_fail(&error, BW_UNAVAILABLE,
                                    "the stored result of job '%s' could not be read", mine->job);
        submission_refuse(submission, code, &error);
        return;
    }
    if (is_repeated(mine, first)) {
        accept_result(submission, API_RESULTS_REPEATED);
        return;
    }
    if (result_is_held_by(first, mine->worker)) {
        thread_pool_submit(submission->api->thread_pool, true, keep_result, submission);
        return;
    }
    delivery_table_finish(submission->api->hand_outs, mine->job);
    enum bw_code code = job_claim_refuse_second(mine->job, mine->worker, first, &error);
    if (job_claim_may_be_excused(&submission->claim, first)) {
        submission->refusal = error;
        thread_pool_submit(submission->api->thread_pool, true, submission_excuse, submission);
        return;
    }
    submission_refuse(submission, code, &error);
}

static enum bw_code become_refusal(struct submission *submission, enum bw_code code,
                                   const struct bw_error *refusal, struct bw_error *error);
static void store_result(struct submission *submission);
static bool submission_make_receipt(struct submission *submission);

/* Handles a result that the database does not accept: the job fails for this reason. */
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
    if (code != BW_OK) {
        submission_refuse(submission, code, &error);
        return;
    }
    (void)submission_make_receipt(submission); /* can't fail: the key was known before */
    store_result(submission);
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

static void submission_result_completed(struct result_commit *commit, enum commit_outcome outcome,
                                        const struct result *first)
{
    struct submission *submission = commit->context;
    if (outcome == COMMIT_DONE)
        accept_result(submission, API_RESULTS_ACCEPTED);
    else if (outcome == COMMIT_DUPLICATE)
        complete_duplicate(submission, first);
    else
        refuse_unstored(submission, outcome);
}

static void store_result(struct submission *submission)
{
    submission->result.completed = submission_result_completed;
    submission->result.context = submission;
    result_store_insert(submission->api->result_store, &submission->result, time_left(submission));
}

/* ---- Step 7: the logs are stored, under the result's digest ---- */

static void log_completed(struct log_commit *commit, enum commit_outcome outcome)
{
    struct submission *submission = commit->context;
    if (outcome != COMMIT_DONE) {
        refuse_unstored(submission, outcome);
        return;
    }
    metric_add(submission->api->metrics, API_LOG_BYTES_WHOLE,
               (int64_t)(commit->out_length + commit->err_length));
    store_result(submission);
}

const struct json_field result_log_cut_fields[] = {
    {.name = "at", .kind = FIELD_INTEGER, .is_required = true, .maximum = INT32_MAX},
    {.name = "missing",
     .kind = FIELD_INTEGER,
     .is_required = true,
     .minimum = 1,
     .maximum = (int64_t)LOG_MISSING_MAX},
    {.name = NULL},
};

/* Where the grader has cut a text. The mark must be there, since the text may have been repaired.
 */
static struct text_cut_place submission_read_cut(const json_t *text, const json_t *cut)
{
    struct text_cut_place place = {
        .head = (size_t)json_integer_value(json_object_get(cut, "at")),
        .missing = (size_t)json_integer_value(json_object_get(cut, "missing"))};
    bool has_mark = text_cut_has_mark(json_string_value(text), json_string_length(text), &place);
    return has_mark ? place : (struct text_cut_place){.missing = 0};
}

static void submission_store_logs(struct submission *submission)
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
    log->cuts.out = submission_read_cut(out, json_object_get(submission->logs, "stdout_cut"));
    log->cuts.err = submission_read_cut(err, json_object_get(submission->logs, "stderr_cut"));
    log->completed = log_completed;
    log->context = submission;
    log_store_insert(submission->api->log_store, log, time_left(submission));
}

/* Tries `step` again later. False: there is no time left. */
static bool submission_try_again(struct submission *submission, void (*step)(void *context))
{
    return time_left(submission) > RETRY_PAUSE_MS &&
           thread_pool_submit_later(submission->api->thread_pool, true, RETRY_PAUSE_MS, step,
                                    submission);
}

/* ---- Step 6: the receipt is made ---- */

static bool submission_make_receipt(struct submission *submission)
{
    submission->result.result.started_ms = submission->handing.handed_out_ms;
    return job_receipt_make(submission->api, submission->claim.protocol, &submission->handing,
                            submission->images, &submission->result.result);
}

/* A process that has just started may not know its key yet: then it is tried again on the thread
 * pool. */
static void submission_store(void *context)
{
    struct submission *submission = context;
    if (submission_make_receipt(submission))
        submission_store_logs(submission);
    else if (!submission_try_again(submission, submission_store))
        refuse_unstored(submission, COMMIT_UNKNOWN);
}

/* ---- Step 5: the images are pinned ---- */

/* The definition of the job's run, if there are images to pin. NULL: none are pinned. */
static enum bw_code submission_find_definition(struct submission *submission,
                                               struct definition **definition,
                                               struct bw_error *error)
{
    struct api *api = submission->api;
    const char *run = submission->claim.job.run;
    *definition = NULL;
    if (!image_pins_must_wait(api->image_pins, run, submission->images))
        return BW_OK;
    enum bw_code code = definition_cache_get(api->definitions, run, definition, error);
    return code == BW_UNAVAILABLE ? code : BW_OK; /* a run that is about to be removed has none */
}

/* Waits only if images_pins_must_wait: then on the thread pool. While the database is unavailable
 * it is retried, like the leases. */
static void submission_pin_images(void *context)
{
    struct submission *submission = context;
    struct definition *definition;
    struct bw_error error;
    json_t *drift = NULL;
    enum bw_code code = submission_find_definition(submission, &definition, &error);
    if (code == BW_OK)
        code = image_pins_compare(submission->api->image_pins, definition,
                                  submission->claim.job.run, submission->images, &drift, &error);
    definition_release(definition);
    if (code == BW_UNAVAILABLE && submission_try_again(submission, submission_pin_images))
        return;
    if (code != BW_OK) {
        refuse_unstored(submission, COMMIT_UNKNOWN);
        return;
    }
    free(submission->result.result.drift);
    submission->result.result.drift = drift != NULL ? json_dumps(drift, JSON_COMPACT) : NULL;
    json_decref(drift);
    submission_store(submission);
}

/* ---- Step 4: the files are recorded ---- */

static void submission_add_note(struct result *result, const char *more)
{
    size_t length = strlen(result->note);
    if (more[0] != '\0')
        snprintf(result->note + length, sizeof result->note - length, "%s%s",
                 length > 0 ? "; " : "", more);
}

/* On the thread pool. While the database is unavailable it is retried, like the leases. */
static void submission_record_files(void *context)
{
    struct submission *submission = context;
    struct bw_error error;
    char note[RESULT_FILES_NOTE_SIZE] = "";
    enum bw_code code = BW_OK;
    if (submission->files != NULL)
        code = result_files_keep(submission->api, &submission->claim.job, submission->files,
                                 &submission->result.result.files, note, &error);
    if (code == BW_UNAVAILABLE && submission_try_again(submission, submission_record_files))
        return;
    if (code != BW_OK) {
        refuse_unstored(submission, COMMIT_UNKNOWN);
        return;
    }
    submission_add_note(&submission->result.result, note);
    submission_pin_images(submission);
}

/* ---- Step 3: who is at fault, by the rules of the run ---- */

/* The job can't be returned. If it has a result, the rules mean nothing: the insert decides, as
 * without them. On the thread pool. */
static void submission_ignore_rules(void *context)
{
    struct submission *submission = context;
    struct bw_error reason = submission->refusal;
    struct result first;
    struct bw_error error;
    enum bw_code code = result_store_read_one(submission->api->result_store, submission->claim.id,
                                              &first, &error);
    if (code == BW_UNAVAILABLE && submission_try_again(submission, submission_ignore_rules))
        return;
    if (code == BW_OK)
        submission_record_files(submission);
    else if (code == BW_NOT_FOUND)
        submission_refuse(submission, BW_CONFLICT, &reason);
    else
        submission_refuse(submission, code, &error);
}

static void submission_returned(enum bw_code code, const struct bw_error *error, void *context)
{
    struct submission *submission = context;
    if (code == BW_CONFLICT) {
        submission->refusal = *error;
        submission_ignore_rules(submission);
        return;
    }
    if (code != BW_OK) {
        submission_refuse(submission, code, error);
        return;
    }
    log_info("failure returned by an owner rule", log_text("job", submission->claim.id),
             log_text("reason", submission->returned));
    submission_complete(submission, BW_OK, NULL);
}

/* A rule holds the infrastructure responsible: the job is returned in the grader's name. */
static void submission_return(struct submission *submission, int rule)
{
    struct bw_error error;
    char exit_code[48] = "";
    if (submission->failure.has_exit_code)
        snprintf(exit_code, sizeof exit_code, ": exit code %lld",
                 (long long)submission->failure.exit_code);
    snprintf(submission->returned, sizeof submission->returned,
             "it failed, and " OWNER_RULES_KEY
             "[%d] of its run holds the infrastructure responsible%s",
             rule, exit_code);
    json_t *arguments = json_pack("{s:s}", "reason", submission->returned);
    const struct job_return_request returned = {.job = submission->claim.id,
                                                .worker = submission->claim.worker,
                                                .arguments = arguments,
                                                .protocol = submission->claim.protocol,
                                                .is_ruled = true,
                                                .completed = submission_returned,
                                                .context = submission};
    enum bw_code code = job_return_begin(submission->api, &returned, &error);
    json_decref(arguments);
    if (code != BW_OK)
        submission_refuse(submission, code, &error);
}

/* True: the job is returned in place of the result. */
static bool submission_apply_rules(struct submission *submission,
                                   const struct definition *definition)
{
    int rule;
    const json_t *rules = definition_owner_rules(definition);
    enum job_owner owner = owner_rules_decide(rules, &submission->failure, &rule);
    if (owner == OWNER_INFRASTRUCTURE) {
        submission_return(submission, rule);
        return true;
    }
    if (rule >= 0) /* else the grader may have said it */
        submission->result.result.owner = owner;
    return false;
}

/* On the thread pool. A run without a definition is being removed: its result is refused, or of no
 * use. */
static void submission_find_owner(void *context)
{
    struct submission *submission = context;
    struct definition *definition;
    struct bw_error unused;
    enum bw_code code = definition_cache_get(submission->api->definitions,
                                             submission->claim.job.run, &definition, &unused);
    if (code == BW_UNAVAILABLE && submission_try_again(submission, submission_find_owner))
        return;
    if (code == BW_UNAVAILABLE) {
        refuse_unstored(submission, COMMIT_UNKNOWN);
        return;
    }
    bool is_returned = code == BW_OK && submission_apply_rules(submission, definition);
    if (code == BW_OK)
        definition_release(definition);
    if (!is_returned)
        submission_record_files(submission);
}

/* Whether the result is a failure that a grader reports, and the rules of its run may have to be
 * read. Does not wait. */
static bool submission_has_rules(const struct submission *submission)
{
    if (submission->refused != BW_OK || submission->result.result.outcome != OUTCOME_FAILED)
        return false;
    struct definition *definition = definition_cache_find(submission->api->definitions,
                                                          submission->claim.job.run);
    bool has_rules = definition == NULL || definition_owner_rules(definition) != NULL;
    definition_release(definition);
    return has_rules;
}

/* ---- Step 2: whether the job was handed to this worker ---- */

/* Checks the sender by the leases. On the thread pool. While the database is unavailable the
 * submission is retried later, without blocking a thread. */
static void classify_by_leases(void *context)
{
    struct submission *submission = context;
    struct bw_error error;
    struct lease last;
    enum bw_code code = job_claim_check(submission->api, &submission->claim, &last, &error);
    if (code == BW_OK)
        code = job_handing_read(submission->api, &submission->claim.job, &last,
                                &submission->handing, &error);
    if (code == BW_OK && submission_has_rules(submission))
        submission_find_owner(submission);
    else if (code == BW_OK)
        submission_record_files(submission);
    else if (code != BW_UNAVAILABLE || !submission_try_again(submission, classify_by_leases))
        submission_refuse(submission, code, &error);
}

/* ---- Step 1: the request is read ---- */

/* Whether the logs are empty. */
static bool is_silent(const json_t *logs)
{
    return json_string_length(json_object_get(logs, "stdout")) == 0 &&
           json_string_length(json_object_get(logs, "stderr")) == 0;
}

/* Makes the stored text of the result: compact JSON within the limit. */
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

/* The digest of what the grader sent (logs, files, scores: NULL without them) in one canonical
 * form, so that texts that parse to equal values have equal digests. */
static enum bw_code make_digest(const struct result_submission_request *sent,
                                char digest[DIGEST_SIZE], struct bw_error *error)
{
    json_t *all = json_pack("{s:O,s:b,s:O?}", "result", sent->result, "success",
                            (int)sent->is_success, "logs", sent->logs);
    if (sent->files != NULL)
        json_object_set(all, "files", sent->files);
    result_scores_copy(sent->scores, all);
    char *text = all == NULL ? NULL : json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(all);
    if (text == NULL)
        return bw_fail(error, BW_INTERNAL, "out of memory");
    secret_digest(&(struct digest_part){text, strlen(text)}, 1, digest);
    free(text);
    return BW_OK;
}

/* Replaces the submitted result by a failure whose reason is the refusal. The failure counts as
 * silent, as a sign of a broken grader, except for a result that was too large; in any case the
 * grader is at fault, which must not send such a result. */
static enum bw_code become_refusal(struct submission *submission, enum bw_code code,
                                   const struct bw_error *refusal, struct bw_error *error)
{
    struct result *result = &submission->result.result;
    json_t *sentence = json_string(refusal->message);
    submission->refused = code;
    submission->refusal = *refusal;
    json_decref(submission->logs);
    submission->logs = NULL;
    json_decref(submission->files);
    submission->files = NULL;
    json_decref(submission->images);
    submission->images = NULL;
    free(result->drift);
    result->drift = NULL;
    free(result->text);
    result->text = NULL;
    free(result->files);
    result->files = NULL;
    free(result->tests);
    result->tests = NULL;
    result->has_score = result->has_max_score = false;
    result->text_length = 0;
    result->note[0] = '\0';
    result->outcome = OUTCOME_FAILED;
    result->is_silent = code != BW_TOO_LARGE;
    text_show(refusal->message, result->reason, sizeof result->reason);
    result->owner = OWNER_INFRASTRUCTURE;
    failure_signature_make(sentence, NULL, result->signature);
    code = make_digest(&(struct result_submission_request){.result = sentence}, result->digest,
                       error);
    json_decref(sentence);
    return code;
}

static enum bw_code fill_result(struct submission *submission,
                                const struct result_submission_request *request,
                                struct bw_error *error)
{
    struct result *result = &submission->result.result;
    struct json_mend_report mended = {{0}};
    char note[RESULT_SCORES_NOTE_SIZE];
    if (request->mended != NULL)
        mended = *request->mended;
    result->outcome = request->is_success ? OUTCOME_SUCCEEDED : OUTCOME_FAILED;
    submission->logs = json_incref(request->logs);
    submission->files = json_incref(request->files);
    submission->images = receipt_images(request->result);
    result->is_silent = !request->is_success && is_silent(request->logs);
    if (!request->is_success) {
        result->owner = owner_of_kind(submission->claim.job.kind);
        failure_read(request->result, submission->claim.job.kind, &submission->failure);
        failure_signature_make(request->result, request->logs, result->signature);
    }
    result_scores_take(request->scores, result, note);
    enum bw_code code = submission_read_result(submission->api, request->result, &mended, result,
                                               error);
    if (code != BW_OK)
        return code;
    json_mend_note(&mended, result->note);
    submission_add_note(result, note);
    return make_digest(request, result->digest, error);
}

static enum bw_code result_submission_fill(struct submission *submission,
                                           const struct result_submission_request *request,
                                           struct bw_error *error)
{
    struct result *result = &submission->result.result;
    struct bw_error refusal;
    struct job_claim *claim = &submission->claim;
    enum bw_code code = job_claim_make(request->job, request->worker, request->protocol, claim,
                                       error);
    if (code != BW_OK)
        return code;
    memcpy(result->job, claim->id, sizeof result->job);
    memcpy(result->worker, claim->worker, sizeof result->worker);
    submission->is_callers_refusal = request->refused != BW_OK;
    if (submission->is_callers_refusal)
        return become_refusal(submission, request->refused, request->refusal, error);
    code = fill_result(submission, request, &refusal);
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
    submission->completed = request->completed;
    submission->context = request->context;
    submission->expires_ms = clock_boot_ms() + TRY_MS;
    run_spans_note_result(api, request->result, &submission->spans);
    enum bw_code code = result_submission_fill(submission, request, error);
    if (code != BW_OK) {
        result_submission_free(submission);
        return code;
    }
    const struct result *result = &submission->result.result;
    bool is_handed = delivery_table_find(api->hand_outs, result->job, result->worker,
                                         &submission->handing);
    if (is_handed ||
        request->refused == BW_OK) /* a refused body without a hand-out may come from anyone */
        signals_seen(api->signals, result->worker, SEEN_RESULT);
    if (is_handed && submission_has_rules(submission))
        thread_pool_submit(api->thread_pool, true, submission_find_owner, submission);
    else if (is_handed && submission->files == NULL &&
             !image_pins_must_wait(api->image_pins, submission->claim.job.run, submission->images))
        submission_pin_images(submission);
    else if (is_handed)
        thread_pool_submit(api->thread_pool, true, submission_record_files, submission);
    else
        thread_pool_submit(api->thread_pool, true, classify_by_leases, submission);
    return BW_OK;
}
