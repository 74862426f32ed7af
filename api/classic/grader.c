#include "api/classic/grader.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "api/metrics.h"
#include "api/course/grader.h"
#include "api/options.h"
#include "api/grading/poll.h"
#include "api/uplink/signals.h"
#include "api/grading/worker_cache.h"
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
    {.name = NULL},
};

const struct json_field classic_poll_fields[] = {
    {.name = "worker_id", .kind = FIELD_STRING, .is_required = true},
    {.name = "wait", .kind = FIELD_NUMBER, .minimum = 0, .maximum = MAX_WAIT_S},
    {.name = NULL},
};

const struct json_field classic_heartbeat_fields[] = {
    {.name = "worker_id", .kind = FIELD_STRING, .is_required = true},
    {.name = NULL},
};

static const char *text_argument(const struct exchange *exchange, const char *name)
{
    const char *text = json_string_value(
        json_object_get(exchange_request(exchange)->arguments, name));
    return text == NULL ? "" : text;
}

/* ---- Register ---- */

/* From the request until its document is stored. */
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
        worker_cache_add(api->workers, commit->worker.id);
        exchange_tell_limits(registration->exchange);
        exchange_answer_json(registration->exchange,
                             json_pack("{s:s,s:I}", "worker_id", commit->worker.id, "heartbeat",
                                       (json_int_t)heartbeat_seconds(api)));
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
    struct registration *registration = calloc(1, sizeof *registration);
    if (registration == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    registration->api = api;
    registration->exchange = exchange;
    struct worker *worker = &registration->commit.worker;
    const json_t *concurrency = json_object_get(exchange_request(exchange)->arguments,
                                                "concurrency");
    secret_random_hex(worker->id, WORKER_ID_LENGTH + 1);
    snprintf(worker->hostname, sizeof worker->hostname, "%s", text_argument(exchange, "hostname"));
    worker->concurrency = (int)json_integer_value(concurrency);
    /* Classic graders state neither, and send heartbeats only between jobs. */
    worker->sends_heartbeats = concurrency != NULL ||
                               json_object_get(exchange_request(exchange)->arguments, "hostname") !=
                                   NULL;
    worker->is_alive = true;
    registration->commit.settled = classic_grader_registered;
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
    (void)error;
    signals_heard(api->signals, text_argument(exchange, "worker_id"), HEARD_HEARTBEAT);
    metric_add(api->metrics, API_HEARTBEATS, 1);
    exchange_answer(exchange, 200, NULL, NULL);
    return BW_OK;
}
