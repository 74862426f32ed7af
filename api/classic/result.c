#include "api/classic/result.h"

#include "api/http/arguments.h"
#include "api/http/exchange.h"
#include "api/http/form.h"
#include <stdio.h>
#include <string.h>

#include "api/grading/job_return.h"
#include "api/grading/result_files.h"
#include "api/grading/result_refusal.h"
#include "api/grading/result_scores.h"
#include "api/grading/result_submission.h"
#include "common/base/json.h"
#include "common/base/json_mend.h"

const struct json_field classic_result_fields[] = {
    {.name = "worker_id", .kind = FIELD_STRING, .is_required = true},
    {.name = "result", .kind = FIELD_ANY}, /* required, unless the job is returned */
    {.name = "success", .kind = FIELD_BOOLEAN},
    {.name = "logs", .kind = FIELD_ANY},  /* an object, or, in a form, its JSON text */
    {.name = "files", .kind = FIELD_ANY}, /* a list, or, in a form, its JSON text */
    {.name = "tests", .kind = FIELD_ANY}, /* the same */
    RESULT_SCORES_FIELDS,
    {.name = "outcome", .kind = FIELD_STRING, .check = job_return_check_outcome},
    {.name = "reason", .kind = FIELD_STRING},
    {.name = NULL},
};

static const struct json_field logs_fields[] = {
    {.name = "stdout", .kind = FIELD_STRING},
    {.name = "stderr", .kind = FIELD_STRING},
    {.name = "stdout_cut", .kind = FIELD_OBJECT, .fields = result_log_cut_fields},
    {.name = "stderr_cut", .kind = FIELD_OBJECT, .fields = result_log_cut_fields},
    {.name = NULL},
};

/* Reads an argument: a JSON value, or, in a form, its JSON text, which is replaced by the value.
 * *value is borrowed from the arguments; NULL if it is not there. Only the request may hold a
 * reference to it: once the submission has begun, another thread may answer and free the request.
 */
static enum bw_code classic_result_read_json(struct exchange *exchange, const char *name,
                                             json_t **value, struct bw_error *error)
{
    static const struct json_mend_limits limits = {.max_values = JSON_MEND_MAX_VALUES};
    const struct request *request = exchange_request(exchange);
    const struct json_limits cost = exchange_json_limits(exchange);
    json_t *parsed;
    *value = json_object_get(request->arguments, name);
    if (!json_is_string(*value))
        return BW_OK;
    enum bw_code code = json_parse_mended(json_string_value(*value), json_string_length(*value),
                                          name, &limits, &cost, &parsed, request->mended, error);
    if (code != BW_OK)
        return code;
    *value = parsed;
    return json_object_set_new(request->arguments, name, parsed) == 0
               ? BW_OK
               : bw_fail(error, BW_INTERNAL, "out of memory");
}

/* Reads the logs, the files and the tests. */
static enum bw_code classic_result_read(struct exchange *exchange, json_t **logs, json_t **files,
                                        struct bw_error *error)
{
    json_t *tests = NULL;
    if (json_object_get(exchange_request(exchange)->arguments, "result") == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "argument 'result' is missing");
    enum bw_code code = classic_result_read_json(exchange, "logs", logs, error);
    if (code == BW_OK && *logs != NULL)
        code = json_check(*logs, logs_fields, "logs", NULL, error);
    if (code == BW_OK)
        code = classic_result_read_json(exchange, "files", files, error);
    if (code == BW_OK)
        code = result_files_check(*files, "files", error);
    if (code == BW_OK)
        code = classic_result_read_json(exchange, "tests", &tests, error);
    return code == BW_OK && tests != NULL ? result_scores_check_tests(tests, "tests", NULL, error)
                                          : code;
}

/* The code of a refusal in this protocol: an unknown job, a job of another worker and a late result
 * are all 400. */
static enum bw_code classic_result_code(enum bw_code code)
{
    return code == BW_NOT_FOUND || code == BW_CONFLICT ? BW_BAD_REQUEST : code;
}

static void classic_result_completed(enum bw_code code, const struct bw_error *error, void *context)
{
    if (code == BW_OK)
        exchange_answer_json(context, json_object());
    else
        exchange_refuse(context, classic_result_code(code), error);
}

static const char *classic_result_worker(const struct request *request)
{
    return json_string_value(json_object_get(request->arguments, "worker_id"));
}

static enum bw_code classic_result_return(struct api *api, struct exchange *exchange,
                                          struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    const struct job_return_request returned = {
        .job = request->path_id,
        .worker = classic_result_worker(request),
        .arguments = request->arguments,
        .protocol = PROTOCOL_CLASSIC,
        .completed = classic_result_completed,
        .context = exchange,
    };
    enum bw_code code = job_return_begin(api, &returned, error);
    return code == BW_OK ? BW_PENDING : classic_result_code(code);
}

enum bw_code classic_result_handle(struct api *api, struct exchange *exchange,
                                   struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    json_t *logs, *files;
    if (job_return_is_asked(request->arguments))
        return classic_result_return(api, exchange, error);
    enum bw_code code = classic_result_read(exchange, &logs, &files, error);
    if (code != BW_OK) {
        result_refuse(api, exchange, code, error);
        return BW_PENDING;
    }
    struct result_submission_request submitted = {
        .protocol = PROTOCOL_CLASSIC,
        .job = request->path_id,
        .worker = classic_result_worker(request),
        .is_success = !json_is_false(json_object_get(request->arguments, "success")),
        .result = json_object_get(request->arguments, "result"),
        .logs = logs,
        .files = files,
        .scores = request->arguments,
        .mended = request->mended,
        .completed = classic_result_completed,
        .context = exchange,
    };
    code = result_submission_begin(api, &submitted, error);
    return code == BW_OK ? BW_PENDING : classic_result_code(code);
}

/* ---- Finding the sender of a result that can't be accepted ---- */

static enum bw_code classic_result_take_worker(const char *name, const char *value, void *context,
                                               struct bw_error *error)
{
    (void)error;
    char *worker = context;
    if (strcmp(name, "worker_id") == 0)
        snprintf(worker, WORKER_ID_SIZE, "%s", value);
    return BW_OK;
}

/* Searches an urlencoded form, whose end may be missing. */
static void classic_result_search_form(const char *text, size_t length, char *worker)
{
    struct bw_error unused;
    struct json_mend_report ignored = {{0}};
    enum bw_code code = form_read_urlencoded(text, length, "", classic_result_take_worker, worker,
                                             &ignored, &unused);
    if (code != BW_OK)
        worker[0] = '\0';
}

bool classic_result_query_worker(const struct request *request, char worker[WORKER_ID_SIZE])
{
    worker[0] = '\0';
    classic_result_search_form(request->query, strlen(request->query), worker);
    return is_hex_id(worker, WORKER_ID_LENGTH);
}

/* Searches a multipart form, whose end may be missing; only complete parts count. */
static void classic_result_search_parts(const char *type, const char *text, size_t length,
                                        char *worker)
{
    struct bw_error unused;
    struct json_mend_report ignored = {{0}};
    (void)!form_read_multipart(type, text, length, classic_result_take_worker, worker, &ignored,
                               &unused);
}

/* Searches the beginning of the body, whose kind is determined as in api/http/arguments.h. */
static void classic_result_search_body(const struct exchange *exchange, char *worker)
{
    const struct request *request = exchange_request(exchange);
    const char *type = exchange_header(exchange, "Content-Type");
    size_t length = request->body_length < RESULT_PREFIX_BYTES ? request->body_length
                                                               : RESULT_PREFIX_BYTES;
    if (arguments_body_is_json(type, request->body, length))
        (void)!json_find_text(request->body, length, "worker_id", 0, worker, WORKER_ID_SIZE);
    else if (is_multipart(type))
        classic_result_search_parts(type, request->body, length, worker);
    else
        classic_result_search_form(request->body, length, worker);
}

/* Finds the worker: in the query, in the body, or in the id that was found after the body's
 * beginning. */
static bool classic_result_find_worker(const struct exchange *exchange, char *worker)
{
    const struct request *request = exchange_request(exchange);
    classic_result_search_form(request->query, strlen(request->query), worker);
    if (worker[0] == '\0')
        classic_result_search_body(exchange, worker);
    if (worker[0] == '\0' && request->late_id != NULL)
        snprintf(worker, WORKER_ID_SIZE, "%s", request->late_id);
    return is_hex_id(worker, WORKER_ID_LENGTH);
}

static bool classic_result_names_worker(const struct exchange *exchange)
{
    char worker[WORKER_ID_SIZE] = "";
    return classic_result_find_worker(exchange, worker);
}

static bool classic_result_find(const struct exchange *exchange, char worker[WORKER_ID_SIZE],
                                char job[JOB_ID_SIZE])
{
    const struct request *request = exchange_request(exchange);
    snprintf(job, JOB_ID_SIZE, "%s", request->path_id);
    return is_hex_id(request->path_id, JOB_ID_LENGTH) &&
           classic_result_find_worker(exchange, worker);
}

const struct result_form classic_result_form = {
    .key = "worker_id", .find = classic_result_find, .names_worker = classic_result_names_worker};
