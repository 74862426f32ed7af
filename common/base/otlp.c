#include "common/base/alloc.h"
#include "common/base/otlp.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json_write.h"
#include "common/base/log.h"
#include "common/base/ticker.h"
#include "version.h"

enum {
    QUEUE_SPANS = 8192,
    BATCH_SPANS = 512,
    EVERY_MS = 500,
    PAUSE_MS = 5000, /* after a batch that was not taken */
    TIMEOUT_MS = 3000,
    CLOSE_MS = 2000,
    KIND_INTERNAL = 1,
    STATUS_ERROR = 2,
    URL_SIZE = 512
};

struct otlp {
    char url[URL_SIZE], instance[SPAN_VALUE_SIZE];
    const char *service;
    struct metrics *metrics;
    unsigned sent_row, dropped_row;
    CURL *easy; /* of the thread, and of the close */
    struct curl_slist *headers;
    struct ticker *ticker;
    bool is_taken;         /* the last batch; of the thread */
    pthread_mutex_t mutex; /* guards the queue */
    struct span *queue;
    size_t first, count;
};

/* ---- JSON ---- */

static json_t *attribute_json(const char *name, const char *value)
{
    json_t *text = json_string(value);
    if (text == NULL) /* cut within a character */
        text = json_string("?");
    return json_pack("{s:s,s:{s:o}}", "key", name, "value", "stringValue", text);
}

static json_t *nanoseconds_json(int64_t date_ms)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64 "000000", date_ms);
    return json_string(text);
}

static json_t *span_json(const struct span *span)
{
    json_t *attributes = json_array();
    for (size_t i = 0; i < SPAN_ATTRIBUTES && span->attributes[i].name != NULL; i++)
        json_array_append_new(attributes,
                              attribute_json(span->attributes[i].name, span->attributes[i].value));
    json_t *value = json_pack("{s:s,s:s,s:s,s:i,s:o,s:o,s:o}", "traceId", span->trace, "spanId",
                              span->id, "name", span->name, "kind", (int)KIND_INTERNAL,
                              "startTimeUnixNano", nanoseconds_json(span->begun_ms),
                              "endTimeUnixNano", nanoseconds_json(span->ended_ms), "attributes",
                              attributes);
    if (span->parent[0] != '\0')
        json_object_set_new(value, "parentSpanId", json_string(span->parent));
    if (span->has_failed)
        json_object_set_new(value, "status", json_pack("{s:i}", "code", (int)STATUS_ERROR));
    return value;
}

char *otlp_json(const char *service, const char *instance, const struct span *spans, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, span_json(&spans[i]));
    json_t *body = json_pack("{s:[{s:{s:[o,o,o]},s:[{s:{s:s},s:o}]}]}", "resourceSpans", "resource",
                             "attributes", attribute_json("service.name", service),
                             attribute_json("service.version", BROADWAY_VERSION),
                             attribute_json("service.instance.id", instance), "scopeSpans", "scope",
                             "name", "broadway", "spans", list);
    char *text = json_write(body, JSON_COMPACT);
    json_decref(body);
    return text;
}

/* ---- The queue ---- */

void otlp_add(struct otlp *otlp, const struct span *span)
{
    if (otlp == NULL)
        return;
    pthread_mutex_lock(&otlp->mutex);
    bool is_full = otlp->count == QUEUE_SPANS;
    if (!is_full)
        otlp->queue[(otlp->first + otlp->count++) % QUEUE_SPANS] = *span;
    pthread_mutex_unlock(&otlp->mutex);
    if (is_full)
        metric_add(otlp->metrics, otlp->dropped_row, 1);
}

/* Takes the oldest spans, BATCH_SPANS at most. */
static size_t otlp_take(struct otlp *otlp, struct span *batch)
{
    size_t taken = 0;
    pthread_mutex_lock(&otlp->mutex);
    for (; taken < BATCH_SPANS && otlp->count > 0; otlp->count--) {
        batch[taken++] = otlp->queue[otlp->first];
        otlp->first = (otlp->first + 1) % QUEUE_SPANS;
    }
    pthread_mutex_unlock(&otlp->mutex);
    return taken;
}

/* ---- Posting ---- */

static size_t otlp_ignore_reply(char *bytes, size_t size, size_t count, void *context)
{
    (void)bytes;
    (void)context;
    return size * count;
}

static bool otlp_post(struct otlp *otlp, const char *body, long timeout_ms)
{
    long status = 0;
    curl_easy_setopt(otlp->easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(otlp->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
    curl_easy_setopt(otlp->easy, CURLOPT_TIMEOUT_MS, timeout_ms);
    CURLcode code = curl_easy_perform(otlp->easy);
    if (code == CURLE_OK)
        curl_easy_getinfo(otlp->easy, CURLINFO_RESPONSE_CODE, &status);
    bool is_taken = status >= 200 && status < 300;
    if (!is_taken && otlp->is_taken)
        log_warning("the collector of traces takes no spans: they are dropped",
                    log_text("reason", code == CURLE_OK ? "status" : curl_easy_strerror(code)),
                    log_number("status", status));
    otlp->is_taken = is_taken;
    return is_taken;
}

/* Sends a batch, or drops it. False: nothing waits, or the collector does not take it. */
static bool otlp_send(struct otlp *otlp, long timeout_ms)
{
    struct span *batch = bw_alloc_array(BATCH_SPANS, sizeof *batch);
    size_t count = otlp_take(otlp, batch);
    bool is_taken = false;
    if (count > 0) {
        char *body = otlp_json(otlp->service, otlp->instance, batch, count);
        is_taken = otlp_post(otlp, body, timeout_ms);
        free(body);
        metric_add(otlp->metrics, is_taken ? otlp->sent_row : otlp->dropped_row, (int64_t)count);
    }
    free(batch);
    return is_taken;
}

static int64_t otlp_tick(void *context)
{
    struct otlp *otlp = context;
    while (otlp_send(otlp, TIMEOUT_MS))
        continue;
    return otlp->is_taken ? EVERY_MS : PAUSE_MS;
}

static bool otlp_prepare(struct otlp *otlp)
{
    otlp->easy = curl_easy_init();
    otlp->headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (otlp->easy == NULL || otlp->headers == NULL)
        return false;
    curl_easy_setopt(otlp->easy, CURLOPT_URL, otlp->url);
    curl_easy_setopt(otlp->easy, CURLOPT_HTTPHEADER, otlp->headers);
    curl_easy_setopt(otlp->easy, CURLOPT_WRITEFUNCTION, otlp_ignore_reply);
    curl_easy_setopt(otlp->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(otlp->easy, CURLOPT_PROXY, "");
    return true;
}

static void otlp_free(struct otlp *otlp)
{
    curl_slist_free_all(otlp->headers);
    curl_easy_cleanup(otlp->easy); /* NULL is fine */
    pthread_mutex_destroy(&otlp->mutex);
    free(otlp->queue);
    free(otlp);
}

enum bw_code otlp_open(const struct otlp_settings *settings, struct otlp **otlp,
                       struct bw_error *error)
{
    struct otlp *opened = bw_alloc(sizeof *opened);
    size_t length = strlen(settings->endpoint);
    while (length > 0 && settings->endpoint[length - 1] == '/')
        length--;
    snprintf(opened->url, sizeof opened->url, "%.*s/v1/traces", (int)length, settings->endpoint);
    snprintf(opened->instance, sizeof opened->instance, "%s", settings->instance);
    opened->service = settings->service;
    opened->metrics = settings->metrics;
    opened->sent_row = settings->sent_row;
    opened->dropped_row = settings->dropped_row;
    opened->is_taken = true;
    opened->queue = bw_alloc_array(QUEUE_SPANS, sizeof *opened->queue);
    pthread_mutex_init(&opened->mutex, NULL);
    enum bw_code code = BW_OK;
    if (!otlp_prepare(opened))
        code = bw_fail(error, BW_INTERNAL, "libcurl can't be used for traces");
    if (code == BW_OK)
        code = ticker_open("the export of traces", EVERY_MS, otlp_tick, opened, &opened->ticker,
                           error);
    if (code != BW_OK)
        otlp_free(opened);
    else
        *otlp = opened;
    return code;
}

void otlp_close(struct otlp *otlp)
{
    if (otlp == NULL)
        return;
    ticker_close(otlp->ticker);
    if (otlp->is_taken)
        (void)otlp_send(otlp, CLOSE_MS);
    metric_add(otlp->metrics, otlp->dropped_row, (int64_t)otlp->count);
    otlp_free(otlp);
}
