#include "api/http/server_internal.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "api/http/request_validation.h"
#include "api/http/body.h"
#include "api/http/dispatch.h"
#include "api/http/router.h"
#include "common/base/alloc.h"
#include "common/base/host_name.h"

/* ---- The entry of a connection ---- */

struct connection *http_server_connection(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static struct timed_request *timed_request_of(struct MHD_Connection *connection)
{
    const struct connection_parts *parts = connection_parts(http_server_connection(connection));
    return parts != NULL ? parts->timed_request : NULL;
}

/* ---- Answering ---- */

static void http_connection_note_finished(struct server *server, const struct exchange *exchange)
{
    if (server->settings.finished != NULL)
        server->settings.finished(&exchange->request, exchange->answer.status,
                                  server->settings.context);
}

/* Takes the exchange back from dispatch. */
static void http_connection_take_back(struct server *server, struct exchange *exchange)
{
    if (exchange->is_given)
        atomic_fetch_sub(&server->unanswered, 1);
    exchange->is_given = false;
}

/* Adds the headers that every answer has to a response that is sent without ulfius. */
static void add_common_headers(const struct exchange *exchange, struct MHD_Response *response)
{
    const char *cors = exchange->answer.cors;
    char id[REQUEST_ID_SIZE];
    request_id_of(&exchange->request, id);
    MHD_add_response_header(response, REQUEST_ID_HEADER, id);
    if (cors == NULL)
        return;
    MHD_add_response_header(response, "Access-Control-Allow-Origin", cors);
    if (strcmp(cors, "*") != 0)
        MHD_add_response_header(response, "Vary", "Origin");
}

/* Queues a response, and releases it. */
static enum MHD_Result queue_once(struct exchange *exchange, unsigned status,
                                  struct MHD_Response *response)
{
    enum MHD_Result result = ulfius_shim_queue_response(exchange->connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* Ends a stream whose client has disconnected. A suspended connection would notice that only at its
 * next write. */
static void end_stream(struct exchange *exchange, void *context)
{
    const struct exchange_stream *made = &exchange->answer.made;
    made->gone(context, made->number);
}

static void watch_stream(struct server *server, struct exchange *exchange)
{
    const struct exchange_stream *made = &exchange->answer.made;
    if (made->gone == NULL)
        return;
    exchange->is_stream_watched = true;
    disconnect_watch_add(server->host.watch, exchange->request.number, exchange->fd, exchange,
                         end_stream, made->context);
}

/* Sends an answer that is made while it is sent. Ulfius is not used, since it can't suspend such an
 * answer. */
static enum MHD_Result send_stream(struct server *server, struct exchange *exchange)
{
    struct answer *answer = &exchange->answer;
    void *stream = answer->made.stream;
    answer->made.stream = NULL;
    http_connection_take_back(server, exchange);
    http_connection_note_finished(server, exchange);
    watch_stream(server, exchange);
    struct MHD_Response *response = answer->made.response(stream, exchange->connection,
                                                          exchange->fd);
    if (response == NULL)
        return MHD_NO;
    if (answer->made.is_json)
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
    for (unsigned i = 0; i < answer->header_count; i++)
        MHD_add_response_header(response, answer->headers[i].name, answer->headers[i].value);
    add_common_headers(exchange, response);
    if (answer->made.is_json && (atomic_load(&server->is_stopping) || exchange_is_gone(exchange)))
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return queue_once(exchange, MHD_HTTP_OK, response);
}

static enum MHD_Result send_answer(struct server *server, struct exchange *exchange)
{
    if (exchange->answer.made.stream != NULL)
        return send_stream(server, exchange);
    /* libmicrohttpd does not notice the end of a connection that arrives together with its request:
     * it would keep the connection as idle. */
    if (atomic_load(&server->is_stopping) || exchange_is_gone(exchange))
        exchange->answer.closes = true;
    connection_release(exchange->peer);
    http_connection_take_back(server, exchange);
    http_connection_note_finished(server, exchange);
    return ulfius_shim_answer(server, exchange);
}

void http_server_send_raw(int fd, const char *text, int length)
{
    (void)!send(fd, text, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void http_server_write_raw_headers(const struct exchange *exchange, char *text, size_t size)
{
    const struct answer *answer = &exchange->answer;
    const char *cors = answer->cors != NULL ? answer->cors : "*";
    char id[REQUEST_ID_SIZE], retry[32] = "", origin[2 * HEAD_SIZE] = "";
    request_id_of(&exchange->request, id);
    if (answer->retry_after_s > 0)
        snprintf(retry, sizeof retry, "Retry-After: %d\r\n", answer->retry_after_s);
    if (answer->cors != NULL)
        snprintf(origin, sizeof origin, "Access-Control-Allow-Origin: %s\r\n%s", cors,
                 strcmp(cors, "*") != 0 ? "Vary: Origin\r\n" : "");
    snprintf(text, size, "%s: %s\r\n%s%s", REQUEST_ID_HEADER, id, retry, origin);
}

/* Sends an answer in the middle of a body, where libmicrohttpd accepts none: it is written to the
 * socket, and the connection is closed. */
static enum MHD_Result send_midway(struct server *server, struct exchange *exchange)
{
    http_connection_take_back(server, exchange);
    http_connection_note_finished(server, exchange);
    const struct answer *answer = &exchange->answer;
    const char *body = answer->body != NULL ? answer->body : "";
    bool is_head = strcmp(exchange->request.method, MHD_HTTP_METHOD_HEAD) == 0;
    char text[8 * HEAD_SIZE + 2 * BW_ERROR_SIZE], more[RAW_HEADERS_SIZE];
    http_server_write_raw_headers(exchange, more, sizeof more);
    int length = snprintf(text, sizeof text, RAW_ANSWER, answer->status,
                          MHD_get_reason_phrase_for((unsigned)answer->status), strlen(body), more,
                          is_head ? "" : body);
    if (length > 0 && (size_t)length < sizeof text)
        http_server_send_raw(exchange->fd, text, length);
    return MHD_NO;
}

static enum MHD_Result send_early(struct server *server, struct exchange *exchange)
{
    lingering_close_take(server->lingering_close, exchange->fd, exchange->body.expected);
    return exchange->received > 0 ? send_midway(server, exchange) : send_answer(server, exchange);
}

/* ---- Waiting for an answer ---- */

/* Marks the exchange as given to dispatch. From here on it may be answered at any moment, but it is
 * not freed before its connection is suspended. */
static void hand_to_dispatch(struct server *server, struct exchange *exchange)
{
    connection_hold(exchange->peer);
    exchange->is_given = true;
    atomic_fetch_add(&server->unanswered, 1);
    atomic_store(&exchange->state, EXCHANGE_HANDLED);
}

static void pass_to_ulfius(struct server *server, struct exchange *exchange)
{
    timed_request_finish(timed_request_of(exchange->connection));
    hand_to_dispatch(server, exchange);
}

/* Suspends the connection. libmicrohttpd calls the handler again after it is resumed. */
static void sleep_until_woken(struct exchange *exchange)
{
    enum exchange_state handled = EXCHANGE_HANDLED;
    struct MHD_Connection *connection = exchange->connection;
    MHD_suspend_connection(connection);
    if (!atomic_compare_exchange_strong(&exchange->state, &handled, EXCHANGE_SUSPENDED))
        MHD_resume_connection(connection); /* dispatch has given it back in the meantime */
}

/* Suspends the connection until the answer. False: the exchange is answered already. */
static bool sleeps_until_answered(struct exchange *exchange)
{
    if (atomic_load(&exchange->state) == EXCHANGE_ANSWERED)
        return false;
    sleep_until_woken(exchange);
    return true;
}

/* Refuses a request whose body is not read to its end. The refusal may fail a job, which takes
 * time: the unread part of the body stays in libmicrohttpd's buffer until then. */
static enum MHD_Result refuse_early(struct server *server, struct exchange *exchange,
                                    enum bw_code code, const struct bw_error *error)
{
    exchange->is_early = exchange->answer.closes = true;
    pass_to_ulfius(server, exchange);
    dispatch_refuse(exchange, code, error);
    return sleeps_until_answered(exchange) ? MHD_YES : send_early(server, exchange);
}

/* ---- The look-up of a large result's sender ---- */

/* Whether the sender must be looked up. `piece`: the next one of the body; NULL: it has not
 * begun. */
static bool needs_sender(const struct server *server, struct exchange *exchange, const char *piece,
                         size_t length)
{
    return dispatch_names_stranger(exchange, piece, length) && !atomic_load(&server->is_closing);
}

/* Suspends the connection for the look-up. The piece stays in libmicrohttpd's buffer, so
 * libmicrohttpd calls the handler again when the look-up is over, even if no more data arrives. */
static enum MHD_Result wait_for_sender(struct server *server, struct exchange *exchange)
{
    timed_request_pause(timed_request_of(exchange->connection));
    hand_to_dispatch(server, exchange);
    dispatch_find_sender(exchange);
    sleep_until_woken(exchange);
    return MHD_YES;
}

/* Takes the exchange back after the look-up. BW_OK: the rest of the body is read. */
static enum bw_code take_sender(struct server *server, struct exchange *exchange,
                                struct bw_error *error)
{
    http_connection_take_back(server, exchange);
    connection_release(exchange->peer);
    timed_request_resume(timed_request_of(exchange->connection));
    atomic_store(&exchange->state, EXCHANGE_READING);
    return dispatch_take_sender(exchange, error);
}

/* Refuses a result whose sender is not registered; no job fails. `length`: of the current piece of
 * its body. */
static enum MHD_Result http_connection_refuse_stranger(struct server *server,
                                                       struct exchange *exchange, size_t length,
                                                       enum bw_code code,
                                                       const struct bw_error *error)
{
    exchange->received += length;
    exchange->is_early = exchange->answer.closes = true;
    pass_to_ulfius(server, exchange);
    exchange_refuse(exchange, code, error);
    return send_early(server, exchange);
}

/* ---- The body ---- */

/* Whether the client has disconnected and all its data was read, so that the rest of the body will
 * never arrive. With edge-triggered epoll, libmicrohttpd misses an end that arrives together with
 * data, until the connection's idle timeout. */
static bool http_connection_is_over(const struct exchange *exchange)
{
    int unread = 0;
    return exchange_is_gone(exchange) && ioctl(exchange->fd, FIONREAD, &unread) == 0 && unread == 0;
}

/* Searches the next piece of an oversized result for its sender; before the first piece, the part
 * that was stored before. */
static void seek_sender(struct exchange *exchange, const char *data, size_t length)
{
    const struct body *body = &exchange->body;
    if ((exchange->request.route->flags & ROUTE_HEARTBEAT) == 0)
        return;
    if (exchange->seek == NULL && body->length > 0)
        exchange->host->hooks->seek_result(exchange, body->bytes, body->length);
    exchange->host->hooks->seek_result(exchange, data, length);
}

/* Whether a body that is too large is read on in order to find its sender. */
static bool reads_oversized(const struct exchange *exchange, uint64_t length, uint64_t limit)
{
    const struct exchange_host *host = exchange->host;
    return (exchange->request.route->flags & ROUTE_HEARTBEAT) != 0 &&
           host->hooks->reads_result(host->api, exchange, length, limit);
}

/* Stores the beginning of a result that is too large, if it may be read at all. */
static enum bw_code take_prefix(struct server *server, struct exchange *exchange, const char *data,
                                size_t length, struct bw_error *error)
{
    struct body *body = &exchange->body;
    size_t limit = server->settings.max_body_bytes;
    size_t room = body->length < RESULT_PREFIX_BYTES ? RESULT_PREFIX_BYTES - body->length : 0;
    uint64_t declared = exchange->received > body->expected ? exchange->received : body->expected;
    enum bw_code code = BW_OK;
    seek_sender(exchange, data, length);
    if (room > 0)
        code = body_append(body, data, length < room ? length : room, RESULT_PREFIX_BYTES, error);
    else
        body->length = RESULT_PREFIX_BYTES;
    exchange->is_oversized = true;
    exchange->request.body = body->bytes;
    exchange->request.body_length = body->length;
    if (code == BW_OK && !reads_oversized(exchange, declared, limit))
        code = body_refuse_large(limit, error);
    return code;
}

/* Records that a piece of the body was stored. */
static enum MHD_Result take_piece(struct exchange *exchange, size_t *length)
{
    timed_request_receive(timed_request_of(exchange->connection), *length);
    *length = 0;
    dispatch_progress(exchange);
    bool is_complete = exchange->body.expected > 0 && exchange->received == exchange->body.expected;
    return is_complete || !http_connection_is_over(exchange) ? MHD_YES : MHD_NO;
}

/* The next piece of a file. */
static enum MHD_Result take_file(struct server *server, struct exchange *exchange, const char *data,
                                 size_t *length)
{
    struct bw_error error = {""};
    exchange->received += *length;
    enum bw_code code = spool_append(exchange->spool, data, *length,
                                     server->settings.max_file_bytes, &error);
    if (code != BW_OK)
        return refuse_early(server, exchange, code, &error);
    return take_piece(exchange, length);
}

static enum MHD_Result take_body(struct server *server, struct exchange *exchange, const char *data,
                                 size_t *length)
{
    struct bw_error error = {""};
    struct body *body = &exchange->body;
    size_t limit = route_body_limit(exchange->request.route, server->settings.max_body_bytes);
    enum bw_code code = BW_OK;
    if (exchange->spool != NULL)
        return take_file(server, exchange, data, length);
    if (needs_sender(server, exchange, data, *length))
        return wait_for_sender(server, exchange);
    exchange->received += *length;
    if (!exchange->is_oversized)
        code = body_append(body, data, *length, limit, &error);
    if (exchange->is_oversized || code == BW_TOO_LARGE)
        code = take_prefix(server, exchange, data, *length, &error);
    if (code != BW_OK)
        return refuse_early(server, exchange, code, &error);
    exchange->request.body = body->bytes;
    exchange->request.body_length = body->length;
    dispatch_identify(exchange);
    return take_piece(exchange, length);
}

/* Continues after the look-up of the sender. */
static enum MHD_Result http_connection_read_on(struct server *server, struct exchange *exchange,
                                               const char *data, size_t *length)
{
    struct bw_error error;
    enum bw_code code = take_sender(server, exchange, &error);
    if (code != BW_OK)
        return http_connection_refuse_stranger(server, exchange, *length, code, &error);
    return *length > 0 ? take_body(server, exchange, data, length) : MHD_YES;
}

/* ---- Websockets ---- */

/* Called by libmicrohttpd on one of its threads, after the answer is sent. The websocket server
 * owns the connection until it calls MHD_upgrade_action. */
static void http_connection_hand_over(void *context, struct MHD_Connection *connection,
                                      void *con_cls, const char *extra, size_t extra_length,
                                      MHD_socket fd,
                                      struct MHD_UpgradeResponseHandle *http_connection_handle)
{
    struct server *server = context;
    struct exchange *exchange = con_cls;
    const struct upgraded upgraded = {
        .handle = http_connection_handle, .fd = fd, .extra = extra, .extra_length = extra_length};
    (void)connection;
    exchange->is_begun = false; /* it is answered already */
    exchange->is_upgraded = true;
    atomic_fetch_add(&server->upgraded, 1);
    atomic_fetch_sub(&server->in_flight, 1);
    exchange->request.protocol->take_upgraded(server->host.api, exchange, &upgraded);
}

/* Makes the answer to a handshake. NULL: out of memory. */
static struct MHD_Response *new_upgrade(struct server *server, const struct exchange *exchange,
                                        const char *accept)
{
    char seconds[16];
    struct MHD_Response *response = MHD_create_response_for_upgrade(http_connection_hand_over,
                                                                    server);
    if (response == NULL)
        return NULL;
    MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE, "websocket");
    MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
    snprintf(seconds, sizeof seconds, "%d", exchange->answer.retry_after_s);
    /* The websocket is refused: its close frame has the reason. */
    if (exchange->answer.retry_after_s > 0)
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    for (unsigned i = 0; i < exchange->answer.header_count; i++)
        MHD_add_response_header(response, exchange->answer.headers[i].name,
                                exchange->answer.headers[i].value);
    return response;
}

static enum bw_code open_socket(struct server *server, struct exchange *exchange,
                                const char *version, struct bw_error *error)
{
    char accept[UPGRADE_ACCEPT_SIZE];
    enum bw_code code = exchange->request.protocol->upgrade(server->host.api, exchange, version,
                                                            accept, error);
    if (code != BW_OK)
        return code;
    struct MHD_Response *response = new_upgrade(server, exchange, accept);
    if (response == NULL)
        return bw_fail(error, BW_INTERNAL, "out of memory");
    add_common_headers(exchange, response);
    exchange->answer.status = MHD_HTTP_SWITCHING_PROTOCOLS;
    http_connection_note_finished(server, exchange);
    enum MHD_Result result = queue_once(exchange, MHD_HTTP_SWITCHING_PROTOCOLS, response);
    return result == MHD_YES ? BW_OK : bw_fail(error, BW_INTERNAL, "the upgrade is not possible");
}

/* ---- The first call: the headers were received ---- */

/* The members of the exchange that a refusal uses are written under its connection's mutex, since
 * the thread that ends slow requests reads them. */
static void lock_exchange(const struct exchange *exchange)
{
    struct connection_parts *parts = connection_parts(exchange->peer);
    if (parts != NULL)
        pthread_mutex_lock(&parts->mutex);
}

static void unlock_exchange(const struct exchange *exchange)
{
    struct connection_parts *parts = connection_parts(exchange->peer);
    if (parts != NULL)
        pthread_mutex_unlock(&parts->mutex);
}

/* Sets the current exchange of this exchange's connection. */
static void set_exchange(const struct exchange *exchange, struct exchange *at_hand)
{
    lock_exchange(exchange);
    if (exchange->peer != NULL)
        connection_parts(exchange->peer)->exchange = at_hand;
    unlock_exchange(exchange);
}

void http_server_note_address(struct exchange *exchange)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        exchange->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    exchange->request.address[0] = '\0';
    if (info != NULL && info->client_addr != NULL)
        exchange_show_address(info->client_addr, exchange->request.address);
}

void http_server_note_id(struct exchange *exchange)
{
    const char *given_id = exchange_header(exchange, REQUEST_ID_HEADER);
    struct trace trace;
    bool has_trace = trace_parse(exchange_header(exchange, TRACEPARENT_HEADER), &trace);
    lock_exchange(exchange);
    if (request_id_is_sound(given_id))
        exchange->request.given_id = given_id;
    if (has_trace)
        memcpy(exchange->request.trace_id, trace.id, sizeof trace.id);
    unlock_exchange(exchange);
}

/* Finds the route, and with it the protocol and the form of refusals. */
static enum bw_code find_route(struct exchange *exchange, const char *path, struct bw_error *error)
{
    struct request *request = &exchange->request;
    char allowed[ROUTE_ALLOWED_SIZE], shown[128];
    lock_exchange(exchange);
    enum bw_code code = router_choose(exchange, path, allowed);
    unlock_exchange(exchange);
    if (code == BW_OK)
        return BW_OK;
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_NOT_FOUND, "there is nothing at %s",
                       text_show(path, shown, sizeof shown));
    exchange->answer.allow = bw_copy(allowed);
    if (code != BW_METHOD_NOT_ALLOWED)
        return code;
    return bw_fail(error, BW_METHOD_NOT_ALLOWED, "this path does not take the method %s, but %s",
                   text_show(request->method, shown, sizeof shown), allowed);
}

/* Records the sender, after its headers were accepted. */
static void prove_by_headers(struct exchange *exchange)
{
    const struct sender *sender = &exchange->sender;
    if (sender->worker != NULL)
        exchange_prove_worker(exchange, sender->worker);
    else if (sender->kind != CONNECTION_UNPROVEN)
        exchange_prove(exchange, sender->kind);
}

/* Shortens the time for a result that is far too long, so that a client that waits for an answer
 * before it sends the body is refused soon. */
static void http_connection_shorten_timeout(struct exchange *exchange)
{
    lock_exchange(exchange);
    exchange->is_beyond = true;
    unlock_exchange(exchange);
    timed_request_limit(timed_request_of(exchange->connection), HTTP_SERVER_BEGINNING_MS);
}

/* Takes a place for a file that is about to arrive. */
static enum bw_code admit_file(struct server *server, struct exchange *exchange,
                               const struct framing *framing, struct bw_error *error)
{
    if (framing->length > server->settings.max_file_bytes)
        return spool_refuse_large(server->settings.max_file_bytes, error);
    enum spool_sender sender = exchange->request.route->auth != AUTH_WORKER ? SPOOL_CLIENT
                               : exchange->is_known                         ? SPOOL_GRADER
                                                                            : SPOOL_UNKNOWN;
    return spool_open(&server->host.spools, sender, &exchange->spool, error);
}

/* Begins the body's hold of memory, and checks whether the body may be sent. A sender that may yet
 * be recognised by the body's first part is not refused before that, and the beginning of a result
 * that is too large may be read. */
static enum bw_code admit_body(struct server *server, struct exchange *exchange,
                               const struct framing *framing, struct bw_error *error)
{
    const struct request *request = &exchange->request;
    struct body *body = &exchange->body;
    size_t limit = route_body_limit(request->route, server->settings.max_body_bytes);
    memory_hold_begin(&body->hold, server->settings.memory, exchange_memory_pool(exchange),
                      request->address);
    dispatch_identify(exchange);
    if (request->route->body == BODY_FILE)
        return admit_file(server, exchange, framing, error);
    exchange->is_oversized = framing->length > limit &&
                             reads_oversized(exchange, framing->length, limit);
    if (exchange->is_oversized && server->host.hooks->is_result_beyond(framing->length, limit))
        http_connection_shorten_timeout(exchange);
    if (exchange->is_oversized)
        return BW_OK;
    if (framing->length > limit)
        return body_refuse_large(limit, error);
    bool may_be_known = request->route->auth == AUTH_WORKER && !exchange->is_known &&
                        request->protocol->has_workers_in_arguments;
    return may_be_known ? BW_OK : body_admit(body, error);
}

/* On a port that is bound to loopback: refuses host names, so that a web page whose name was
 * rebound to loopback can't read routes with AUTH_NONE. */
static enum bw_code refuse_foreign_name(const struct server *server,
                                        const struct exchange *exchange, struct bw_error *error)
{
    const char *host = exchange_header(exchange, MHD_HTTP_HEADER_HOST);
    char shown[120];
    if (!server->settings.refuses_names || exchange->request.route->auth != AUTH_NONE ||
        !host_is_foreign_name(host))
        return BW_OK;
    return bw_fail(
        error, BW_FORBIDDEN,
        "this port is bound to loopback: it serves localhost and numeric addresses, not the "
        "name '%s'",
        text_show(host, shown, sizeof shown));
}

/* Checks everything that is known before the body. */
static enum bw_code http_connection_admit(struct server *server, struct exchange *exchange,
                                          const char *path, const struct framing *framing,
                                          struct bw_error *error)
{
    enum bw_code code = request_validation_path(exchange->uri, path, error);
    if (code == BW_OK)
        code = find_route(exchange, path, error);
    if (code == BW_OK)
        code = refuse_foreign_name(server, exchange, error);
    if (code == BW_OK)
        code = dispatch_admit(server->host.api, exchange, error);
    exchange->is_admitted = code == BW_OK;
    if (code == BW_OK && framing->is_encoded)
        code = bw_fail(error, BW_BAD_REQUEST, "a body with a Content-Encoding is not supported");
    if (code == BW_OK)
        code = admit_body(server, exchange, framing, error);
    if (code == BW_OK)
        prove_by_headers(exchange);
    if (code == BW_OK && atomic_load(&server->is_closing))
        code = bw_fail(error, BW_UNAVAILABLE, "this server is stopping");
    return code;
}

/* Refuses a request whose head leaves libmicrohttpd no memory for an answer: the refusal is written
 * to the socket, and the connection is closed. */
static enum MHD_Result refuse_large_head(struct server *server, struct exchange *exchange)
{
    static const struct raw_refusal refusal = {
        MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE,
        "this request can't be read: its path, query and headers are too long"};
    timed_request_finish(timed_request_of(exchange->connection));
    lingering_close_take(server->lingering_close, exchange->fd, 0);
    http_server_refuse_raw(server, exchange, exchange->fd, &refusal);
    return MHD_NO;
}

/* Counts the request as in flight. */
static void note_begun(struct server *server, struct exchange *exchange, const char *method)
{
    exchange->is_begun = true;
    atomic_fetch_add(&server->in_flight, 1);
    lock_exchange(exchange);
    exchange->request.method = method;
    unlock_exchange(exchange);
    http_server_note_id(exchange);
    exchange->fd = MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD)
                       ->connect_fd;
}

/* Handles a request's headers. A refusal of a request without a body is sent in the second call,
 * since an answer in the first one closes the connection. If there is a body, or the request's end
 * is ambiguous, closing it is intended. */
static enum MHD_Result http_connection_begin(struct server *server, struct exchange *exchange,
                                             const char *path, const char *method,
                                             const char *version)
{
    struct bw_error error = {""};
    struct framing framing = {.length = 0};
    note_begun(server, exchange, method);
    if (!request_validation_leaves_room(exchange->connection, HTTP_SERVER_CONNECTION_BYTES))
        return refuse_large_head(server, exchange);
    const struct request_line line = {.method = method,
                                      .uri = exchange->sent_uri,
                                      .uri_length = strlen(exchange->uri),
                                      .version = version};
    enum bw_code code = request_validation_lines(exchange->connection, &line, &error);
    if (code == BW_OK)
        code = request_validation_framing(exchange->connection, version, &framing, &error);
    bool is_sound = code == BW_OK;
    exchange->body.expected = framing.length;
    if (is_sound)
        code = http_connection_admit(server, exchange, path, &framing, &error);
    if (code != BW_OK)
        timed_request_finish(timed_request_of(exchange->connection));
    if (code == BW_OK && exchange->request.route->auth == AUTH_SOCKET) {
        code = framing_has_body(&framing)
                   ? bw_fail(&error, BW_BAD_REQUEST, "a websocket's handshake has no body")
                   : open_socket(server, exchange, version, &error);
        if (code == BW_OK)
            timed_request_finish(timed_request_of(exchange->connection));
    }
    if (code == BW_OK && framing_has_body(&framing) && needs_sender(server, exchange, NULL, 0))
        return wait_for_sender(server, exchange);
    if (code == BW_OK)
        return MHD_YES;
    if (!is_sound || framing_has_body(&framing))
        return refuse_early(server, exchange, code, &error);
    dispatch_note_refusal(exchange, code);
    exchange_refuse(exchange, code, &error);
    return MHD_YES;
}

/* ---- The last call: the request is complete ---- */

static enum MHD_Result http_connection_handle(struct server *server, struct exchange *exchange)
{
    pass_to_ulfius(server, exchange);
    dispatch_request(exchange);
    return sleeps_until_answered(exchange) ? MHD_YES : send_answer(server, exchange);
}

enum MHD_Result http_server_access(void *context, struct MHD_Connection *connection,
                                   const char *url, const char *method, const char *version,
                                   const char *upload_data, size_t *upload_data_size,
                                   void **con_cls)
{
    struct server *server = context;
    struct exchange *exchange = *con_cls;
    (void)connection;
    /* There is no exchange: memory had run out. */
    if (exchange == NULL)
        return MHD_NO;
    if (!exchange->is_begun)
        return http_connection_begin(server, exchange, url, method, version);
    if (exchange->is_early && atomic_load(&exchange->state) == EXCHANGE_ANSWERED)
        return send_early(server, exchange);
    if (exchange->is_early)
        return MHD_YES; /* asleep: not called */
    if (atomic_load(&exchange->state) == EXCHANGE_SENDER_FOUND)
        return http_connection_read_on(server, exchange, upload_data, upload_data_size);
    if (*upload_data_size > 0)
        return take_body(server, exchange, upload_data, upload_data_size);
    switch (atomic_load(&exchange->state)) {
    case EXCHANGE_READING:
        return http_connection_handle(server, exchange);
    case EXCHANGE_ANSWERED:
        return send_answer(server, exchange);
    default:
        return MHD_YES; /* asleep: not called */
    }
}

/* ---- Called by libmicrohttpd ---- */

/* libmicrohttpd would parse the query into the connection's small memory, although only our copy of
 * it is read (api/http/arguments.h); a query that does not fit would leave the connection in a
 * state in which it answers nothing. So the query is emptied in libmicrohttpd's buffer, which is
 * writable: libmicrohttpd itself decodes the path and the query there. */
static void empty_query(const char *uri)
{
    char *query = strchr((char *)(uintptr_t)uri, '?');
    if (query != NULL && query[1] != '\0')
        query[1] = '\0';
}

void *http_server_begin_request(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct server *server = context;
    struct connection *peer = http_server_connection(connection);
    connection_begin(peer);
    timed_request_begin(timed_request_of(connection));
    struct exchange *exchange = exchange_new(&server->host, connection, uri);
    if (exchange != NULL) {
        exchange->peer = peer;
        exchange->sent_uri = uri;
        exchange->answer.cors = server->settings.cors_origin; /* until its protocol is known */
        http_server_note_address(exchange);
        set_exchange(exchange, exchange);
    }
    empty_query(uri);
    return exchange;
}

size_t http_server_unescape(void *context, struct MHD_Connection *connection, char *text)
{
    const struct connection_parts *parts = connection_parts(http_server_connection(connection));
    (void)context;
    if (parts != NULL && parts->exchange != NULL && text == parts->exchange->sent_uri)
        parts->exchange->is_line_read = true;
    return MHD_http_unescape(text);
}

void http_server_end_request(void *context, struct MHD_Connection *connection, void **con_cls,
                             enum MHD_RequestTerminationCode code)
{
    struct server *server = context;
    struct exchange *exchange = *con_cls;
    if (exchange == NULL)
        return;
    *con_cls = NULL;
    set_exchange(exchange, NULL); /* from here on no other thread reads it */
    timed_request_rest(timed_request_of(connection));
    connection_rest(exchange->peer);
    /* The exchange may be answered without having been sent, since the client has disconnected. */
    http_connection_take_back(server, exchange);
    ulfius_shim_end_request(exchange, code);
    struct body body =
        exchange->body; /* cleared after the values that were parsed from it are freed */
    if (exchange->is_stream_watched)
        disconnect_watch_remove(server->host.watch, exchange->request.number);
    if (exchange->is_upgraded)
        atomic_fetch_sub(&server->upgraded, 1);
    if (exchange->answer.made.stream != NULL)
        exchange->answer.made.drop(exchange->answer.made.stream);
    bool is_begun = exchange->is_begun;
    exchange_free(exchange);
    body_clear(&body);
    if (is_begun)
        atomic_fetch_sub(&server->in_flight, 1);
}
