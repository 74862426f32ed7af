#include "common/domain/webhook.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#include "common/base/date.h"
#include "common/base/secret.h"

enum { SECRET_SHORTEST = 16, ALL_EVENTS = (1 << WEBHOOK_EVENTS) - 1 };

static const struct {
    const char *name;
    bool is_of_run;
} webhook_events[] = {
#define WEBHOOK_EVENT_ROW(event, name, of_run) {name, of_run},
    WEBHOOK_EVENT_MAP(WEBHOOK_EVENT_ROW)
#undef WEBHOOK_EVENT_ROW
};

static const char *const webhook_formats[] = {
    [WEBHOOK_BROADWAY] = "broadway", [WEBHOOK_SLACK] = "slack", [WEBHOOK_DISCORD] = "discord"};

const char *webhook_event_name(enum webhook_event_kind kind)
{
    return webhook_events[kind].name;
}

const char *webhook_format_name(enum webhook_format format)
{
    return webhook_formats[format];
}

bool webhook_format_parse(const char *name, enum webhook_format *format)
{
    for (int i = 0; i < WEBHOOK_FORMATS; i++)
        if (strcmp(webhook_formats[i], name) == 0) {
            *format = (enum webhook_format)i;
            return true;
        }
    return false;
}

/* The event of that name; WEBHOOK_EVENTS: there is none. */
static int webhook_event_find(const char *name)
{
    int kind = 0;
    while (kind < WEBHOOK_EVENTS && strcmp(webhook_events[kind].name, name) != 0)
        kind++;
    return kind;
}

/* ---- Checks ---- */

/* The same parser as that of the requests, so that both understand a URL in the same way. */
enum bw_code webhook_url_check(const char *url, const char *path, struct bw_error *error)
{
    CURLU *parts = curl_url();
    char *scheme = NULL;
    if (parts == NULL)
        return bw_fail(error, BW_INTERNAL, "out of memory");
    CURLUcode code = curl_url_set(parts, CURLUPART_URL, url,
                                  CURLU_DISALLOW_USER | CURLU_NON_SUPPORT_SCHEME);
    bool is_http = code == CURLUE_OK &&
                   curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                   (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    curl_url_cleanup(parts);
    if (code == CURLUE_USER_NOT_ALLOWED)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must not have a user or a password", path);
    if (code != CURLUE_OK)
        return bw_fail(error, BW_BAD_REQUEST, "%s: is not a URL: %s", path,
                       curl_url_strerror(code));
    return is_http
               ? BW_OK
               : bw_fail(error, BW_BAD_REQUEST, "%s: must begin with http:// or https://", path);
}

static enum bw_code webhook_check_url(const json_t *value, const char *path, const void *context,
                                      struct bw_error *error)
{
    (void)context;
    return webhook_url_check(json_string_value(value), path, error);
}

static enum bw_code webhook_check_secret(const json_t *value, const char *path, const void *context,
                                         struct bw_error *error)
{
    (void)context;
    if (json_string_length(value) < SECRET_SHORTEST)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must have at least %d characters", path,
                       (int)SECRET_SHORTEST);
    for (const char *at = json_string_value(value); *at != '\0'; at++)
        if (*at <= ' ' || *at > '~')
            return bw_fail(error, BW_BAD_REQUEST,
                           "%s: must have printable ASCII characters alone, without spaces", path);
    return BW_OK;
}

static enum bw_code webhook_check_format(const json_t *value, const char *path, const void *context,
                                         struct bw_error *error)
{
    enum webhook_format format;
    char shown[40];
    (void)context;
    if (webhook_format_parse(json_string_value(value), &format))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: '%s' is not one of broadway, slack, discord", path,
                   text_show(json_string_value(value), shown, sizeof shown));
}

static enum bw_code webhook_check_events(const json_t *value, const char *path, const void *context,
                                         struct bw_error *error)
{
    size_t index;
    json_t *name;
    char shown[40];
    (void)context;
    if (json_array_size(value) == 0)
        return bw_fail(error, BW_BAD_REQUEST, "%s: must name one event at least", path);
    json_array_foreach (value, index, name)
        if (webhook_event_find(json_string_value(name)) == WEBHOOK_EVENTS)
            return bw_fail(error, BW_BAD_REQUEST,
                           "%s[%zu]: '%s' is not one of run_finished, run_paused, job_failed, "
                           "worker_lost, no_workers",
                           path, index, text_show(json_string_value(name), shown, sizeof shown));
    return BW_OK;
}

static enum bw_code webhook_check_run_events(const json_t *value, const char *path,
                                             const void *context, struct bw_error *error)
{
    size_t index;
    json_t *name;
    enum bw_code code = webhook_check_events(value, path, context, error);
    if (code != BW_OK)
        return code;
    json_array_foreach (value, index, name)
        if (!webhook_events[webhook_event_find(json_string_value(name))].is_of_run)
            return bw_fail(error, BW_BAD_REQUEST,
                           "%s[%zu]: only webhooks of the cluster have the event %s", path, index,
                           json_string_value(name));
    return BW_OK;
}

#define WEBHOOK_FIELDS(check_events)                                                            \
    {.name = "url",                                                                             \
     .kind = FIELD_STRING,                                                                      \
     .is_required = true,                                                                       \
     .minimum = 1,                                                                              \
     .maximum = WEBHOOK_URL_SIZE - 1,                                                           \
     .check = webhook_check_url},                                                               \
        {.name = "secret",                                                                      \
         .kind = FIELD_STRING,                                                                  \
         .maximum = WEBHOOK_SECRET_SIZE - 1,                                                    \
         .check = webhook_check_secret},                                                        \
        {.name = "events",                                                                      \
         .kind = FIELD_STRING_LIST,                                                             \
         .maximum = WEBHOOK_EVENTS,                                                             \
         .check = check_events},                                                                \
        {.name = "format", .kind = FIELD_STRING, .maximum = 20, .check = webhook_check_format}, \
    {                                                                                           \
        .name = NULL                                                                            \
    }

const struct json_field webhook_cluster_fields[] = {WEBHOOK_FIELDS(webhook_check_events)};

const struct json_field webhook_run_fields[] = {WEBHOOK_FIELDS(webhook_check_run_events)};

/* ---- Taking and showing ---- */

static unsigned webhook_take_events(const json_t *list, bool is_of_cluster)
{
    unsigned events = 0;
    size_t index;
    json_t *name;
    json_array_foreach (list, index, name)
        events |= 1U << webhook_event_find(json_string_value(name));
    for (int kind = 0; list == NULL && kind < WEBHOOK_EVENTS; kind++)
        if (is_of_cluster || webhook_events[kind].is_of_run)
            events |= 1U << kind;
    return events & ALL_EVENTS;
}

void webhook_take(const json_t *object, const char *course, const char *run,
                  struct webhook *webhook)
{
    const char *secret = json_string_value(json_object_get(object, "secret"));
    const char *format = json_string_value(json_object_get(object, "format"));
    *webhook = (struct webhook){.format = WEBHOOK_BROADWAY};
    snprintf(webhook->course, sizeof webhook->course, "%s", course);
    snprintf(webhook->run, sizeof webhook->run, "%s", run);
    snprintf(webhook->url, sizeof webhook->url, "%s",
             json_string_value(json_object_get(object, "url")));
    if (secret != NULL)
        snprintf(webhook->secret, sizeof webhook->secret, "%s", secret);
    else
        secret_random_hex(webhook->secret, SHA256_TEXT_SIZE);
    webhook->events = webhook_take_events(json_object_get(object, "events"),
                                          course[0] == '\0' && run[0] == '\0');
    if (format != NULL)
        (void)webhook_format_parse(format, &webhook->format);
}

bool webhook_wants(const struct webhook *webhook, enum webhook_event_kind kind)
{
    return (webhook->events & 1U << kind) != 0;
}

const char *webhook_scope(const char *course, const char *run, char scope[WEBHOOK_SCOPE_SIZE])
{
    if (run[0] != '\0')
        snprintf(scope, WEBHOOK_SCOPE_SIZE, "run/%s", run);
    else if (course[0] != '\0')
        snprintf(scope, WEBHOOK_SCOPE_SIZE, "course/%s", course);
    else
        snprintf(scope, WEBHOOK_SCOPE_SIZE, "cluster");
    return scope;
}

json_t *webhook_json(const struct webhook *webhook, bool with_secret)
{
    char date[DATE_TEXT_SIZE];
    json_t *events = json_array();
    for (int kind = 0; kind < WEBHOOK_EVENTS; kind++)
        if (webhook_wants(webhook, (enum webhook_event_kind)kind))
            json_array_append_new(events, json_string(webhook_events[kind].name));
    return json_pack("{s:s,s:s,s:s*,s:s*,s:o,s:s,s:s,s:s*}", "id", webhook->id, "url", webhook->url,
                     "course", webhook->course[0] != '\0' ? webhook->course : NULL, "run",
                     webhook->run[0] != '\0' ? webhook->run : NULL, "events", events, "format",
                     webhook_format_name(webhook->format), "created_at",
                     date_format(webhook->created_ms, date), "secret",
                     with_secret ? webhook->secret : NULL);
}
