#include "api/internal/callback_handler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/metrics.h"
#include "api/course/websocket.h"
#include "api/grading/definition_cache.h"
#include "api/grading/event_streams.h"
#include "api/grading/delivery_table.h"
#include "api/grading/poll_table.h"
#include "api/uplink/scheduler_queries.h"
#include "api/uplink/signals.h"
#include "common/base/json_write.h"
#include "common/domain/course_definition.h"
#include "common/domain/run_definition.h"
#include "common/base/failpoint.h"

enum { MAX_ITEMS = 100000 };

static const struct json_field hand_out_fields[] = {
    {.name = "poll", .kind = FIELD_INTEGER, .is_required = true},
    {.name = "worker",
     .kind = FIELD_STRING,
     .is_required = true,
     .minimum = 1,
     .maximum = WORKER_ID_SIZE - 1},
    {.name = "job",
     .kind = FIELD_STRING,
     .is_required = true,
     .minimum = JOB_ID_LENGTH,
     .maximum = JOB_ID_LENGTH},
    {.name = "attempt",
     .kind = FIELD_INTEGER,
     .is_required = true,
     .minimum = 1,
     .maximum = 1000000},
    {.name = "expires_in_ms", .kind = FIELD_INTEGER, .is_required = true},
    {.name = NULL},
};

static enum bw_code check_polls(const json_t *value, const char *path, const void *context,
                                struct bw_error *error)
{
    (void)context;
    if (!json_is_array(value))
        return bw_fail(error, BW_BAD_REQUEST, "%s: must be a list", path);
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!json_is_integer(json_array_get(value, i)))
            return bw_fail(error, BW_BAD_REQUEST, "%s[%zu]: must be an integer", path, i);
    return BW_OK;
}

const struct json_field callback_fields[] = {
    {.name = "term", .kind = FIELD_INTEGER, .is_required = true},
    {.name = "process", .kind = FIELD_STRING},
    {.name = "announce", .kind = FIELD_BOOLEAN},
    {.name = "hand_outs", .kind = FIELD_LIST, .maximum = MAX_ITEMS, .fields = hand_out_fields},
    {.name = "empty", .kind = FIELD_ANY, .check = check_polls},
    {.name = "answers", .kind = FIELD_ANY}, /* [{"question", "value"}]: read leniently */
    {.name = "events", .kind = FIELD_ANY},  /* [{"watch", "type", "data"}] */
    {.name = NULL},
};

enum outcome { HAND_OUT_DELIVERED, HAND_OUT_GONE, HAND_OUT_UNDELIVERABLE };

static const char *const outcome_names[] = {"delivered", "gone", "undeliverable"};
static const enum api_metric outcome_metrics[] = {API_HAND_OUTS_DELIVERED, API_HAND_OUTS_GONE,
                                                  API_HAND_OUTS_UNDELIVERABLE};

/* A hand-out on its way to its poll. */
struct delivery {
    struct hand_out hand_out;
    bool is_socket;
    char *payload; /* what the poll will be answered; NULL: it will not */
    enum outcome outcome;
    struct bw_error reason; /* if undeliverable */
};

/* ---- Building, which may wait and may fail as a whole ---- */

static void read_hand_out(const json_t *value, struct hand_out *hand_out)
{
    hand_out->poll = json_integer_value(json_object_get(value, "poll"));
    hand_out->attempt = (uint32_t)json_integer_value(json_object_get(value, "attempt"));
    hand_out->expires_in_ms = json_integer_value(json_object_get(value, "expires_in_ms"));
    snprintf(hand_out->worker, sizeof hand_out->worker, "%s",
             json_string_value(json_object_get(value, "worker")));
    snprintf(hand_out->job, sizeof hand_out->job, "%s",
             json_string_value(json_object_get(value, "job")));
}

/* BW_UNAVAILABLE: not now. Any other failure makes the job undeliverable. */
static enum bw_code build_payload(struct api *api, struct delivery *delivery)
{
    struct job_id job;
    struct definition *definition;
    if (!job_id_parse(delivery->hand_out.job, &job))
        return bw_fail(&delivery->reason, BW_NOT_FOUND, "'%s' is not a job id",
                       delivery->hand_out.job);
    enum bw_code code = definition_cache_get(api->definitions, job.run, &definition,
                                             &delivery->reason);
    if (code != BW_OK)
        return code;
    if (definition_is_course(definition))
        code = course_job_payload(definition_object(definition), &job,
                                  delivery->is_socket ? COURSE_GRADER_SOCKET : COURSE_GRADER_HTTP,
                                  &delivery->payload, &delivery->reason);
    else
        code = definition_job_payload(definition, &job, delivery->hand_out.attempt,
                                      &delivery->payload, &delivery->reason);
    definition_release(definition);
    return code;
}

/* BW_OK, or BW_UNAVAILABLE for the callback as a whole. */
static enum bw_code callback_prepare(struct api *api, struct delivery *delivery,
                                     struct bw_error *error)
{
    const struct hand_out *hand_out = &delivery->hand_out;
    if (delivery_table_delivered(api->hand_outs, hand_out)) {
        delivery->outcome = HAND_OUT_DELIVERED;
        return BW_OK;
    }
    delivery->outcome = HAND_OUT_GONE;
    if (!poll_table_has(api->polls, hand_out->poll, hand_out->worker))
        return BW_OK;
    delivery->is_socket = poll_table_is_socket(api->polls, hand_out->poll);
    enum bw_code code = build_payload(api, delivery);
    if (code == BW_UNAVAILABLE) {
        *error = delivery->reason;
        return code;
    }
    if (code != BW_OK)
        delivery->outcome = HAND_OUT_UNDELIVERABLE;
    return BW_OK;
}

/* ---- Delivering, which neither waits nor fails ---- */

/* Answers the poll, if it is still there and its client too. */
static bool hand_to_poll(struct api *api, struct delivery *delivery)
{
    struct exchange *exchange = poll_table_take(api->polls, delivery->hand_out.poll,
                                                delivery->hand_out.worker);
    if (exchange == NULL)
        return false;
    if (exchange_is_gone(exchange)) {
        exchange_refuse(exchange, BW_NO_JOB, NULL);
        return false;
    }
    FAILPOINT("before_hand_out_answer");
    exchange_answer(exchange, 200, delivery->payload, NULL);
    delivery->payload = NULL;
    return true;
}

/* The same for a websocket: if it has ended, its worker has, and the job goes with it. */
static bool hand_to_socket(struct api *api, struct delivery *delivery)
{
    uint64_t socket = poll_table_take_socket(api->polls, delivery->hand_out.poll,
                                             delivery->hand_out.worker);
    if (socket == 0)
        return false;
    course_socket_push(api, socket, delivery->hand_out.job, delivery->payload);
    delivery->payload = NULL;
    return true;
}

static void deliver(struct api *api, struct delivery *delivery)
{
    const struct hand_out *hand_out = &delivery->hand_out;
    if (delivery->payload == NULL)
        return;
    if (!delivery_table_begin(api->hand_outs, hand_out)) {
        /* Another try of the same callback was faster. */
        bool is_delivered = delivery_table_delivered(api->hand_outs, hand_out);
        delivery->outcome = is_delivered ? HAND_OUT_DELIVERED : HAND_OUT_GONE;
        return;
    }
    bool is_delivered = delivery->is_socket ? hand_to_socket(api, delivery)
                                            : hand_to_poll(api, delivery);
    delivery_table_settle(api->hand_outs, hand_out, is_delivered);
    delivery->outcome = is_delivered ? HAND_OUT_DELIVERED : HAND_OUT_GONE;
}

static void answer_empty_polls(struct api *api, const json_t *polls)
{
    for (size_t i = 0; i < json_array_size(polls); i++)
        poll_table_empty(api->polls, json_integer_value(json_array_get(polls, i)));
}

static void take_answers(struct api *api, const json_t *answers)
{
    size_t index;
    json_t *answer;
    json_array_foreach (answers, index, answer)
        scheduler_queries_answer(api->queries,
                                 json_integer_value(json_object_get(answer, "question")),
                                 json_object_get(answer, "value"));
}

static void take_events(struct api *api, const json_t *events)
{
    size_t index;
    json_t *event;
    json_array_foreach (events, index, event)
        event_streams_take(api->streams, json_integer_value(json_object_get(event, "watch")),
                           json_string_value(json_object_get(event, "type")),
                           json_object_get(event, "data"));
}

static json_t *deliveries_answer(const struct api *api, const struct delivery *deliveries,
                                 size_t count)
{
    json_t *outcomes = json_array(), *reasons = json_object();
    for (size_t i = 0; i < count; i++) {
        char index[24];
        json_array_append_new(outcomes, json_string(outcome_names[deliveries[i].outcome]));
        metric_add(api->metrics, outcome_metrics[deliveries[i].outcome], 1);
        if (deliveries[i].outcome != HAND_OUT_UNDELIVERABLE)
            continue;
        snprintf(index, sizeof index, "%zu", i);
        json_object_set_new(reasons, index, json_string(deliveries[i].reason.message));
    }
    return json_pack("{s:s,s:o,s:o}", "process", api->process_id, "outcomes", outcomes, "reasons",
                     reasons);
}

/* First all payloads, then all polls: what can't be built now leaves everything as it was. */
static enum bw_code hand_out_all(struct api *api, struct delivery *deliveries, size_t count,
                                 struct bw_error *error)
{
    for (size_t i = 0; i < count; i++) {
        enum bw_code code = callback_prepare(api, &deliveries[i], error);
        if (code != BW_OK)
            return code;
    }
    for (size_t i = 0; i < count; i++)
        deliver(api, &deliveries[i]);
    return BW_OK;
}

/* ---- The callback ---- */

static void refuse_conflict(struct exchange *exchange, json_t *body)
{
    exchange_answer(exchange, 409, json_write(body, JSON_COMPACT), NULL);
    json_decref(body);
}

/* Raises the highest term seen; false: a higher one was seen before. */
static bool raise_term(struct api *api, int64_t term, int64_t *highest)
{
    *highest = atomic_load(&api->highest_term);
    while (*highest < term)
        if (atomic_compare_exchange_weak(&api->highest_term, highest, term))
            return true;
    return MUTANT("any_term_at_replica") || *highest == term;
}

/* Is it for this process, from a leader who may still lead? Otherwise it is answered, and nothing
 * is done. */
static bool accept_callback(struct api *api, struct exchange *exchange, const json_t *arguments)
{
    const char *process = json_string_value(json_object_get(arguments, "process"));
    int64_t term = json_integer_value(json_object_get(arguments, "term")), highest;
    if (process != NULL && process[0] != '\0' && strcmp(process, api->process_id) != 0) {
        refuse_conflict(exchange,
                        json_pack("{s:s,s:s}", "error", "another process of this replica was meant",
                                  "process", api->process_id));
        return false;
    }
    if (!raise_term(api, term, &highest)) {
        refuse_conflict(exchange, json_pack("{s:s,s:I}", "error", "a later term was seen",
                                            "highest_term", (json_int_t)highest));
        return false;
    }
    return true;
}

enum bw_code callback_handle(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const json_t *arguments = exchange_request(exchange)->arguments;
    if (!accept_callback(api, exchange, arguments))
        return BW_OK;
    if (json_is_true(json_object_get(arguments, "announce")))
        signals_resync(api->signals);
    const json_t *hand_outs = json_object_get(arguments, "hand_outs");
    size_t count = json_array_size(hand_outs);
    struct delivery *deliveries = calloc(count + 1, sizeof *deliveries);
    if (deliveries == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    for (size_t i = 0; i < count; i++)
        read_hand_out(json_array_get(hand_outs, i), &deliveries[i].hand_out);
    enum bw_code code = hand_out_all(api, deliveries, count, error);
    if (code == BW_OK) {
        answer_empty_polls(api, json_object_get(arguments, "empty"));
        take_answers(api, json_object_get(arguments, "answers"));
        take_events(api, json_object_get(arguments, "events"));
        exchange_answer_json(exchange, deliveries_answer(api, deliveries, count));
    }
    for (size_t i = 0; i < count; i++)
        free(deliveries[i].payload);
    free(deliveries);
    return code;
}
