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

/* A poll that finds nothing for 18 s is in order: it says nothing of how fast we are. */
static bool is_poll(const struct route *route)
{
    return route != NULL && route->auth == AUTH_WORKER && route->method[0] == 'G';
}

/* Does it only read, or come again and again? Registrations are told, and what opens a websocket.
 */
static bool is_quiet(const struct route *route)
{
    bool is_read = route->method[0] == 'G' && route->auth != AUTH_CLUSTER &&
                   route->auth != AUTH_COURSE_SOCKET;
    return is_read || (route->flags & ROUTE_QUIET) != 0;
}

/* A 500 is a fault of ours, and someone must look; a 503 mends itself. Refusals are worth a line,
 * and so is what changes anything. */
static enum log_level line_level(const struct request *request, int status)
{
    if (status == STATUS_INTERNAL)
        return LOG_LEVEL_ERROR;
    if (status > STATUS_INTERNAL)
        return LOG_LEVEL_WARNING;
    bool is_told = request->refusal != NULL || request->route == NULL || !is_quiet(request->route);
    return is_told ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
}

/* The sentence of a refusal without what looks like a worker's id, which is a credential. */
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

/* An unknown path is foreign text, and is not logged. */
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
    const struct log_field fields[] = {
        log_text("request_id", id),
        log_text("method", request->method),
        log_text("path", route != NULL ? route->path : "unknown"),
        log_text("id", request->path_id),
        log_number("status", status),
        log_number("took_ms", took_ms),
        log_text("client", request->address),
        refusal[0] != '\0' ? log_text("reason", refusal) : (struct log_field){0},
        {0},
    };
    log_write(line_level(request, status), "request", fields);
}
