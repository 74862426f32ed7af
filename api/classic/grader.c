#include "api/classic/grader.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "api/options.h"
#include "api/grading/grader_limits.h"
#include "api/grading/poll.h"
#include "api/grading/worker_cache.h"
#include "api/grading/worker_heartbeat.h"
#include "common/base/alloc.h"
#include "common/base/secret.h"
#include "common/store/worker_store.h"

enum { REGISTER_TRY_MS = 10000, MAX_WAIT_S = 60, MAX_CONCURRENCY = 1000 };

static enum bw_code check_hostname(const json_t *value, const char *path, const void *context,
                                   struct bw_error *error)
{
    (void)context;
    const char *text = json_string_value(value);
    for (size_t i = 0; i < json_string_length(value); i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7F)
            return bw_fail(error, BW_BAD_REQUEST, "%s: must not contain control characters", path);
    return BW_OK;
}

const struct json_field classic_register_fields[] = {
    {.name = "token", .kind = FIELD_STRING, .is_required = true},
    {.name = "hostname",
     .kind = FIELD_STRING,
     .minimum = 0,
     .maximum = HOSTNAME_SIZE - 1,
     .check = check_hostname},
    {.name = "concurrency", .kind = FIELD_INTEGER, .minimum = 1, .maximum = MAX_CONCURRENCY},
    {.name = "files", .kind = FIELD_BOOLEAN},
    {.name = "digests", .kind = FIELD_BOOLEAN}, /* its jobs may have image_digests */
    {.name = "tags", .kind = FIELD_STRING, .check = worker_tags_check},
    {.name = "fault", .kind = FIELD_STRING, .check = worker_fault_check},
    {.name = "cancel", .kind = FIELD_BOOLEAN}, /* its heartbeats will name its jobs */
    {.name = NULL},
};

const struct json_field classic_poll_fields[] = {
    {.name = "worker_id", .kind = FIELD_STRING, .is_required = true},
    {.name = "wait", .kind = FIELD_NUMBER, .minimum = 0, .maximum = MAX_WAIT_S},
    {.name = NULL},
};

const struct json_field classic_heartbeat_fields[] = {
    {.name = "worker_id", .kind = FIELD_STRING, .is_required = true},
    {.name = "jobs", .kind = FIELD_STRING}, /* worker_heartbeat_take reads it */
    {.name = "fault", .kind = FIELD_STRING, .check = worker_fault_check},
    {.name = NULL},
};

static const char *text_argument(const struct exchange *exchange, const char *name)
{
    const char *text = json_string_value(
        json_object_get(exchange_request(exchange)->arguments, name));
    return text == NULL ? "" : text;
}

/* ---- Register ---- */

/* A registration, from the request until its document is stored. */
struct registration {
    struct worker_commit commit;
    struct api *api;
    struct exchange *exchange;
};

static void classic_grader_registered(struct worker_commit *commit, enum commit_outcome outcome)
{
    struct registration *registration = commit->context;
    struct api *api = registration->api;
    struct bw_error error;
    if (outcome == COMMIT_DONE) {
        worker_cache_add(api->workers[PROTOCOL_CLASSIC], commit->worker.id);
        grader_limits_write(api->options, registration->exchange);
        exchange_answer_json(registration->exchange,
                             json_pack("{s:s,s:I}", "worker_id", commit->worker.id, "heartbeat",
                                       (json_int_t)api_options_heartbeat_s(api->options)));
    } else {
        enum bw_code code = bw_fail(&error, BW_UNAVAILABLE,
                                    "the registration could not be stored: try again");
        exchange_refuse(registration->exchange, code, &error);
    }
    free(registration);
}

enum bw_code classic_grader_register(struct api *api, struct exchange *exchange,
                                     struct bw_error *error)
{
    (void)error;
    struct registration *registration = bw_alloc(sizeof *registration);
    registration->api = api;
    registration->exchange = exchange;
    struct worker *worker = &registration->commit.worker;
    const json_t *concurrency = json_object_get(exchange_request(exchange)->arguments,
                                                "concurrency");
    worker->protocol = PROTOCOL_CLASSIC;
    secret_random_hex(worker->id, WORKER_ID_LENGTH + 1);
    snprintf(worker->hostname, sizeof worker->hostname, "%s", text_argument(exchange, "hostname"));
    snprintf(worker->tags, sizeof worker->tags, "%s", text_argument(exchange, "tags"));
    snprintf(worker->fault, sizeof worker->fault, "%s", text_argument(exchange, "fault"));
    worker->concurrency = (int)json_integer_value(concurrency);
    /* Classic graders state neither, and send heartbeats only between jobs. */
    worker->sends_heartbeats = concurrency != NULL ||
                               json_object_get(exchange_request(exchange)->arguments, "hostname") !=
                                   NULL;
    worker->takes_files = json_is_true(
        json_object_get(exchange_request(exchange)->arguments, "files"));
    worker->takes_digests = json_is_true(
        json_object_get(exchange_request(exchange)->arguments, "digests"));
    worker->wants_cancels = json_is_true(
        json_object_get(exchange_request(exchange)->arguments, "cancel"));
    worker->is_alive = true;
    registration->commit.completed = classic_grader_registered;
    registration->commit.context = registration;
    worker_store_insert(api->worker_store, &registration->commit, REGISTER_TRY_MS);
    return BW_PENDING;
}

/* ---- Poll and heartbeat ---- */

enum bw_code classic_grader_poll(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    (void)error;
    const json_t *wait = json_object_get(exchange_request(exchange)->arguments, "wait");
    int64_t wait_ms = api->options->poll_wait_ms;
    if (wait != NULL)
        wait_ms = (int64_t)ceil(json_number_value(wait) * 1000);
    return poll_begin(api, exchange, text_argument(exchange, "worker_id"), wait_ms);
}

enum bw_code classic_grader_heartbeat(struct api *api, struct exchange *exchange,
                                      struct bw_error *error)
{
    const json_t *arguments = exchange_request(exchange)->arguments;
    const struct worker_heartbeat heartbeat = {
        .exchange = exchange,
        .worker = text_argument(exchange, "worker_id"),
        .jobs = json_string_value(json_object_get(arguments, "jobs")),
        .fault = json_string_value(json_object_get(arguments, "fault")),
        .answer = exchange_answer_json};
    return worker_heartbeat_take(api, &heartbeat, error);
}
