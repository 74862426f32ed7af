#include "api/internal/hand_outs.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/metrics.h"
#include "api/protocols.h"
#include "api/internal/hand_out_return.h"
#include "api/grading/definition_cache.h"
#include "api/grading/delivery_table.h"
#include "api/grading/hand_out_files.h"
#include "api/grading/image_pins.h"
#include "api/grading/poll_table.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/db/database.h"
#include "common/domain/hand_out_outcome.h"
#include "common/domain/run_definition.h"
#include "common/domain/trace.h"

enum {
    ROUND_MS = 600, /* no hand-out is begun after this time; the scheduler waits for 3 s
                       (scheduler/io/callbacks.c) */
    ROUND_BYTES = 32 * 1024 * 1024, /* no hand-out is begun after so many bytes of payloads */
    CHEAP_BYTES = 1024 * 1024       /* limit of a definition whose jobs are all cheap */
};

enum outcome {
    HAND_OUT_DELIVERED,
    HAND_OUT_GONE,
    HAND_OUT_UNDELIVERABLE,
    HAND_OUT_PUT_OFF,
    HAND_OUT_PENDING /* not examined, or not cheap; never reported */
};

static const char *const outcome_names[] = {"delivered", "gone", "undeliverable", HAND_OUT_LATER};
static const enum api_metric outcome_metrics[] = {API_HAND_OUTS_DELIVERED, API_HAND_OUTS_GONE,
                                                  API_HAND_OUTS_UNDELIVERABLE, API_HAND_OUTS_LATER};

/* A hand-out on its way to its poll. */
struct delivery {
    struct hand_out hand_out;
    struct job_id job;
    bool is_socket;
    const struct wire_protocol *protocol; /* of the payload */
    json_t *files;           /* own, while it is built: its list of files; NULL: none */
    char *payload;           /* own: the poll's answer; NULL: not built yet, stolen, or returned */
    struct memory_hold hold; /* counts the payload */
    enum outcome outcome;
    struct bw_error reason; /* if undeliverable */
};

/* The limits of one callback. */
struct round {
    struct api *api;
    bool may_put_off;
    int64_t end_ms; /* clock_boot_ms */
    size_t bytes;   /* of payloads so far */
};

static bool round_is_over(const struct round *round)
{
    return round->may_put_off && (round->bytes >= ROUND_BYTES || clock_boot_ms() >= round->end_ms);
}

/* ---- Memory ---- */

/* A read of a definition, and the memory that it holds. */
struct reading {
    const struct round *round;
    struct memory_hold hold;
    bool has_no_room;
};

/* Takes memory from the budget. False: there is no room now. One hand-out always fits, whatever
 * other pools hold. A hand-out that exceeds the pool's limit is not refused either, since a
 * callback builds one at a time. */
static bool hand_out_take(const struct round *round, struct memory_hold *hold, size_t bytes)
{
    struct bw_error unused;
    enum bw_code code = memory_hold_take_parsed(hold, bytes, &unused);
    return code == BW_OK || memory_hold_take_alone(hold, bytes) || code == BW_TOO_LARGE ||
           !round->may_put_off;
}

static enum bw_code hand_out_take_reading(void *context, size_t bytes, struct bw_error *error)
{
    struct reading *reading = context;
    reading->has_no_room = !hand_out_take(reading->round, &reading->hold, bytes);
    return reading->has_no_room
               ? bw_fail(error, BW_UNAVAILABLE, "too many large jobs are in flight: try again")
               : BW_OK;
}

/* ---- Building ---- */

static void hand_out_read(const json_t *value, struct hand_out *hand_out)
{
    hand_out->poll = json_integer_value(json_object_get(value, "poll"));
    hand_out->attempt = (uint32_t)json_integer_value(json_object_get(value, "attempt"));
    hand_out->expires_in_ms = json_integer_value(json_object_get(value, "expires_in_ms"));
    snprintf(hand_out->worker, sizeof hand_out->worker, "%s",
             json_string_value(json_object_get(value, "worker")));
    snprintf(hand_out->job, sizeof hand_out->job, "%s",
             json_string_value(json_object_get(value, "job")));
    const char *traceparent = json_string_value(json_object_get(value, TRACEPARENT_HEADER));
    if (traceparent != NULL)
        snprintf(hand_out->handing.traceparent, sizeof hand_out->handing.traceparent, "%s",
                 traceparent);
}

static void delivery_begin(struct delivery *delivery, const json_t *value)
{
    hand_out_read(value, &delivery->hand_out);
    delivery->outcome = HAND_OUT_PENDING;
    if (job_id_parse(delivery->hand_out.job, &delivery->job))
        return;
    delivery->outcome = HAND_OUT_UNDELIVERABLE;
    (void)!bw_fail(&delivery->reason, BW_NOT_FOUND, "'%s' is not a job id", delivery->hand_out.job);
}

static enum bw_code hand_out_build(struct api *api, struct delivery *delivery,
                                   const struct definition *definition)
{
    json_auto_t *image_digests = image_pins_of_job(api->image_pins, definition, &delivery->job,
                                                   delivery->hand_out.worker);
    struct job_hand_out job = {.id = delivery->job,
                               .attempt = delivery->hand_out.attempt,
                               .is_socket = delivery->is_socket,
                               .files = delivery->files,
                               .traceparent = delivery->hand_out.handing.traceparent,
                               .image_digests = image_digests};
    return delivery->protocol->make_job(definition, &job, &delivery->payload, &delivery->reason);
}

/* The outcome of a hand-out whose poll is not parked. An earlier try of the same callback may have
 * delivered it. */
static enum outcome undelivered_outcome(struct api *api, const struct hand_out *hand_out)
{
    return delivery_table_delivered(api->hand_outs, hand_out) ? HAND_OUT_DELIVERED : HAND_OUT_GONE;
}

/* ---- Delivering (never waits) ---- */

/* Answers the poll, if it is still parked and its client is connected; of a job that was returned,
 * with none. */
static bool hand_to_poll(struct api *api, struct delivery *delivery)
{
    struct exchange *exchange = poll_table_take(api->polls, delivery->hand_out.poll,
                                                delivery->hand_out.worker);
    if (exchange == NULL)
        return false;
    bool is_gone = exchange_is_gone(exchange);
    if (is_gone || delivery->payload == NULL) {
        exchange_refuse(exchange, BW_NO_JOB, NULL);
        return !is_gone;
    }
    FAILPOINT("before_hand_out_answer");
    exchange_answer_held(exchange, delivery->payload, &delivery->hold);
    delivery->payload = NULL;
    return true;
}

/* The same for a websocket. If the socket ends before the push, its worker is lost, and the
 * scheduler queues the job again. */
static bool hand_to_socket(struct api *api, struct delivery *delivery)
{
    uint64_t socket = poll_table_take_socket(api->polls, delivery->hand_out.poll,
                                             delivery->hand_out.worker);
    if (socket == 0)
        return false;
    delivery->protocol->push_job(api, socket, delivery->hand_out.job, delivery->payload,
                                 &delivery->hold);
    delivery->payload = NULL;
    return true;
}

static void delivery_hand_over(struct api *api, struct delivery *delivery)
{
    const struct hand_out *hand_out = &delivery->hand_out;
    delivery->hand_out.handing.handed_out_ms = database_now_ms(api->database);
    if (!delivery_table_begin(api->hand_outs, hand_out)) {
        delivery->outcome = undelivered_outcome(api, hand_out);
        return;
    }
    bool is_delivered = delivery->is_socket ? hand_to_socket(api, delivery)
                                            : hand_to_poll(api, delivery);
    delivery_table_complete(api->hand_outs, hand_out, is_delivered);
    delivery->outcome = is_delivered ? HAND_OUT_DELIVERED : HAND_OUT_GONE;
}

/* ---- One hand-out ---- */

static bool is_cheap(const struct definition *definition, const struct job_id *job)
{
    return job->kind == JOB_STUDENT || definition_size(definition) <= CHEAP_BYTES;
}

/* Builds and delivers one hand-out. A job before or after the students carries all of them:
 * building it takes about as much memory as its definition. */
static enum outcome hand_out_deliver_counted(struct round *round, struct delivery *delivery,
                                             struct definition *definition,
                                             struct memory_hold *building)
{
    if (!is_cheap(definition, &delivery->job) &&
        !hand_out_take(round, building, definition_size(definition)))
        return HAND_OUT_PUT_OFF;
    if (hand_out_build(round->api, delivery, definition) != BW_OK)
        return HAND_OUT_UNDELIVERABLE;
    job_handing_note(definition, &delivery->job, &delivery->hand_out.handing);
    memory_hold_release(building); /* only the payload is left */
    size_t length = strlen(delivery->payload);
    round->bytes += length;
    if (!hand_out_take(round, &delivery->hold, length))
        return HAND_OUT_PUT_OFF;
    delivery_hand_over(round->api, delivery);
    return delivery->outcome;
}

static void hand_out_deliver(struct round *round, struct delivery *delivery,
                             struct definition *definition)
{
    struct memory_hold building;
    memory_hold_begin(&building, round->api->memory, MEMORY_HAND_OUT, "");
    memory_hold_begin(&delivery->hold, round->api->memory, MEMORY_HAND_OUT, "");
    delivery->outcome = hand_out_deliver_counted(round, delivery, definition, &building);
    free(delivery->payload);
    delivery->payload = NULL;
    memory_hold_release(&delivery->hold);
    memory_hold_release(&building);
}

/* Whether the hand-out's poll is parked at this replica. Otherwise sets the outcome. */
static bool hand_out_is_wanted(struct api *api, struct delivery *delivery)
{
    const struct hand_out *hand_out = &delivery->hand_out;
    enum poll_kind kind = poll_table_kind(api->polls, hand_out->poll, hand_out->worker);
    delivery->is_socket = kind == POLL_KIND_SOCKET;
    if (kind != POLL_KIND_NONE)
        return true;
    delivery->outcome = undelivered_outcome(api, hand_out);
    return false;
}

/* Handles a definition, or a list of files, that can't be read. BW_UNAVAILABLE: the callback as a
 * whole fails. BW_OK: the job is undeliverable. */
static enum bw_code hand_out_failed(struct delivery *delivery, enum bw_code code,
                                    struct bw_error *error)
{
    *error = delivery->reason;
    if (code == BW_UNAVAILABLE)
        return code;
    delivery->outcome = HAND_OUT_UNDELIVERABLE;
    return BW_OK;
}

/* BW_OK, BW_UNAVAILABLE. */
static enum bw_code hand_out_deliver_with_files(struct round *round, struct delivery *delivery,
                                                struct definition *definition,
                                                struct bw_error *error)
{
    bool is_returned = false;
    delivery->protocol = protocols[definition_protocol(definition)];
    enum bw_code code = hand_out_files_read(round->api, definition, &delivery->job,
                                            &delivery->files, &delivery->reason);
    if (code == BW_OK && delivery->files != NULL)
        code = hand_out_return_unfit(round->api, &delivery->hand_out, &is_returned,
                                     &delivery->reason);
    if (code == BW_OK && is_returned)
        delivery_hand_over(round->api, delivery);
    else if (code == BW_OK)
        hand_out_deliver(round, delivery, definition);
    json_decref(delivery->files);
    delivery->files = NULL;
    return code == BW_OK ? BW_OK : hand_out_failed(delivery, code, error);
}

/* Delivers the hand-out if it is cheap; otherwise it stays pending. BW_OK, BW_UNAVAILABLE. */
static enum bw_code hand_out_try_cheap(struct round *round, struct delivery *delivery,
                                       struct bw_error *error)
{
    struct definition *definition;
    if (!hand_out_is_wanted(round->api, delivery))
        return BW_OK;
    enum bw_code code = definition_cache_get_short(round->api->definitions, delivery->job.run,
                                                   &definition, &delivery->reason);
    if (code == BW_NOT_FOUND)
        return BW_OK;
    if (code != BW_OK)
        return hand_out_failed(delivery, code, error);
    if (is_cheap(definition, &delivery->job))
        code = hand_out_deliver_with_files(round, delivery, definition, error);
    definition_release(definition);
    return code;
}

/* Delivers the hand-out, cheap or not. BW_OK, BW_UNAVAILABLE. */
static enum bw_code hand_out_try(struct round *round, struct delivery *delivery,
                                 struct bw_error *error)
{
    struct definition *definition;
    struct reading reading = {.round = round};
    const struct json_limits limits = {
        .count = SIZE_MAX, .take = hand_out_take_reading, .context = &reading};
    if (!hand_out_is_wanted(round->api, delivery))
        return BW_OK;
    memory_hold_begin(&reading.hold, round->api->memory, MEMORY_HAND_OUT, "");
    enum bw_code code = definition_cache_get_within(round->api->definitions, delivery->job.run,
                                                    &limits, &definition, &delivery->reason);
    memory_hold_release(
        &reading.hold); /* the definition is in the cache now, which has a limit of its own */
    if (reading.has_no_room) {
        delivery->outcome = HAND_OUT_PUT_OFF;
        return BW_OK;
    }
    if (code != BW_OK)
        return hand_out_failed(delivery, code, error);
    code = hand_out_deliver_with_files(round, delivery, definition, error);
    definition_release(definition);
    return code;
}

/* ---- All hand-outs of a callback ---- */

/* Puts off the pending hand-outs of `run`; NULL: of any run. */
static void hand_outs_put_off(struct delivery *deliveries, size_t count, const char *run)
{
    for (size_t i = 0; i < count; i++)
        if (deliveries[i].outcome == HAND_OUT_PENDING &&
            (run == NULL || strcmp(deliveries[i].job.run, run) == 0))
            deliveries[i].outcome = HAND_OUT_PUT_OFF;
}

/* Puts off all pending hand-outs but the first. */
static void hand_outs_put_off_others(struct delivery *deliveries, size_t count)
{
    size_t first = 0;
    while (first < count && deliveries[first].outcome != HAND_OUT_PENDING)
        first++;
    if (first < count)
        hand_outs_put_off(deliveries + first + 1, count - first - 1, NULL);
}

/* Tries the cheap hand-outs. Stops at the first one that finds no room, or at the limits. All
 * hand-outs that were not examined by then are put off, except the first, which is tried with the
 * expensive ones. */
static enum bw_code hand_outs_try_cheap(struct round *round, struct delivery *deliveries,
                                        size_t count, struct bw_error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct delivery *rest = deliveries + i + 1;
        if (deliveries[i].outcome != HAND_OUT_PENDING)
            continue;
        enum bw_code code = hand_out_try_cheap(round, &deliveries[i], error);
        if (code != BW_OK)
            return code;
        bool has_no_room = deliveries[i].outcome == HAND_OUT_PUT_OFF;
        if (has_no_room)
            hand_outs_put_off(rest, count - i - 1, deliveries[i].job.run);
        if (has_no_room || round_is_over(round)) {
            hand_outs_put_off_others(rest, count - i - 1);
            break;
        }
    }
    return BW_OK;
}

/* Tries the pending hand-outs, which are expensive or were not examined. The first one is always
 * tried, so cheap hand-outs can't starve expensive ones. If one finds no room, the others of its
 * run are put off without reading the definition again. */
static enum bw_code hand_outs_try_others(struct round *round, struct delivery *deliveries,
                                         size_t count, struct bw_error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct delivery *rest = deliveries + i + 1;
        if (deliveries[i].outcome != HAND_OUT_PENDING)
            continue;
        enum bw_code code = hand_out_try(round, &deliveries[i], error);
        if (code != BW_OK)
            return code;
        if (deliveries[i].outcome == HAND_OUT_PUT_OFF)
            hand_outs_put_off(rest, count - i - 1, deliveries[i].job.run);
        if (round_is_over(round))
            hand_outs_put_off(rest, count - i - 1, NULL);
    }
    return BW_OK;
}

static json_t *hand_outs_answer(const struct api *api, const struct delivery *deliveries,
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
    return json_pack("{s:s,s:b,s:o,s:o}", "process", api->process_id, TRACEPARENT_HEADER,
                     1 /* may be in hand-outs */, "outcomes", outcomes, "reasons", reasons);
}

enum bw_code hand_outs_deliver(struct api *api, const json_t *list, bool may_put_off,
                               json_t **answer, struct bw_error *error)
{
    size_t count = json_array_size(list);
    struct round round = {
        .api = api, .may_put_off = may_put_off, .end_ms = clock_boot_ms() + ROUND_MS};
    struct delivery *deliveries = bw_alloc_array(count, sizeof *deliveries);
    for (size_t i = 0; i < count; i++)
        delivery_begin(&deliveries[i], json_array_get(list, i));
    enum bw_code code = hand_outs_try_cheap(&round, deliveries, count, error);
    if (code == BW_OK)
        code = hand_outs_try_others(&round, deliveries, count, error);
    if (code == BW_OK)
        *answer = hand_outs_answer(api, deliveries, count);
    free(deliveries);
    return code;
}
