#include "api/internal/callback_handler.h"

#include <string.h>

#include "api/api.h"
#include "api/grading/event_streams.h"
#include "api/grading/poll_table.h"
#include "api/internal/hand_outs.h"
#include "api/protocols.h"
#include "api/uplink/scheduler_queries.h"
#include "api/uplink/signals.h"
#include "common/base/json_write.h"
#include "common/domain/hand_out_outcome.h"
#include "common/domain/lost_job.h"
#include "common/domain/trace.h"

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
    {.name = TRACEPARENT_HEADER,
     .kind = FIELD_STRING,
     .minimum = TRACEPARENT_SIZE - 1,
     .maximum = TRACEPARENT_SIZE - 1},
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
    {.name = "answers",
     .kind = FIELD_ANY}, /* [{"question", "value"}]: unknown or malformed items are ignored */
    {.name = "events",
     .kind = FIELD_ANY}, /* [{"watch", "type", "data"}]; see common/domain/lost_job.h */
    {.name = NULL},
};

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

/* A job that its worker does not hold any more. Earlier versions take it for the event of a watch
 * that they do not know. */
static void take_lost_job(struct api *api, const json_t *data)
{
    const char *worker = json_string_value(json_object_get(data, "worker")),
               *job = json_string_value(json_object_get(data, "job"));
    if (worker == NULL || job == NULL)
        return;
    for (unsigned i = 0; i < PROTOCOLS; i++)
        if (protocols[i]->check_job != NULL)
            protocols[i]->check_job(api, worker, job);
}

static bool is_lost_job(const json_t *event)
{
    const char *type = json_string_value(json_object_get(event, "type"));
    return json_integer_value(json_object_get(event, "watch")) == LOST_JOB_WATCH && type != NULL &&
           strcmp(type, LOST_JOB_EVENT) == 0;
}

static void take_events(struct api *api, const json_t *events)
{
    size_t index;
    json_t *event;
    json_array_foreach (events, index, event)
        if (is_lost_job(event))
            take_lost_job(api, json_object_get(event, "data"));
        else
            event_streams_take(api->streams, json_integer_value(json_object_get(event, "watch")),
                               json_string_value(json_object_get(event, "type")),
                               json_object_get(event, "data"));
}

/* ---- The callback ---- */

static void refuse_conflict(struct exchange *exchange, json_t *body)
{
    exchange_answer(exchange, 409, json_write(body, JSON_COMPACT), NULL);
    json_decref(body);
}

/* Raises the highest term that was seen. False: a higher one was seen before. */
static bool raise_term(struct api *api, int64_t term, int64_t *highest)
{
    *highest = atomic_load(&api->highest_term);
    while (*highest < term)
        if (atomic_compare_exchange_weak(&api->highest_term, highest, term))
            return true;
    return *highest == term;
}

/* Whether the callback is for this process, and from a leader that has not been replaced as far as
 * this replica knows. False: it has been refused. */
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

/* Whether the scheduler understands the outcome "later". */
static bool callback_knows_later(const struct exchange *exchange)
{
    const char *outcomes = exchange_header(exchange, HAND_OUT_OUTCOMES_HEADER);
    return outcomes != NULL && strcmp(outcomes, HAND_OUT_LATER) == 0;
}

enum bw_code callback_handle(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const json_t *arguments = exchange_request(exchange)->arguments;
    if (!accept_callback(api, exchange, arguments))
        return BW_OK;
    if (json_is_true(json_object_get(arguments, "announce")))
        signals_resync(api->signals);
    json_t *answer;
    enum bw_code code = hand_outs_deliver(api, json_object_get(arguments, "hand_outs"),
                                          callback_knows_later(exchange), &answer, error);
    if (code != BW_OK)
        return code;
    answer_empty_polls(api, json_object_get(arguments, "empty"));
    take_answers(api, json_object_get(arguments, "answers"));
    take_events(api, json_object_get(arguments, "events"));
    exchange_answer_json(exchange, answer);
    return BW_OK;
}
