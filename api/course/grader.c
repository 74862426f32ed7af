#include "api/course/grader.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/course/envelope.h"
#include "api/api.h"
#include "api/options.h"
#include "api/grading/grader_limits.h"
#include "api/grading/job_return.h"
#include "api/grading/poll.h"
#include "api/grading/registration.h"
#include "api/grading/result_files.h"
#include "api/grading/result_refusal.h"
#include "api/grading/result_scores.h"
#include "api/grading/result_submission.h"
#include "api/grading/worker_heartbeat.h"
#include "api/http/form.h"
#include "common/base/alloc.h"

enum { MAX_CONCURRENCY = 1000 };

const struct json_field course_register_fields[] = {
    {.name = "hostname", .kind = FIELD_STRING, .is_required = true, .maximum = HOSTNAME_SIZE - 1},
    {.name = "concurrency", .kind = FIELD_INTEGER, .minimum = 1, .maximum = MAX_CONCURRENCY},
    {.name = "files", .kind = FIELD_BOOLEAN},
    {.name = "digests", .kind = FIELD_BOOLEAN}, /* its jobs may have image_digests */
    {.name = "tags", .kind = FIELD_STRING, .check = worker_tags_check},
    {.name = "fault", .kind = FIELD_STRING, .check = worker_fault_check},
    {.name = "cancel", .kind = FIELD_BOOLEAN}, /* its heartbeats will name its jobs */
    {.name = NULL},
};

static enum bw_code check_results(const json_t *value, const char *path, const void *context,
                                  struct bw_error *error)
{
    size_t index;
    json_t *item;
    (void)context;
    enum bw_code code = json_check_list(value, path, error);
    if (code != BW_OK)
        return code;
    json_array_foreach (value, index, item)
        if (!json_is_object(item))
            return bw_fail(error, BW_BAD_REQUEST, "%s[%zu]: must be an object, not %s", path, index,
                           json_kind_of(item));
    return BW_OK;
}

static const struct json_field logs_fields[] = {
    {.name = "stdout", .kind = FIELD_STRING},
    {.name = "stderr", .kind = FIELD_STRING},
    {.name = "stdout_cut", .kind = FIELD_OBJECT, .fields = result_log_cut_fields},
    {.name = "stderr_cut", .kind = FIELD_OBJECT, .fields = result_log_cut_fields},
    {.name = NULL},
};

static enum bw_code check_files(const json_t *value, const char *path, const void *context,
                                struct bw_error *error)
{
    (void)context;
    return result_files_check(value, path, error);
}

/* What a result must have, and may have. */
static const struct json_field strict_fields[] = {
    {.name = "grading_job_id", .kind = FIELD_STRING, .is_required = true},
    {.name = "success", .kind = FIELD_BOOLEAN, .is_required = true},
    {.name = "results", .kind = FIELD_ANY, .is_required = true, .check = check_results},
    {.name = "logs", .kind = FIELD_OBJECT, .is_required = true, .fields = logs_fields},
    {.name = "files", .kind = FIELD_ANY, .check = check_files},
    {.name = "tests", .kind = FIELD_ANY, .check = result_scores_check_tests},
    RESULT_SCORES_FIELDS,
    {.name = NULL},
};

static const struct json_field return_fields[] = {
    {.name = "grading_job_id", .kind = FIELD_STRING, .is_required = true},
    {.name = "outcome",
     .kind = FIELD_STRING,
     .is_required = true,
     .check = job_return_check_outcome},
    {.name = "reason", .kind = FIELD_STRING},
    {.name = "success", .kind = FIELD_ANY},
    {.name = "results", .kind = FIELD_ANY},
    {.name = "logs", .kind = FIELD_ANY},
    {.name = "files", .kind = FIELD_ANY},
    {.name = "score", .kind = FIELD_ANY},
    {.name = "max_score", .kind = FIELD_ANY},
    {.name = "tests", .kind = FIELD_ANY},
    {.name = "owner", .kind = FIELD_ANY},
    {.name = NULL},
};

/* Either of the two: course_result_check looks at what is required. */
const struct json_field course_result_fields[] = {
    {.name = "grading_job_id", .kind = FIELD_ANY}, {.name = "success", .kind = FIELD_ANY},
    {.name = "results", .kind = FIELD_ANY},        {.name = "logs", .kind = FIELD_ANY},
    {.name = "files", .kind = FIELD_ANY},          {.name = "outcome", .kind = FIELD_ANY},
    {.name = "reason", .kind = FIELD_ANY},         {.name = "score", .kind = FIELD_ANY},
    {.name = "max_score", .kind = FIELD_ANY},      {.name = "tests", .kind = FIELD_ANY},
    {.name = "owner", .kind = FIELD_ANY},          {.name = NULL},
};

enum bw_code course_result_check(const json_t *arguments, const char *path, struct bw_error *error)
{
    const struct json_field *fields = job_return_is_asked(arguments) ? return_fields
                                                                     : strict_fields;
    return json_check(arguments, fields, path, NULL, error);
}

/* ---- Register ---- */

struct registering {
    struct api *api;
    struct exchange *exchange;
};

static void course_grader_registered(enum bw_code code, int64_t epoch, const struct bw_error *error,
                                     void *context)
{
    struct registering *registering = context;
    struct exchange *exchange = registering->exchange;
    json_int_t heartbeat = api_options_heartbeat_s(registering->api->options);
    (void)epoch;
    grader_limits_write(registering->api->options, exchange);
    free(registering);
    if (code == BW_OK)
        course_succeed(exchange, json_pack("{s:I}", "heartbeat", heartbeat));
    else
        exchange_refuse(exchange, code == BW_CONFLICT ? BW_BAD_REQUEST : code, error);
}

enum bw_code course_grader_register(struct api *api, struct exchange *exchange,
                                    struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    (void)error;
    struct registering *registering = bw_alloc(sizeof *registering);
    *registering = (struct registering){api, exchange};
    struct registration registration = {.completed = course_grader_registered,
                                        .context = registering};
    struct worker *worker = &registration.worker;
    worker->protocol = PROTOCOL_COURSE;
    snprintf(worker->id, sizeof worker->id, "%s", request->parts[0]);
    snprintf(worker->hostname, sizeof worker->hostname, "%s",
             json_string_value(json_object_get(request->arguments, "hostname")));
    registration_take_texts(&registration, request->arguments);
    worker->concurrency = (int)json_integer_value(
        json_object_get(request->arguments, "concurrency"));
    worker->takes_files = json_is_true(json_object_get(request->arguments, "files"));
    worker->takes_digests = json_is_true(json_object_get(request->arguments, "digests"));
    worker->wants_cancels = json_is_true(json_object_get(request->arguments, "cancel"));
    registration_begin(api, &registration);
    return BW_PENDING;
}

/* ---- Poll and heartbeat ---- */

enum bw_code course_grader_poll(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    (void)error;
    return poll_begin(api, exchange, exchange_request(exchange)->parts[0],
                      api->options->course_poll_wait_ms);
}

/* The arguments of a heartbeat: new texts, free(); NULL: they are not there. */
struct heartbeat_arguments {
    char *jobs, *fault;
};

static enum bw_code course_grader_take_argument(const char *name, const char *value, void *context,
                                                struct bw_error *error)
{
    struct heartbeat_arguments *arguments = context;
    bool is_jobs = strcmp(name, "jobs") == 0;
    char **argument = is_jobs ? &arguments->jobs : &arguments->fault;
    (void)error;
    if (!is_jobs && strcmp(name, "fault") != 0)
        return BW_OK;
    free(*argument);
    *argument = bw_copy(value);
    return BW_OK;
}

/* ?jobs=...&fault=..., wherever they stand in the query, whose other arguments mean nothing. */
static struct heartbeat_arguments course_grader_read_query(const struct request *request)
{
    struct heartbeat_arguments arguments = {NULL, NULL};
    struct bw_error unused;
    struct json_mend_report ignored = {{0}};
    (void)!form_read_urlencoded(request->query, strlen(request->query), "the query",
                                course_grader_take_argument, &arguments, &ignored, &unused);
    return arguments;
}

/* BW_OK also if the grader does not say anything. */
static enum bw_code course_grader_check_fault(const char *fault, struct bw_error *error)
{
    json_auto_t *value = fault != NULL ? json_string(fault) : NULL;
    if (fault != NULL && value == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "fault: must be valid UTF-8");
    return value != NULL ? worker_fault_check(value, "fault", NULL, error) : BW_OK;
}

enum bw_code course_grader_heartbeat(struct api *api, struct exchange *exchange,
                                     struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct heartbeat_arguments arguments = course_grader_read_query(request);
    const struct worker_heartbeat heartbeat = {.exchange = exchange,
                                               .worker = request->parts[0],
                                               .jobs = arguments.jobs,
                                               .fault = arguments.fault,
                                               .answer = course_succeed};
    enum bw_code code = course_grader_check_fault(arguments.fault, error);
    if (code == BW_OK)
        code = worker_heartbeat_take(api, &heartbeat, error);
    free(arguments.jobs);
    free(arguments.fault);
    return code;
}

/* ---- Result ---- */

static enum bw_code course_result_refusal(enum bw_code code, struct bw_error *error)
{
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_BAD_REQUEST, "job with the given ID not found");
    if (code == BW_CONFLICT)
        return bw_fail(error, BW_BAD_REQUEST, "cannot update job that is not in STARTED state");
    return code;
}

static void course_grader_result_completed(enum bw_code code, const struct bw_error *error,
                                           void *context)
{
    struct bw_error own = {""};
    /* BW_TOO_LARGE: the job has failed with this reason, which is stored. */
    if (code == BW_OK || code == BW_TOO_LARGE) {
        course_succeed(context, json_null());
        return;
    }
    if (error != NULL)
        own = *error;
    code = course_result_refusal(code, &own);
    exchange_refuse(context, code, &own);
}

static enum bw_code course_grader_return(struct api *api, struct exchange *exchange,
                                         struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    const struct job_return_request returned = {
        .job = json_string_value(json_object_get(request->arguments, "grading_job_id")),
        .worker = request->parts[0],
        .arguments = request->arguments,
        .protocol = PROTOCOL_COURSE,
        .completed = course_grader_result_completed,
        .context = exchange,
    };
    enum bw_code code = job_return_begin(api, &returned, error);
    return code == BW_OK ? BW_PENDING : course_result_refusal(code, error);
}

enum bw_code course_grader_result(struct api *api, struct exchange *exchange,
                                  struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    enum bw_code code = course_result_check(request->arguments, "", error);
    if (code != BW_OK) {
        result_refuse(api, exchange, BW_BAD_BODY, error);
        return BW_PENDING;
    }
    if (job_return_is_asked(request->arguments))
        return course_grader_return(api, exchange, error);
    struct result_submission_request submitted = {
        .job = json_string_value(json_object_get(request->arguments, "grading_job_id")),
        .worker = request->parts[0],
        .is_success = json_is_true(json_object_get(request->arguments, "success")),
        .result = json_object_get(request->arguments, "results"),
        .logs = json_object_get(request->arguments, "logs"),
        .files = json_object_get(request->arguments, "files"),
        .scores = request->arguments,
        .mended = request->mended,
        .protocol = PROTOCOL_COURSE,
        .completed = course_grader_result_completed,
        .context = exchange,
    };
    code = result_submission_begin(api, &submitted, error);
    return code == BW_OK ? BW_PENDING : course_result_refusal(code, error);
}

/* ---- A result that can't be accepted ---- */

static bool course_grader_find_result(const struct exchange *exchange, char worker[WORKER_ID_SIZE],
                                      char job[JOB_ID_SIZE])
{
    const struct request *request = exchange_request(exchange);
    snprintf(worker, WORKER_ID_SIZE, "%s", request->parts[0]);
    bool is_found = json_find_text(request->body, request->body_length, "grading_job_id", 0, job,
                                   JOB_ID_SIZE);
    if (!is_found && request->late_id != NULL)
        snprintf(job, JOB_ID_SIZE, "%s", request->late_id);
    return is_hex_id(job, JOB_ID_LENGTH);
}

/* Answers 200 to a result that was too large, since graders of this protocol exit at any other
 * status, and they are not at fault. */
static void course_grader_accept_large(struct exchange *exchange)
{
    course_succeed(exchange, json_null());
}

const struct result_form course_result_form = {.key = "grading_job_id",
                                               .find = course_grader_find_result,
                                               .accept_large = course_grader_accept_large};
