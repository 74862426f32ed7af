#include "api/http/dispatch.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "api/http/arguments.h"
#include "api/auth/auth.h"
#include "api/course/route.h"
#include "api/course/websocket.h"
#include "api/http/thread_pool.h"
#include "api/grading/delivery_table.h"
#include "api/options.h"
#include "api/grading/result_refusal.h"
#include "api/uplink/signals.h"
#include "api/grading/worker_cache.h"
#include "api/grading/worker_lookup.h"
#include "common/base/clock.h"
#include "common/db/database.h"
#include "common/base/failpoint.h"

enum {
    INLINE_BODY_MAX = 64 * 1024,
    IDENTIFY_BYTES = 64 * 1024, /* of a body, in which its sender is looked for */
    LONGEST_PAIR = 80,          /* "worker_id" and an id, with what stands between them */
    SHOWN_SIZE = 80
};

/* Where clients need no token, one that is right still makes the sender known. */
static enum bw_code admit_client(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    enum bw_code code = auth_client(api->auth, exchange, error);
    exchange->has_client_token = code == BW_OK && auth_has_client_token(api->auth, exchange);
    return code;
}

enum bw_code dispatch_admit(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    if (route_is_course(exchange->request.route))
        return course_route_admit(api, exchange, error);
    switch (exchange->request.route->auth) {
    case AUTH_CLIENT:
        return admit_client(api, exchange, error);
    case AUTH_INTERNAL:
        return auth_internal(api->auth, exchange, error);
    default:
        return BW_OK; /* their credential is an argument */
    }
}

/* The text behind the next "worker_id" in query, form or JSON, if it can be an id; else NULL. */
static const char *find_worker_id(const char **text, const char *end)
{
    static const char name[] = "worker_id", between[] = "\":= \t\r\n";
    const char *at = memmem(*text, (size_t)(end - *text), name, sizeof name - 1);
    if (at == NULL) {
        *text = end;
        return NULL;
    }
    at += sizeof name - 1;
    while (at < end && *at != '\0' && strchr(between, *at) != NULL)
        at++;
    *text = at;
    return end - at >= WORKER_ID_LENGTH ? at : NULL;
}

/* Does the text name a worker that is remembered here? */
static bool names_worker(struct exchange *exchange, const char *text, size_t length)
{
    const char *end = text + length;
    while (text < end) {
        const char *found = find_worker_id(&text, end);
        if (found == NULL)
            continue;
        snprintf(exchange->worker, sizeof exchange->worker, "%.*s", WORKER_ID_LENGTH, found);
        if (is_hex_id(exchange->worker, WORKER_ID_LENGTH) &&
            worker_cache_has(exchange->host->api->workers, exchange->worker))
            return true;
    }
    return false;
}

/* `looked`: how much of the body was looked at before. The name may stand across that. */
static bool is_sent_by_worker(struct exchange *exchange, size_t looked)
{
    const struct request *request = &exchange->request;
    const struct api *api = exchange->host->api;
    size_t start = looked > LONGEST_PAIR ? looked - LONGEST_PAIR : 0;
    switch (request->route->auth) {
    case AUTH_WORKER:
        if (request->body_length == 0)
            return names_worker(exchange, request->query, strlen(request->query));
        return names_worker(exchange, request->body + start, request->body_length - start);
    case AUTH_COURSE_WORKER:
        snprintf(exchange->worker, sizeof exchange->worker, "%s", request->parts[0]);
        return worker_cache_has(api->course_workers, exchange->worker);
    default:
        return false;
    }
}

void dispatch_identify(struct exchange *exchange)
{
    size_t looked = exchange->looked;
    exchange->looked = exchange->request.body_length;
    if (exchange->is_known || looked >= IDENTIFY_BYTES || !is_sent_by_worker(exchange, looked))
        return;
    exchange->is_known = true;
    memory_hold_move(&exchange->body.hold, MEMORY_WORKER);
}

void dispatch_note_refusal(struct exchange *exchange, enum bw_code code)
{
    bool is_for_room = code == BW_UNAVAILABLE || code == BW_TOO_LARGE || code == BW_TOO_MANY;
    if (!is_for_room || !exchange->is_known)
        return;
    bool is_result = (exchange->request.route->flags & ROUTE_LIFE) != 0;
    bool is_heartbeat = !is_result && (exchange->request.route->flags & ROUTE_URGENT) != 0;
    if (is_result || is_heartbeat)
        signals_heard(exchange->host->api->signals, exchange->worker,
                      is_result ? HEARD_RESULT : HEARD_HEARTBEAT);
}

void dispatch_refuse(struct exchange *exchange, enum bw_code code, const struct bw_error *error)
{
    dispatch_note_refusal(exchange, code);
    if (exchange->is_admitted && (exchange->request.route->flags & ROUTE_LIFE) != 0)
        result_refuse(exchange->host->api, exchange, code, error);
    else
        exchange_refuse(exchange, code, error);
}

/* ---- On the way to the handler ---- */

static const char *argument(const struct exchange *exchange, const char *name)
{
    return json_string_value(json_object_get(exchange->request.arguments, name));
}

/* Calls the handler. */
static void dispatch_handle(void *context)
{
    struct exchange *exchange = context;
    struct bw_error error = {""};
    FAILPOINT("in_request");
    enum bw_code code = exchange->request.route->handle(exchange->host->api, exchange, &error);
    if (code != BW_OK && code != BW_PENDING)
        exchange_refuse(exchange, code, &error);
}

/* The sender's arguments were found good: so is the worker that they name, if it is in memory. */
static void prove_by_arguments(struct exchange *exchange)
{
    const struct api *api = exchange->host->api;
    enum auth auth = exchange->request.route->auth;
    if (auth == AUTH_CLUSTER)
        exchange_prove(exchange, CONNECTION_WORKER);
    else if (auth == AUTH_WORKER && worker_cache_has(api->workers, argument(exchange, "worker_id")))
        exchange_prove_worker(exchange, argument(exchange, "worker_id"));
}

static const struct bw_error busy = {"too many requests are waiting here: try again"};

static void run_on_thread_pool(struct exchange *exchange, void (*function)(void *))
{
    bool is_urgent = (exchange->request.route->flags & ROUTE_URGENT) != 0;
    if (!thread_pool_submit(exchange->host->api->thread_pool, is_urgent, function, exchange))
        dispatch_refuse(exchange, BW_UNAVAILABLE, &busy);
}

/* A grader that was not in memory was looked for. Without the database nobody can say whether it is
 * known: then it is believed, and its handler deals with it, since most graders end at a refusal
 * (and where it is known that the database is away, nobody asks). */
static void handle_looked_up(void *context, enum bw_code code, const struct bw_error *error)
{
    struct exchange *exchange = context;
    if (code == BW_OK)
        exchange_prove_worker(exchange, argument(exchange, "worker_id"));
    if (code == BW_OK || code == BW_UNAVAILABLE)
        run_on_thread_pool(exchange, dispatch_handle);
    else
        exchange_refuse(exchange, code, error);
}

/* What a result's bytes lack is mended, and counted in the request. */
static enum bw_code begin_mending(struct exchange *exchange, struct bw_error *error)
{
    if ((exchange->request.route->flags & ROUTE_LIFE) == 0)
        return BW_OK;
    exchange->request.mended = calloc(1, sizeof *exchange->request.mended);
    return exchange->request.mended != NULL ? BW_OK
                                            : bw_fail(error, BW_INTERNAL, "memory is short");
}

static enum bw_code read_arguments(struct exchange *exchange, struct bw_error *error)
{
    const struct json_limits limits = exchange_json_limits(exchange);
    struct arguments_source source = {.query = exchange->request.query,
                                      .content_type = exchange_header(exchange, "Content-Type"),
                                      .body = exchange->request.body,
                                      .body_length = exchange->request.body_length,
                                      .limits = &limits};
    enum bw_code code = begin_mending(exchange, error);
    if (code != BW_OK)
        return code;
    source.mended = exchange->request.mended;
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
    enum bw_code code = begin_mending(exchange, &error);
    if (code == BW_OK)
        code = course_route_read(exchange, &error);
    if (code == BW_OK && (exchange->request.route->flags & ROUTE_CURRENT) != 0)
        course_socket_settle(exchange->host->api);
    if (code == BW_OK)
        dispatch_handle(exchange);
    else
        dispatch_refuse(exchange, code, &error);
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
        run_on_thread_pool(exchange, function);
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
    if (code != BW_OK) {
        dispatch_refuse(exchange, code, &error);
        return;
    }
    code = read_arguments(exchange, &error);
    if (code == BW_OK)
        code = check_arguments(exchange, &error);
    if (code != BW_OK) {
        dispatch_refuse(exchange, code, &error);
        return;
    }
    if (is_unknown_worker(exchange)) {
        worker_lookup_ask(exchange->host->api->worker_lookup, argument(exchange, "worker_id"),
                          handle_looked_up, exchange);
        return;
    }
    prove_by_arguments(exchange);
    if (may_wait || (route->flags & ROUTE_BLOCKING) == 0)
        dispatch_handle(exchange);
    else
        run_on_thread_pool(exchange, dispatch_handle);
}

static void advance_on_thread_pool(void *context)
{
    advance(context, true);
}

/* A job's id is no secret: only a worker that has named itself is heard, and in the classic
 * protocol only one that was handed the job here. In the course protocol the path names the worker,
 * and the cluster token vouches for it; the job stands in the body. */
void dispatch_progress(struct exchange *exchange)
{
    const struct api *api = exchange->host->api;
    const struct request *request = &exchange->request;
    int64_t now_ms = clock_boot_ms();
    bool is_course = route_is_course(request->route);
    const char *worker = is_course ? request->parts[0] : exchange->worker;
    if ((request->route->flags & ROUTE_LIFE) == 0 || (!is_course && !exchange->is_known) ||
        now_ms - exchange->told_ms < api->options->heartbeat_interval_ms / 4)
        return;
    exchange->told_ms = now_ms;
    if (is_course || delivery_table_has(api->hand_outs, request->path_id, worker))
        signals_heard(api->signals, worker, HEARD_RESULT);
}

/* A result of which only the beginning was kept: api/grading/result_refusal.h. */
static void refuse_large_result(struct exchange *exchange)
{
    struct bw_error error;
    enum bw_code code = bw_fail(&error, BW_TOO_LARGE, "the body is larger than %" PRId64 " bytes",
                                exchange->host->api->options->max_body_bytes);
    dispatch_note_refusal(exchange, code);
    result_refuse(exchange->host->api, exchange, code, &error);
}

/* Much text to be parsed: of a worker that is known at once, of others a few at a time. */
static void advance_heavy(struct exchange *exchange)
{
    if (exchange->is_known || exchange->request.route->auth == AUTH_INTERNAL)
        run_on_thread_pool(exchange, advance_on_thread_pool);
    else if (!thread_pool_submit_heavy(exchange->host->api->thread_pool, advance_on_thread_pool,
                                       exchange))
        dispatch_refuse(exchange, BW_UNAVAILABLE, &busy);
}

void dispatch_request(struct exchange *exchange)
{
    if (exchange->is_oversized) {
        refuse_large_result(exchange);
        return;
    }
    if (exchange->request.body_length > INLINE_BODY_MAX)
        advance_heavy(exchange);
    else
        advance(exchange, false);
}
