#include "api/course/grader.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "api/metrics.h"
#include "api/options.h"
#include "api/grading/poll.h"
#include "api/grading/registration.h"
#include "api/uplink/signals.h"
#include "api/grading/result_submission.h"

enum { MAX_CONCURRENCY = 1000 };

const struct json_field course_register_fields[] = {
    {.name = "hostname", .kind = FIELD_STRING, .is_required = true, .maximum = HOSTNAME_SIZE - 1},
    {.name = "concurrency", .kind = FIELD_INTEGER, .minimum = 1, .maximum = MAX_CONCURRENCY},
    {.name = NULL},
};

static enum bw_code check_results(const json_t *value, const char *path, const void *context,
                                  struct bw_error *error)
{
    size_t index;
    json_t *item;
    (void)context;
    if (!json_is_array(value))
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be a list, not %s", path,
                       json_kind_of(value));
    json_array_foreach (value, index, item)
        if (!json_is_object(item))
            return bw_fail(error, BW_BAD_REQUEST, "%s[%zu]: must be an object, not %s", path, index,
                           json_kind_of(item));
    return BW_OK;
}

static const struct json_field logs_fields[] = {
    {.name = "stdout", .kind = FIELD_STRING},
    {.name = "stderr", .kind = FIELD_STRING},
    {.name = NULL},
};

const struct json_field course_result_fields[] = {
    {.name = "grading_job_id", .kind = FIELD_STRING, .is_required = true},
    {.name = "success", .kind = FIELD_BOOLEAN, .is_required = true},
    {.name = "results", .kind = FIELD_ANY, .is_required = true, .check = check_results},
    {.name = "logs", .kind = FIELD_OBJECT, .is_required = true, .fields = logs_fields},
    {.name = NULL},
};

int64_t heartbeat_seconds(const struct api *api)
{
    int64_t interval_ms = api->options->heartbeat_interval_ms;
    return interval_ms <= 1000 ? 1 : (interval_ms + 999) / 1000;
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
    json_int_t heartbeat = heartbeat_seconds(registering->api);
    (void)epoch;
    free(registering);
    exchange_tell_limits(exchange);
    if (code == BW_OK)
        exchange_succeed(exchange, json_pack("{s:I}", "heartbeat", heartbeat));
    else
        exchange_refuse(exchange, code == BW_CONFLICT ? BW_BAD_REQUEST : code, error);
}

enum bw_code course_grader_register(struct api *api, struct exchange *exchange,
                                    struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct registering *registering = calloc(1, sizeof *registering);
    if (registering == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    *registering = (struct registering){api, exchange};
    struct registration registration = {.settled = course_grader_registered,
                                        .context = registering};
    struct worker *worker = &registration.worker;
    snprintf(worker->id, sizeof worker->id, "%s", request->parts[0]);
    snprintf(worker->hostname, sizeof worker->hostname, "%s",
             json_string_value(json_object_get(request->arguments, "hostname")));
    worker->concurrency = (int)json_integer_value(
        json_object_get(request->arguments, "concurrency"));
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

enum bw_code course_grader_heartbeat(struct api *api, struct exchange *exchange,
                                     struct bw_error *error)
{
    (void)error;
    signals_heard(api->signals, exchange_request(exchange)->parts[0], HEARD_HEARTBEAT);
    metric_add(api->metrics, API_HEARTBEATS, 1);
    exchange_answer(exchange, 200, NULL, NULL);
    return BW_OK;
}

/* ---- Result ---- */

enum bw_code course_result_refusal(enum bw_code code, struct bw_error *error)
{
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_BAD_REQUEST, "job with the given ID not found");
    if (code == BW_CONFLICT)
        return bw_fail(error, BW_BAD_REQUEST, "cannot update job that is not in STARTED state");
    return code;
}

static void course_grader_result_settled(enum bw_code code, const struct bw_error *error,
                                         void *context)
{
    struct bw_error own = {""};
    if (code == BW_OK || code == BW_TOO_LARGE) { /* on record, as far as it could be */
        exchange_succeed(context, json_null());
        return;
    }
    if (error != NULL)
        own = *error;
    code = course_result_refusal(code, &own);
    exchange_refuse(context, code, &own);
}

enum bw_code course_grader_result(struct api *api, struct exchange *exchange,
                                  struct bw_error *error)
{
    const struct request *request = exchange_request(exchange);
    struct result_submission_request submitted = {
        .job = json_string_value(json_object_get(request->arguments, "grading_job_id")),
        .worker = request->parts[0],
        .is_success = json_is_true(json_object_get(request->arguments, "success")),
        .result = json_object_get(request->arguments, "results"),
        .logs = json_object_get(request->arguments, "logs"),
        .mended = request->mended,
        .protocol = PROTOCOL_COURSE,
        .settled = course_grader_result_settled,
        .context = exchange,
    };
    enum bw_code code = result_submission_begin(api, &submitted, error);
    return code == BW_OK ? BW_PENDING : course_result_refusal(code, error);
}
