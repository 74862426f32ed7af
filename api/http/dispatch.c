#include "api/http/dispatch.h"

#include <inttypes.h>

#include "api/api.h"
#include "api/http/arguments.h"
#include "api/http/router.h"
#include "api/http/thread_pool.h"
#include "api/options.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/json_mend.h"
#include "common/domain/run_definition.h"

enum {
    INLINE_BODY_MAX = 64 * 1024,
    IDENTIFY_BYTES = 64 * 1024 /* bytes of a body that are searched for its sender */
};

static const struct wire_protocol *protocol_of(const struct exchange *exchange)
{
    return exchange->request.protocol;
}

static bool dispatch_is_result(const struct exchange *exchange)
{
    return (exchange->request.route->flags & ROUTE_HEARTBEAT) != 0;
}

enum bw_code dispatch_admit(struct api *api, struct exchange *exchange, struct bw_error *error)
{
    const struct wire_protocol *protocol = protocol_of(exchange);
    return protocol->admit != NULL ? protocol->admit(api, exchange, error) : BW_OK;
}

/* Marks the sender as the registered worker that the request names. */
static void take_as_worker(struct exchange *exchange)
{
    exchange->is_known = true;
    memory_hold_move(&exchange->body.hold, MEMORY_WORKER);
}

void dispatch_identify(struct exchange *exchange)
{
    const struct wire_protocol *protocol = protocol_of(exchange);
    size_t searched = exchange->searched;
    exchange->searched = exchange->request.body_length;
    if (!exchange->is_known && searched < IDENTIFY_BYTES && protocol->knows_worker != NULL &&
        protocol->knows_worker(exchange, searched))
        take_as_worker(exchange);
}

/* ---- Senders that are looked up in the database ---- */

/* Whether the sender is still to be found. A short body is read to its end first, since it takes
 * little memory. */
static bool is_sender_sought(const struct exchange *exchange)
{
    uint64_t expected = exchange->body.expected;
    return dispatch_is_result(exchange) && protocol_of(exchange)->seek_sender != NULL &&
           !exchange->is_known && !exchange->is_named && !exchange->is_oversized &&
           exchange->received < IDENTIFY_BYTES && (expected == 0 || expected > IDENTIFY_BYTES);
}

bool dispatch_names_stranger(struct exchange *exchange, const char *piece, size_t length)
{
    if (!is_sender_sought(exchange))
        return false;
    enum bw_code code = protocol_of(exchange)->seek_sender(exchange->host->api, exchange, piece,
                                                           length);
    exchange->is_named = code != BW_NOT_FOUND;
    if (code == BW_OK)
        take_as_worker(exchange);
    return code == BW_PENDING;
}

void dispatch_find_sender(struct exchange *exchange)
{
    protocol_of(exchange)->find_sender(exchange->host->api, exchange);
}

void dispatch_sender_found(struct exchange *exchange, enum bw_code code)
{
    exchange->sender_code = code;
    exchange_wake(exchange, EXCHANGE_SENDER_FOUND);
}

enum bw_code dispatch_take_sender(struct exchange *exchange, struct bw_error *error)
{
    if (exchange->sender_code == BW_BAD_REQUEST)
        return protocol_of(exchange)->refuse_sender(exchange, error);
    if (exchange->sender_code == BW_OK) {
        take_as_worker(exchange);
        exchange_prove_worker(exchange, exchange->worker);
    }
    return BW_OK;
}

void dispatch_note_refusal(struct exchange *exchange, enum bw_code code)
{
    bool is_for_room = code == BW_UNAVAILABLE || code == BW_TOO_LARGE || code == BW_TOO_MANY;
    if (!is_for_room || !exchange->is_known)
        return;
    if ((exchange->request.route->flags & (ROUTE_HEARTBEAT | ROUTE_URGENT)) != 0)
        exchange->host->hooks->seen(exchange->host->api, exchange->worker,
                                    dispatch_is_result(exchange));
}

void dispatch_refuse(struct exchange *exchange, enum bw_code code, const struct bw_error *error)
{
    dispatch_note_refusal(exchange, code);
    if (exchange->is_admitted && dispatch_is_result(exchange))
        exchange->host->hooks->refuse_result(exchange->host->api, exchange, code, error);
    else
        exchange_refuse(exchange, code, error);
}

/* ---- From the complete request to the handler ---- */

static const struct bw_error busy = {"too many requests are waiting here: try again"};

void dispatch_run(struct exchange *exchange, void (*function)(void *exchange))
{
    bool is_urgent = (exchange->request.route->flags & ROUTE_URGENT) != 0;
    if (!thread_pool_submit(exchange->host->api->thread_pool, is_urgent, function, exchange))
        dispatch_refuse(exchange, BW_UNAVAILABLE, &busy);
}

/* Calls the handler. */
static void dispatch_handle(void *context)
{
    struct exchange *exchange = context;
    struct api *api = exchange->host->api;
    const struct route *route = exchange->request.route;
    struct bw_error error = {""};
    if ((route->flags & ROUTE_CURRENT) != 0 && protocol_of(exchange)->drain != NULL)
        protocol_of(exchange)->drain(api);
    FAILPOINT("in_request");
    enum bw_code code = route->handle(api, exchange, &error);
    if (code != BW_OK && code != BW_PENDING)
        exchange_refuse(exchange, code, &error);
}

static enum bw_code dispatch_read(struct exchange *exchange, struct bw_error *error)
{
    const struct json_limits limits = exchange_json_limits(exchange);
    const struct api_options *options = exchange->host->api->options;
    const struct submission_limits definition = {.allow_privileged = options != NULL &&
                                                                     options->allow_privileged};
    struct arguments_source source = {.query = exchange->request.query,
                                      .content_type = exchange_header(exchange, "Content-Type"),
                                      .body = exchange->request.body,
                                      .body_length = exchange->request.body_length,
                                      .limits = &limits,
                                      .context = &definition};
    if (dispatch_is_result(exchange)) /* invalid JSON in a result is repaired, and reported */
        source.mended = exchange->request.mended = bw_alloc(sizeof *source.mended);
    return arguments_read(exchange->request.route, &source, &exchange->request.arguments, error);
}

/* Checks the sender, as far as possible without waiting. */
static enum bw_code dispatch_check(struct exchange *exchange, struct bw_error *error)
{
    const struct wire_protocol *protocol = protocol_of(exchange);
    return protocol->check != NULL ? protocol->check(exchange->host->api, exchange, error) : BW_OK;
}

/* On a path that another protocol serves, too: checks by the body whether the request is of that
 * protocol. */
static enum bw_code dispatch_ask_twin(struct exchange *exchange, struct bw_error *error)
{
    struct request *request = &exchange->request;
    if (request->twin == NULL || request->twin->claims_body == NULL)
        return BW_OK;
    enum bw_code code = request->twin->claims_body(exchange, error);
    if (code == BW_OK)
        return BW_OK;
    request->protocol = request->twin;
    router_allow_origin(exchange);
    return code;
}

/* Reads the arguments and checks the sender; the sender first, unless the arguments name it.
 * BW_PENDING: the sender must be looked up. */
static enum bw_code dispatch_prepare(struct exchange *exchange, struct bw_error *error)
{
    bool is_read_first = protocol_of(exchange)->has_workers_in_arguments;
    enum bw_code code = dispatch_ask_twin(exchange, error);
    if (code == BW_OK)
        code = is_read_first ? dispatch_read(exchange, error) : dispatch_check(exchange, error);
    if (code == BW_OK)
        code = is_read_first ? dispatch_check(exchange, error) : dispatch_read(exchange, error);
    return code;
}

/* Continues after the look-up of the sender: the arguments may have to be read. */
static void dispatch_resume(void *context)
{
    struct exchange *exchange = context;
    struct bw_error error = {""};
    enum bw_code code = BW_OK;
    if (!protocol_of(exchange)->has_workers_in_arguments)
        code = dispatch_read(exchange, &error);
    if (code == BW_OK)
        dispatch_handle(exchange);
    else
        dispatch_refuse(exchange, code, &error);
}

void dispatch_worker_found(struct exchange *exchange, enum bw_code code,
                           const struct bw_error *error, bool may_wait)
{
    if (code != BW_OK && code != BW_UNAVAILABLE)
        exchange_refuse(exchange, code, error);
    else if (may_wait)
        dispatch_resume(exchange);
    else
        dispatch_run(exchange, dispatch_resume);
}

/* Continues to the handler, on this thread if `may_wait` or if the handler does not wait. */
static void dispatch_advance(struct exchange *exchange, bool may_wait)
{
    struct bw_error error = {""};
    enum bw_code code = dispatch_prepare(exchange, &error);
    if (code == BW_PENDING)
        protocol_of(exchange)->find_worker(exchange->host->api, exchange);
    else if (code != BW_OK)
        dispatch_refuse(exchange, code, &error);
    else if (may_wait || (exchange->request.route->flags & ROUTE_BLOCKING) == 0)
        dispatch_handle(exchange);
    else
        dispatch_run(exchange, dispatch_handle);
}

static void dispatch_advance_on_thread_pool(void *context)
{
    dispatch_advance(context, true);
}

void dispatch_progress(struct exchange *exchange)
{
    struct api *api = exchange->host->api;
    const struct wire_protocol *protocol = protocol_of(exchange);
    int64_t now_ms = clock_boot_ms();
    if (!dispatch_is_result(exchange) ||
        now_ms - exchange->notified_ms < api->options->heartbeat_interval_ms / 4)
        return;
    const char *worker = protocol->result_sender(exchange);
    if (worker == NULL)
        return;
    exchange->notified_ms = now_ms;
    if (protocol->is_sender_seen == NULL || protocol->is_sender_seen(api, exchange))
        exchange->host->hooks->seen(api, worker, true);
}

/* Refuses a result of which only the beginning was kept: api/grading/result_refusal.h. */
static void refuse_large_result(struct exchange *exchange)
{
    struct bw_error error;
    enum bw_code code = bw_fail(&error, BW_TOO_LARGE, "the body is larger than %" PRId64 " bytes",
                                exchange->host->api->options->max_body_bytes);
    dispatch_refuse(exchange, code, &error);
}

/* Parses a large body on the thread pool: at once for known workers, for others few at a time. */
static void dispatch_advance_heavy(struct exchange *exchange)
{
    if (exchange->is_known || exchange->request.route->auth == AUTH_INTERNAL)
        dispatch_run(exchange, dispatch_advance_on_thread_pool);
    else if (!thread_pool_submit_heavy(exchange->host->api->thread_pool,
                                       dispatch_advance_on_thread_pool, exchange))
        dispatch_refuse(exchange, BW_UNAVAILABLE, &busy);
}

void dispatch_request(struct exchange *exchange)
{
    if (exchange->is_oversized) {
        refuse_large_result(exchange);
        return;
    }
    if (exchange->request.body_length > INLINE_BODY_MAX)
        dispatch_advance_heavy(exchange);
    else
        dispatch_advance(exchange, false);
}
