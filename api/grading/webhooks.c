#include "api/grading/webhooks.h"

#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "common/base/date.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/store/run_store.h"
#include "common/store/webhook_delivery_store.h"
#include "common/store/webhook_store.h"

enum { OF_SCOPE_MAX = 20, LIMIT_DEFAULT = 50, LIMIT_MAX = 100, SHOWN_SIZE = 80 };

const struct json_field webhooks_deliveries_fields[] = {
    {.name = "after", .kind = FIELD_STRING, .minimum = 1, .maximum = WEBHOOK_EVENT_ID_SIZE - 1},
    {.name = "limit", .kind = FIELD_INTEGER, .minimum = 1, .maximum = LIMIT_MAX},
    {.name = NULL},
};

const struct json_field webhooks_redeliver_fields[] = {
    {.name = "event_id",
     .kind = FIELD_STRING,
     .is_required = true,
     .minimum = 1,
     .maximum = WEBHOOK_EVENT_ID_SIZE - 1},
    {.name = NULL},
};

/* ---- Creating and listing ---- */

static void webhooks_take(const struct webhook *webhook, void *context)
{
    json_array_append_new(context, webhook_json(webhook, false));
}

enum bw_code webhooks_list(struct api *api, const char *course, const char *run, json_t **answer,
                           struct bw_error *error)
{
    char scopes[1][WEBHOOK_SCOPE_SIZE];
    json_t *list = json_array();
    webhook_scope(course, run, scopes[0]);
    enum bw_code code = webhook_store_find(api->webhook_store,
                                           (const char(*)[WEBHOOK_SCOPE_SIZE])scopes, 1,
                                           webhooks_take, list, error);
    if (code == BW_OK)
        *answer = json_pack("{s:O}", "webhooks", list);
    json_decref(list);
    return code;
}

/* Whether the course has `most` webhooks at most. */
static enum bw_code webhooks_check_count(struct api *api, const char *course, size_t most,
                                         struct bw_error *error)
{
    json_auto_t *present = NULL;
    enum bw_code code = webhooks_list(api, course, "", &present, error);
    if (code != BW_OK || json_array_size(json_object_get(present, "webhooks")) <= most)
        return code;
    return bw_fail(error, BW_CONFLICT, "there are %d webhooks already: delete one first",
                   (int)OF_SCOPE_MAX);
}

/* Requests at the same time may each have seen room for one: those that see too many afterwards
 * delete theirs. */
static enum bw_code webhooks_check_created(struct api *api, const struct webhook *webhook,
                                           struct bw_error *error)
{
    struct bw_error unused;
    enum bw_code code = webhooks_check_count(api, webhook->course, OF_SCOPE_MAX, error);
    if (code == BW_CONFLICT &&
        webhook_store_delete(api->webhook_store, webhook->id, &unused) != BW_OK)
        return bw_fail(error, BW_UNAVAILABLE, "the webhook may be stored: there are %d already",
                       (int)OF_SCOPE_MAX);
    return code;
}

enum bw_code webhooks_create(struct api *api, const char *course, const json_t *arguments,
                             json_t **answer, struct bw_error *error)
{
    struct webhook webhook;
    enum bw_code code = webhooks_check_count(api, course, OF_SCOPE_MAX - 1, error);
    if (code != BW_OK)
        return code;
    webhook_take(arguments, course, "", &webhook);
    webhook_id_new(webhook.id);
    code = webhook_store_insert(api->webhook_store, &webhook, 1, error);
    if (code == BW_OK)
        code = webhooks_check_created(api, &webhook, error);
    if (code != BW_OK)
        return code;
    log_info("webhook created", log_text("webhook", webhook.id), log_text("course", course));
    *answer = json_pack("{s:o}", "webhook", webhook_json(&webhook, true));
    return BW_OK;
}

/* ---- One webhook ---- */

static enum bw_code webhooks_find(struct api *api, const char *course, const char *id,
                                  struct webhook *webhook, struct bw_error *error)
{
    char shown[SHOWN_SIZE];
    enum bw_code code = BW_NOT_FOUND;
    if (is_hex_id(id, WEBHOOK_ID_LENGTH))
        code = webhook_store_read(api->webhook_store, id, webhook, error);
    if (code == BW_OK && course != NULL && strcmp(course, webhook->course) != 0)
        code = BW_NOT_FOUND;
    return code == BW_NOT_FOUND ? bw_fail(error, BW_BAD_REQUEST, "there is no webhook '%s'",
                                          text_show(id, shown, sizeof shown))
                                : code;
}

/* The webhook goes first: of one that is not there, the scheduler sends nothing. */
enum bw_code webhooks_delete(struct api *api, const char *course, const char *id,
                             struct bw_error *error)
{
    struct webhook webhook;
    enum bw_code code = webhooks_find(api, course, id, &webhook, error);
    if (code == BW_OK)
        code = webhook_store_delete(api->webhook_store, webhook.id, error);
    if (code == BW_OK)
        code = webhook_delivery_store_delete(api->webhook_delivery_store, webhook.id, error);
    if (code == BW_OK)
        log_info("webhook deleted", log_text("webhook", webhook.id));
    return code;
}

/* ---- Deliveries ---- */

/* A date, or null for none. */
static json_t *webhooks_date(int64_t date_ms)
{
    char text[DATE_TEXT_SIZE];
    return date_ms == 0 ? json_null() : json_string(date_format(date_ms, text));
}

static void webhooks_take_delivery(const struct webhook_delivery *delivery, void *context)
{
    bool is_pending = delivery->state == DELIVERY_PENDING;
    json_array_append_new(
        context,
        json_pack(
            "{s:s,s:s,s:o,s:s,s:I,s:o,s:s,s:o,s:o,s:o}", "event_id", delivery->event_id, "event",
            webhook_event_name(delivery->event), "at", webhooks_date(delivery->at_ms), "state",
            delivery_state_name(delivery->state), "attempts", (json_int_t)delivery->attempts,
            "status", delivery->status == 0 ? json_null() : json_integer(delivery->status), "error",
            delivery->error, "next_attempt_at", webhooks_date(is_pending ? delivery->next_ms : 0),
            "ended_at", webhooks_date(delivery->ended_ms), "payload",
            json_loads(delivery->payload, 0, NULL)));
}

/* An unknown event is the sender's mistake. */
static enum bw_code webhooks_classify(enum bw_code code)
{
    return code == BW_NOT_FOUND ? BW_BAD_REQUEST : code;
}

enum bw_code webhooks_list_deliveries(struct api *api, const char *course, const char *id,
                                      const json_t *arguments, json_t **answer,
                                      struct bw_error *error)
{
    struct webhook webhook;
    const char *after = json_string_value(json_object_get(arguments, "after"));
    const json_t *given = json_object_get(arguments, "limit");
    int64_t limit = given != NULL ? json_integer_value(given) : LIMIT_DEFAULT;
    enum bw_code code = webhooks_find(api, course, id, &webhook, error);
    if (code != BW_OK)
        return code;
    json_t *list = json_array(), *next = json_null();
    code = webhook_delivery_store_list(api->webhook_delivery_store, webhook.id,
                                       after != NULL ? after : "", limit, webhooks_take_delivery,
                                       list, error);
    if ((int64_t)json_array_size(list) == limit)
        next = json_incref(
            json_object_get(json_array_get(list, json_array_size(list) - 1), "event_id"));
    json_t *page = json_pack("{s:o,s:o}", "deliveries", list, "next", next);
    if (code == BW_OK)
        *answer = page;
    else
        json_decref(page);
    return webhooks_classify(code);
}

enum bw_code webhooks_redeliver(struct api *api, const char *course, const char *id,
                                const json_t *arguments, struct bw_error *error)
{
    struct webhook webhook;
    enum bw_code code = webhooks_find(api, course, id, &webhook, error);
    if (code != BW_OK)
        return code;
    return webhooks_classify(webhook_delivery_store_again(
        api->webhook_delivery_store, webhook.id,
        json_string_value(json_object_get(arguments, "event_id")), error));
}

/* ---- Webhooks of a run ---- */

static void webhooks_id_of_run(const char *run, const char *run_digest, size_t number,
                               char id[WEBHOOK_ID_SIZE])
{
    char digest[SHA256_TEXT_SIZE], text[24];
    snprintf(text, sizeof text, "%zu", number);
    secret_digest((const struct digest_part[]){{"webhook", 7},
                                               {run, strlen(run)},
                                               {run_digest, strlen(run_digest)},
                                               {text, strlen(text)}},
                  4, digest);
    snprintf(id, WEBHOOK_ID_SIZE, "%.*s", (int)WEBHOOK_ID_LENGTH, digest);
}

enum bw_code webhooks_store_of_run(struct api *api, const struct run *run, const char *digest,
                                   const json_t *submitted, json_t **shown, struct bw_error *error)
{
    struct webhook webhooks[WEBHOOKS_OF_RUN];
    size_t count = json_array_size(submitted);
    for (size_t i = 0; i < count; i++) {
        webhook_take(json_array_get(submitted, i), run->course, run->id, &webhooks[i]);
        webhooks_id_of_run(run->id, digest, i, webhooks[i].id);
    }
    enum bw_code code = count == 0
                            ? BW_OK
                            : webhook_store_insert(api->webhook_store, webhooks, count, error);
    json_t *list = json_array();
    for (size_t i = 0; code == BW_OK && i < count; i++) {
        code = webhook_store_read(api->webhook_store, webhooks[i].id, &webhooks[i], error);
        if (code == BW_OK)
            json_array_append_new(list, webhook_json(&webhooks[i], true));
    }
    if (code == BW_OK)
        *shown = list;
    else
        json_decref(list);
    return code == BW_NOT_FOUND ? BW_UNAVAILABLE : code;
}

void webhooks_remove_of_run(struct api *api, const struct run *run, const char *digest,
                            size_t count)
{
    struct bw_error error;
    enum bw_code code = BW_OK;
    for (size_t i = 0; code == BW_OK && i < count; i++) {
        char id[WEBHOOK_ID_SIZE];
        webhooks_id_of_run(run->id, digest, i, id);
        code = webhook_store_delete(api->webhook_store, id, &error);
    }
    if (code != BW_OK)
        log_warning("the webhooks of a refused grading run were not removed",
                    log_text("run", run->id), log_text("reason", error.message));
}
