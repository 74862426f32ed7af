#include "api/http/access_log.h"

#include <stdio.h>
#include <string.h>

#include "api/metrics.h"
#include "api/http/route.h"
#include "common/base/clock.h"
#include "common/base/log.h"

enum { STATUS_NOT_FOUND = 404, STATUS_NO_JOB = 498, STATUS_INTERNAL = 500 };

static enum api_metric status_metric(int status)
{
    if (status == STATUS_NO_JOB)
        return API_REQUESTS_498;
    if (status >= 500)
        return API_REQUESTS_5XX;
    return status >= 400 ? API_REQUESTS_4XX : API_REQUESTS_2XX;
}

/* Whether the route is a poll. Polls are not in the histogram of durations, since waiting for a job
 * is not slowness. */
static bool is_poll(const struct route *route)
{
    return route != NULL && route->auth == AUTH_WORKER && route->method[0] == 'G';
}

/* Whether requests of this route are logged at level debug: reads, and what is repeated often.
 * Registrations and upgrades to websockets are not. */
static bool is_quiet(const struct route *route)
{
    bool is_read = route->method[0] == 'G' && route->auth != AUTH_CLUSTER &&
                   route->auth != AUTH_SOCKET;
    return is_read || (route->flags & ROUTE_QUIET) != 0;
}

/* The level of a line. A 500 is a failure of the server, on which an operator must act; a 503 is
 * temporary. Refusals and requests that change anything are logged at level info. */
static enum log_level line_level(const struct request *request, int status)
{
    if (status == STATUS_INTERNAL)
        return LOG_LEVEL_ERROR;
    if (status > STATUS_INTERNAL)
        return LOG_LEVEL_WARNING;
    bool is_reported = request->refusal != NULL || request->route == NULL ||
                       !is_quiet(request->route);
    return is_reported ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
}

/* Copies the sentence of a refusal, without words that look like a worker's id, which is a
 * credential. */
static void hide_ids(const char *sentence, char shown[BW_ERROR_SIZE])
{
    size_t used = 0;
    for (size_t run; *sentence != '\0' && used < BW_ERROR_SIZE - 4; sentence += run) {
        run = strspn(sentence, "0123456789abcdefABCDEF");
        bool is_id = run >= WORKER_ID_LENGTH;
        run = run == 0 ? 1 : run;
        size_t room = BW_ERROR_SIZE - 4 - used, length = is_id ? 3 : run;
        length = length < room ? length : room;
        memcpy(shown + used, is_id ? "..." : sentence, length);
        used += length;
    }
    shown[used] = '\0';
}

/* Writes the sentence of a refusal, but not an unknown path, which is any text that a client
 * sent. */
static void show_refusal(const struct request *request, int status, char shown[BW_ERROR_SIZE])
{
    shown[0] = '\0';
    if (request->route == NULL && status == STATUS_NOT_FOUND)
        snprintf(shown, BW_ERROR_SIZE, "there is nothing at this path");
    else if (request->refusal != NULL)
        hide_ids(request->refusal, shown);
}

void access_log_write(struct metrics *metrics, const struct request *request, int status)
{
    const struct route *route = request->route;
    int64_t took_ms = clock_boot_ms() - request->received_ms;
    char id[REQUEST_ID_SIZE], refusal[BW_ERROR_SIZE];
    metric_add(metrics, status_metric(status), 1);
    if (route != NULL && route->auth == AUTH_INTERNAL)
        metric_add(metrics, API_CALLBACKS, 1);
    if (!is_poll(route))
        metric_observe_us(metrics, API_REQUEST_SECONDS, took_ms * 1000);
    request_id_of(request, id);
    show_refusal(request, status, refusal);
    /* The optional fields come last: a field without a name ends the list. */
    struct log_field more[2] = {{0}};
    size_t count = 0;
    if (request->trace_id[0] != '\0')
        more[count++] = log_text("trace_id", request->trace_id);
    if (refusal[0] != '\0')
        more[count++] = log_text("reason", refusal);
    const struct log_field fields[] = {
        log_text("request_id", id),
        log_text("method", request->method),
        log_text("path", route != NULL ? route->path : "unknown"),
        log_text("id", request->path_id),
        log_number("status", status),
        log_number("took_ms", took_ms),
        log_text("client", request->address),
        more[0],
        more[1],
        {0},
    };
    log_write(line_level(request, status), "request", fields);
}
