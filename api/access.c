#include "api/access.h"

#include "api/api_metrics.h"
#include "api/route.h"
#include "common/clock.h"
#include "common/log.h"

enum { STATUS_NO_JOB = 498, STATUS_INTERNAL = 500 };

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

/* A 500 is a fault of ours, and someone must look; a 503 mends itself. */
static enum log_level line_level(const struct route *route, int status)
{
    if (status == STATUS_INTERNAL)
        return LOG_LEVEL_ERROR;
    if (status > STATUS_INTERNAL)
        return LOG_LEVEL_WARNING;
    return route != NULL && (route->flags & ROUTE_QUIET) != 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

void access_note(struct metrics *metrics, const struct request *request, int status)
{
    const struct route *route = request->route;
    int64_t took_ms = clock_boot_ms() - request->received_ms;
    metric_add(metrics, status_metric(status), 1);
    if (route != NULL && route->auth == AUTH_INTERNAL)
        metric_add(metrics, API_CALLBACKS, 1);
    if (!is_poll(route))
        metric_observe_us(metrics, API_REQUEST_SECONDS, took_ms * 1000);
    log_write(line_level(route, status), "request",
              LOG_FIELDS(log_number("request", (int64_t)request->number),
                         log_text("method", request->method),
                         log_text("path", route != NULL ? route->path : "unknown"),
                         log_text("id", request->path_id), log_number("status", status),
                         log_number("took_ms", took_ms), log_text("client", request->address)));
}
