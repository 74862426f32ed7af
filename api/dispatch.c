#include "api/dispatch.h"

#include "api/api.h"
#include "api/arguments.h"
#include "api/auth.h"
#include "api/course_route.h"
#include "api/course_socket.h"
#include "api/executor.h"
#include "api/hand_out_table.h"
#include "api/options.h"
#include "api/signals.h"
#include "api/worker_cache.h"
#include "common/clock.h"
#include "common/database.h"
#include "common/failpoint.h"

enum { INLINE_BODY_MAX = 64 * 1024, SHOWN_SIZE = 80 };

enum bw_code dispatch_admit(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    if (route_is_course(exchange->request.route))
        return course_route_admit(api, exchange, error);
    switch (exchange->request.route->auth) {
    case AUTH_CLIENT:
        return auth_client(api->auth, exchange, error);
    case AUTH_INTERNAL:
        return auth_internal(api->auth, exchange, error);
    default:
        return BW_OK; /* their credential is an argument */
    }
}

static const char *argument(const struct exchange *exchange, const char *name)
{
    return json_string_value(json_object_get(exchange->request.arguments, name));
}

/* Calls the handler. */
static void handle(void *context)
{
    struct exchange *exchange = context;
    struct bw_error error = {""};
    FAILPOINT("in_request");
    enum bw_code code = exchange->request.route->handle(exchange->host->api, exchange, &error);
    if (code != BW_OK && code != BW_PENDING)
        exchange_refuse(exchange, code, &error);
}

/* The same for a grader that is not in memory. Without the database nobody can say whether it is
 * known: then it is believed, and its handler deals with it, since most graders end at a refusal
 * (and where it is known that the database is away, nobody asks).
 */
static void check_and_handle(void *context)
{
    struct exchange *exchange = context;
    struct bw_error error = {""};
    const struct api *api = exchange->host->api;
    enum bw_code code = worker_cache_check(api->workers, argument(exchange, "worker_id"), &error);
    if (code == BW_BAD_REQUEST)
        auth_note_unknown_worker(api->auth, exchange);
    if (code == BW_OK || code == BW_UNAVAILABLE)
        handle(exchange);
    else
        exchange_refuse(exchange, code, &error);
}

static void run_on_executor(struct exchange *exchange, void (*function)(void *))
{
    static const struct bw_error busy = {"too many requests are waiting here: try again"};
    bool is_urgent = (exchange->request.route->flags & ROUTE_URGENT) != 0;
    if (!executor_submit(exchange->host->api->executor, is_urgent, function, exchange))
        exchange_refuse(exchange, BW_UNAVAILABLE, &busy);
}

static enum bw_code read_arguments(struct exchange *exchange, struct bw_error *error)
{
    struct arguments_source source = {.query = exchange->request.query,
                                      .content_type = exchange_header(exchange, "Content-Type"),
                                      .body = exchange->request.body,
                                      .body_length = exchange->request.body_length};
    return arguments_read(exchange->request.route, &source, &exchange->request.arguments, error);
}

/* The credentials that are arguments, as far as that is known without waiting. */
static enum bw_code check_arguments(struct exchange *exchange, struct bw_error *error)
{
    enum auth auth = exchange->request.route->auth;
    char shown[SHOWN_SIZE];
    if (auth == AUTH_CLUSTER)
        return auth_cluster(exchange->host->api->auth, exchange, argument(exchange, "token"),
                            error);
    if (auth != AUTH_WORKER)
        return BW_OK;
    const char *worker = argument(exchange, "worker_id");
    if (worker == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "argument 'worker_id' is missing");
    if (!is_hex_id(worker, WORKER_ID_LENGTH))
        return bw_fail(error, BW_BAD_REQUEST, "worker '%s' is not known: register first",
                       text_show(worker, shown, sizeof shown));
    return BW_OK;
}

static void read_and_handle_course(void *context)
{
    struct exchange *exchange = context;
    struct bw_error error = {""};
    enum bw_code code = course_route_read(exchange, &error);
    if (code == BW_OK && (exchange->request.route->flags & ROUTE_CURRENT) != 0)
        course_socket_settle(exchange->host->api);
    if (code == BW_OK)
        handle(exchange);
    else
        exchange_refuse(exchange, code, &error);
}

static void check_and_handle_course(void *context)
{
    struct exchange *exchange = context;
    struct bw_error error = {""};
    enum bw_code code = course_route_find_worker(exchange->host->api, exchange, &error);
    if (code == BW_OK)
        read_and_handle_course(exchange);
    else
        exchange_refuse(exchange, code, &error);
}

/* The same for the course protocol, whose checks have another order. */
static void advance_course(struct exchange *exchange, bool may_wait)
{
    struct bw_error error = {""};
    bool is_blocking = (exchange->request.route->flags & ROUTE_BLOCKING) != 0;
    enum bw_code code = course_route_know_worker(exchange->host->api, exchange, &error);
    void (*function)(void *) = code == BW_PENDING ? check_and_handle_course
                                                  : read_and_handle_course;
    if (may_wait || (code != BW_PENDING && !is_blocking))
        function(exchange);
    else
        run_on_executor(exchange, function);
}

/* Can only the database say whether the worker is known? */
static bool is_unknown_worker(const struct exchange *exchange)
{
    const struct api *api = exchange->host->api;
    return exchange->request.route->auth == AUTH_WORKER && !database_is_away(api->database) &&
           !worker_cache_has(api->workers, argument(exchange, "worker_id"));
}

/* Reads the arguments and goes on to the handler, on this thread if it may wait or nothing will. */
static void advance(struct exchange *exchange, bool may_wait)
{
    const struct route *route = exchange->request.route;
    struct bw_error error = {""};
    if (route_is_course(route)) {
        advance_course(exchange, may_wait);
        return;
    }
    enum bw_code code = course_route_judge_body(exchange, &error);
    if (code == BW_OK)
        code = read_arguments(exchange, &error);
    if (code == BW_OK)
        code = check_arguments(exchange, &error);
    bool is_unknown = code == BW_OK && is_unknown_worker(exchange);
    if (is_unknown)
        code = auth_admit_worker(exchange->host->api->auth, exchange, &error);
    if (code != BW_OK) {
        exchange_refuse(exchange, code, &error);
        return;
    }
    void (*function)(void *) = is_unknown ? check_and_handle : handle;
    if (may_wait || (!is_unknown && (route->flags & ROUTE_BLOCKING) == 0))
        function(exchange);
    else
        run_on_executor(exchange, function);
}

static void advance_on_executor(void *context)
{
    advance(context, true);
}

/* Who sends a result is not known before it is there: it is taken for the one who has the job; in
 * the course protocol the path says it. */
void dispatch_progress(struct exchange *exchange)
{
    const struct api *api = exchange->host->api;
    char worker[WORKER_ID_SIZE];
    int64_t now_ms = clock_boot_ms();
    if ((exchange->request.route->flags & ROUTE_LIFE) == 0 ||
        now_ms - exchange->told_ms < api->options->heartbeat_interval_ms / 4)
        return;
    exchange->told_ms = now_ms;
    if (route_is_course(exchange->request.route))
        signals_heard(api->signals, exchange->request.parts[0], HEARD_RESULT);
    else if (hand_out_table_holder(api->hand_outs, exchange->request.path_id, worker))
        signals_heard(api->signals, worker, HEARD_RESULT);
}

void dispatch_request(struct exchange *exchange)
{
    if (exchange->request.body_length > INLINE_BODY_MAX)
        run_on_executor(exchange, advance_on_executor);
    else
        advance(exchange, false);
}
