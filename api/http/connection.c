#include "api/http/server_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "api/http/request_validation.h"
#include "api/http/answer_stream.h"
#include "api/api.h"
#include "api/http/body.h"
#include "api/course/route.h"
#include "api/course/websocket.h"
#include "api/http/dispatch.h"
#include "api/grading/event_streams.h"
#include "api/options.h"
#include "api/grading/result_refusal.h"
#include "api/grading/grader_limits.h"
#include "api/websocket/handshake.h"
#include "api/websocket/server.h"
#include "common/base/host_name.h"

/* ---- A connection ---- */

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

/* Ulfius calls back for an answer without saying for which of our exchanges: it does so on the
 * thread that called it. */
static _Thread_local struct exchange *answering;

bool http_server_is_answering(void)
{
    return answering != NULL;
}

/* For browsers: who may read the answer, and what they may ask. */
static void allow_origin(const struct answer *answer, struct _u_map *headers)
{
    u_map_put(headers, "Access-Control-Allow-Origin", answer->cors);
    if (strcmp(answer->cors, "*") != 0)
        u_map_put(headers, "Vary", "Origin");
    if (answer->status != MHD_HTTP_NO_CONTENT)
        return;
    u_map_put(headers, "Access-Control-Allow-Headers", "Authorization, Content-Type");
    u_map_put(headers, "Access-Control-Allow-Methods", answer->allow);
}

static void tell_limits(const struct api *api, struct _u_map *headers)
{
    struct grader_limit limits[GRADER_LIMITS];
    grader_limits_list(api->options, limits);
    for (int i = 0; i < GRADER_LIMITS; i++)
        u_map_put(headers, limits[i].header, limits[i].bytes);
}

/* The answer's headers that have to do with when to ask again, and as whom. */
static void write_hints(const struct answer *answer, struct _u_map *headers)
{
    char seconds[16];
    if (answer->asks_for_token)
        u_map_put(headers, "WWW-Authenticate", "Bearer");
    snprintf(seconds, sizeof seconds, "%d", answer->retry_after_s);
    if (answer->retry_after_s > 0)
        u_map_put(headers, "Retry-After", seconds);
}

int http_server_write_answer(const struct _u_request *request, struct _u_response *response,
                             void *context)
{
    struct answer *answer = &answering->answer;
    char id[REQUEST_ID_SIZE];
    (void)request;
    (void)context;
    response->status = answer->status;
    request_id_of(&answering->request, id);
    u_map_put(response->map_header, REQUEST_ID_HEADER, id);
    if (answer->body != NULL) {
        u_map_put(response->map_header, "Content-Type", answer->type);
        response->binary_body_length = strlen(answer->body);
        response->binary_body = answer->body; /* stolen: ulfius frees it */
        answer->body = NULL;
    }
    if (answer->allow != NULL)
        u_map_put(response->map_header, "Allow", answer->allow);
    if (answer->cors != NULL)
        allow_origin(answer, response->map_header);
    write_hints(answer, response->map_header);
    if (answer->status == MHD_HTTP_UPGRADE_REQUIRED) {
        u_map_put(response->map_header, "Upgrade", "websocket");
        u_map_put(response->map_header, "Sec-WebSocket-Version", "13");
    }
    if (answer->tells_limits && answer->status == MHD_HTTP_OK)
        tell_limits(answering->host->api, response->map_header);
    if (answer->closes)
        u_map_put(response->map_header, "Connection", "close");
    return U_CALLBACK_COMPLETE;
}

static void http_connection_note_finished(struct server *server, const struct exchange *exchange)
{
    if (server->settings.finished != NULL)
        server->settings.finished(&exchange->request, exchange->answer.status,
                                  server->settings.context);
}

/* It is the server's again. */
static void take_back(struct server *server, struct exchange *exchange)
{
    if (exchange->is_given)
        atomic_fetch_sub(&server->unanswered, 1);
    exchange->is_given = false;
}

/* A stream that sleeps would not see that its client has gone before it next writes. */
static void end_stream(struct exchange *exchange, void *streams)
{
    event_streams_end(streams, exchange->stream_number);
}

static void watch_stream(struct server *server, struct exchange *exchange,
                         const struct event_stream *stream)
{
    exchange->stream_number = event_stream_number(stream);
    disconnect_watch_add(server->host.watch, exchange->request.number, exchange->fd, exchange,
                         end_stream, server->host.api->streams);
}

/* The headers that every answer has, on one that is written past ulfius. */
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

/* Queues a response that is for this answer alone, and lets go of it. */
static enum MHD_Result queue_once(struct exchange *exchange, unsigned status,
                                  struct MHD_Response *response)
{
    enum MHD_Result result = http_server_queue_response(exchange->connection, status, response);
    MHD_destroy_response(response);
    return result;
}

/* A stream is written past ulfius, which has no way to let one wait. */
static enum MHD_Result send_stream(struct server *server, struct exchange *exchange)
{
    struct answer *answer = &exchange->answer;
    struct event_stream *stream = answer->stream;
    answer->stream = NULL;
    take_back(server, exchange);
    http_connection_note_finished(server, exchange);
    watch_stream(server, exchange, stream);
    struct MHD_Response *response = event_stream_response(stream, exchange->connection);
    if (response == NULL)
        return MHD_NO;
    add_common_headers(exchange, response);
    return queue_once(exchange, MHD_HTTP_OK, response);
}

/* Like a stream. */
static enum MHD_Result send_long(struct server *server, struct exchange *exchange)
{
    struct answer *answer = &exchange->answer;
    struct answer_stream *parts = answer->parts;
    answer->parts = NULL;
    take_back(server, exchange);
    http_connection_note_finished(server, exchange);
    struct MHD_Response *response = answer_stream_response(parts, exchange->connection,
                                                           exchange->fd);
    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
    add_common_headers(exchange, response);
    if (atomic_load(&server->is_stopping) || exchange_is_gone(exchange))
        MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    return queue_once(exchange, MHD_HTTP_OK, response);
}

/* Hands the request to ulfius, whose default endpoint is write_answer. It is told of the request
 * only now, so that it keeps nothing for those that wait; it wants two calls, one for the headers
 * and one for the end. */
static enum MHD_Result send_answer(struct server *server, struct exchange *exchange)
{
    struct MHD_Connection *connection = exchange->connection;
    const char *method = exchange->request.method;
    size_t no_upload = 0;
    if (exchange->answer.stream != NULL)
        return send_stream(server, exchange);
    if (exchange->answer.parts != NULL)
        return send_long(server, exchange);
    /* The server does not see the end of a client that comes together with its request: it would
     * keep the connection as idle. */
    if (atomic_load(&server->is_stopping) || exchange_is_gone(exchange))
        exchange->answer.closes = true;
    connection_release(exchange->peer);
    take_back(server, exchange);
    http_connection_note_finished(server, exchange);
    exchange->ulfius = ulfius_uri_logger(NULL, "/");
    answering = exchange;
    enum MHD_Result result = server->ulfius_handler(server->ulfius_context, connection, "/", method,
                                                    MHD_HTTP_VERSION_1_1, NULL, &no_upload,
                                                    &exchange->ulfius);
    if (result == MHD_YES)
        result = server->ulfius_handler(server->ulfius_context, connection, "/", method,
                                        MHD_HTTP_VERSION_1_1, NULL, &no_upload, &exchange->ulfius);
    answering = NULL;
    return result;
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

/* In the middle of a body the server takes no answer: it is written past it, and the connection
 * closed. */
static enum MHD_Result send_midway(struct server *server, struct exchange *exchange)
{
    take_back(server, exchange);
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

/* It may be answered at any moment from here on, but not freed before its connection sleeps. */
static void give_away(struct server *server, struct exchange *exchange)
{
    timed_request_finish(timed_request_of(exchange->connection));
    connection_hold(exchange->peer);
    exchange->is_given = true;
    atomic_fetch_add(&server->unanswered, 1);
    atomic_store(&exchange->state, EXCHANGE_HANDLED);
}

/* False: it is answered. Else the server calls again when it is. */
static bool sleeps_until_answered(struct exchange *exchange)
{
    enum exchange_state handled = EXCHANGE_HANDLED;
    struct MHD_Connection *connection = exchange->connection;
    if (atomic_load(&exchange->state) == EXCHANGE_ANSWERED)
        return false;
    MHD_suspend_connection(connection);
    if (!atomic_compare_exchange_strong(&exchange->state, &handled, EXCHANGE_SUSPENDED))
        MHD_resume_connection(connection); /* it was answered meanwhile */
    return true;
}

/* Refuses a request whose body is not read to its end. That may have consequences for a job, and
 * take its time: what has come of the body is left in the server's buffer until then. */
static enum MHD_Result refuse_early(struct server *server, struct exchange *exchange,
                                    enum bw_code code, const struct bw_error *error)
{
    exchange->is_early = exchange->answer.closes = true;
    give_away(server, exchange);
    dispatch_refuse(exchange, code, error);
    return sleeps_until_answered(exchange) ? MHD_YES : send_early(server, exchange);
}

/* ---- The body ---- */

/* Has the client gone, and was all read that it sent? Then the rest of the body will never come,
 * and the server need not notice by itself before the connection has been idle for long: by edges,
 * it does not see an end that comes together with data. */
static bool has_left(const struct exchange *exchange)
{
    int unread = 0;
    return exchange_is_gone(exchange) && ioctl(exchange->fd, FIONREAD, &unread) == 0 && unread == 0;
}

/* Looks for the sender in the next piece of a result that is too large, and first in what was kept
 * of it before. */
static enum bw_code seek_sender(struct exchange *exchange, const char *data, size_t length,
                                struct bw_error *error)
{
    const struct body *body = &exchange->body;
    enum bw_code code = BW_OK;
    if ((exchange->request.route->flags & ROUTE_LIFE) == 0)
        return BW_OK;
    if (exchange->seek == NULL && body->length > 0)
        code = result_refusal_seek(exchange, body->bytes, body->length, error);
    return code == BW_OK ? result_refusal_seek(exchange, data, length, error) : code;
}

/* Of a result that is too large the beginning is kept, if it may be read at all. */
static enum bw_code take_prefix(struct server *server, struct exchange *exchange, const char *data,
                                size_t length, struct bw_error *error)
{
    struct body *body = &exchange->body;
    size_t limit = server->settings.max_body_bytes;
    size_t room = body->length < RESULT_PREFIX_BYTES ? RESULT_PREFIX_BYTES - body->length : 0;
    uint64_t announced = exchange->received > body->expected ? exchange->received : body->expected;
    enum bw_code code = seek_sender(exchange, data, length, error);
    if (code == BW_OK && room > 0)
        code = body_append(body, data, length < room ? length : room, RESULT_PREFIX_BYTES, error);
    else if (room == 0)
        body->length = RESULT_PREFIX_BYTES;
    exchange->is_oversized = true;
    exchange->request.body = body->bytes;
    exchange->request.body_length = body->length;
    if (code == BW_OK && !result_refusal_reads(server->host.api, exchange, announced, limit))
        code = body_refuse_large(limit, error);
    return code;
}

static enum MHD_Result take_body(struct server *server, struct exchange *exchange, const char *data,
                                 size_t *length)
{
    struct bw_error error = {""};
    struct body *body = &exchange->body;
    size_t limit = route_body_limit(exchange->request.route, server->settings.max_body_bytes);
    enum bw_code code = BW_OK;
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
    timed_request_receive(timed_request_of(exchange->connection), *length);
    *length = 0;
    dispatch_progress(exchange);
    bool is_complete = body->expected > 0 && exchange->received == body->expected;
    return is_complete || !has_left(exchange) ? MHD_YES : MHD_NO;
}

/* ---- Websockets ---- */

/* On a server's thread, once the answer is out: the connection is ours until it is given back. */
static void hand_over(void *context, struct MHD_Connection *connection, void *con_cls,
                      const char *extra, size_t extra_length, MHD_socket fd,
                      struct MHD_UpgradeResponseHandle *http_connection_handle)
{
    struct server *server = context;
    struct exchange *exchange = con_cls;
    const struct socket_offer offer = {.handle = http_connection_handle,
                                       .fd = fd,
                                       .name = exchange->request.parts[0],
                                       .extra = extra,
                                       .extra_length = extra_length,
                                       .refusal = exchange->socket_refusal};
    (void)connection;
    exchange->is_begun = false; /* it is answered */
    exchange->is_upgraded = true;
    atomic_fetch_add(&server->upgraded, 1);
    atomic_fetch_sub(&server->in_flight, 1);
    sockets_take(server->settings.sockets, &offer);
}

/* The answer to a handshake. NULL: memory is short. */
static struct MHD_Response *new_upgrade(struct server *server, const struct exchange *exchange,
                                        const char *accept)
{
    struct grader_limit limits[GRADER_LIMITS];
    char seconds[16];
    struct MHD_Response *response = MHD_create_response_for_upgrade(hand_over, server);
    if (response == NULL)
        return NULL;
    MHD_add_response_header(response, MHD_HTTP_HEADER_UPGRADE, "websocket");
    MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
    snprintf(seconds, sizeof seconds, "%d", exchange->answer.retry_after_s);
    if (exchange->answer.retry_after_s > 0) /* the frame that closes it says why */
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    grader_limits_list(server->host.api->options, limits);
    for (int i = 0; i < GRADER_LIMITS; i++)
        MHD_add_response_header(response, limits[i].header, limits[i].bytes);
    return response;
}

/* Who may not come in is told so when the websocket is open: its clients understand nothing else.
 */
static enum bw_code open_socket(struct server *server, struct exchange *exchange,
                                const char *version, struct bw_error *error)
{
    char accept[SOCKET_ACCEPT_SIZE];
    enum bw_code code = socket_handshake(exchange, version, accept, error);
    if (code != BW_OK)
        return code;
    code = course_socket_judge(server->host.api, exchange, &exchange->socket_refusal, error);
    if (code != BW_OK)
        return code;
    if (exchange->socket_refusal == NULL)
        exchange_prove(exchange, CONNECTION_WORKER);
    struct MHD_Response *response = new_upgrade(server, exchange, accept);
    if (response == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    add_common_headers(exchange, response);
    exchange->answer.status = MHD_HTTP_SWITCHING_PROTOCOLS;
    http_connection_note_finished(server, exchange);
    enum MHD_Result result = queue_once(exchange, MHD_HTTP_SWITCHING_PROTOCOLS, response);
    return result == MHD_YES ? BW_OK : bw_fail(error, BW_INTERNAL, "the upgrade is not possible");
}

/* ---- The first call: the headers are in ---- */

/* What a refusal tells of the exchange is written under its connection's mutex, since the thread
 * that ends slow requests reads it. */
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

/* Which exchange is at hand on the connection of this one. */
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
    lock_exchange(exchange);
    if (request_id_is_sound(given_id))
        exchange->request.given_id = given_id;
    unlock_exchange(exchange);
}

/* Finds the route of either protocol, and with it the form of refusals. */
static enum bw_code find_route(struct server *server, struct exchange *exchange, const char *path,
                               struct bw_error *error)
{
    struct request *request = &exchange->request;
    char allowed[ROUTE_ALLOWED_SIZE], shown[128];
    lock_exchange(exchange);
    enum bw_code code = course_route_choose(&server->settings, exchange, path, allowed);
    unlock_exchange(exchange);
    if (code == BW_OK)
        return BW_OK;
    if (code == BW_NOT_FOUND)
        return bw_fail(error, BW_NOT_FOUND, "there is nothing at %s",
                       text_show(path, shown, sizeof shown));
    exchange->answer.allow = strdup(allowed);
    if (code != BW_METHOD_NOT_ALLOWED)
        return code;
    return bw_fail(error, BW_METHOD_NOT_ALLOWED, "this path does not take the method %s, but %s",
                   text_show(request->method, shown, sizeof shown), allowed);
}

/* Who the sender is, its headers having been found good. */
static void prove_by_headers(struct exchange *exchange)
{
    switch (exchange->request.route->auth) {
    case AUTH_INTERNAL:
    case AUTH_COURSE_CLUSTER:
        exchange_prove(exchange, CONNECTION_WORKER);
        break;
    case AUTH_COURSE_WORKER:
        exchange_prove_worker(exchange, exchange->request.parts[0]);
        break;
    case AUTH_COURSE_ADMIN:
    case AUTH_COURSE_MEMBER:
        exchange_prove(exchange, CONNECTION_CLIENT);
        break;
    case AUTH_CLIENT:
        if (exchange->has_client_token)
            exchange_prove(exchange, CONNECTION_CLIENT);
        break;
    default:
        break; /* not known yet */
    }
}

/* Who sends only the head of a very long result, and waits, hears soon that it is too long. */
static void hurry(struct exchange *exchange)
{
    lock_exchange(exchange);
    exchange->is_beyond = true;
    unlock_exchange(exchange);
    timed_request_limit(timed_request_of(exchange->connection), HTTP_SERVER_BEGINNING_MS);
}

/* Whose memory the body takes, and whether it may come. Who may yet be known by the body's first
 * part is not refused before, and of a result that is too large the beginning may be read. */
static enum bw_code admit_body(struct server *server, struct exchange *exchange,
                               const struct framing *framing, struct bw_error *error)
{
    const struct request *request = &exchange->request;
    struct body *body = &exchange->body;
    size_t limit = route_body_limit(request->route, server->settings.max_body_bytes);
    memory_hold_begin(&body->hold, server->settings.memory, exchange_memory_pool(exchange),
                      request->address);
    dispatch_identify(exchange);
    exchange->is_oversized = framing->length > limit &&
                             result_refusal_reads(server->host.api, exchange, framing->length,
                                                  limit);
    if (exchange->is_oversized && result_refusal_is_beyond(framing->length, limit))
        hurry(exchange);
    if (exchange->is_oversized)
        return BW_OK;
    if (framing->length > limit)
        return body_refuse_large(limit, error);
    bool may_be_known = request->route->auth == AUTH_WORKER && !exchange->is_known;
    return may_be_known ? BW_OK : body_admit(body, error);
}

/* On a port of loopback, a web page whose name was rebound must not read what anybody may. */
static enum bw_code refuse_foreign_name(const struct server *server,
                                        const struct exchange *exchange, struct bw_error *error)
{
    const char *host = exchange_header(exchange, MHD_HTTP_HEADER_HOST);
    char shown[120];
    if (!server->settings.refuses_names || exchange->request.route->auth != AUTH_NONE ||
        !host_is_foreign_name(host))
        return BW_OK;
    return bw_fail(error, BW_FORBIDDEN,
                   "this port is bound to loopback, where it goes by localhost and by numeric "
                   "addresses, not by the name '%s'",
                   text_show(host, shown, sizeof shown));
}

/* All that can be known before the body. */
static enum bw_code admit(struct server *server, struct exchange *exchange, const char *path,
                          const struct framing *framing, struct bw_error *error)
{
    enum bw_code code = request_validation_path(exchange->uri, path, error);
    if (code == BW_OK)
        code = find_route(server, exchange, path, error);
    if (code == BW_OK)
        code = refuse_foreign_name(server, exchange, error);
    if (code == BW_OK)
        code = dispatch_admit(server->host.api, exchange, error);
    exchange->is_admitted = code == BW_OK;
    if (code == BW_OK && framing->is_encoded)
        code = bw_fail(error, BW_BAD_REQUEST, "a body with a Content-Encoding is not taken");
    if (code == BW_OK)
        code = admit_body(server, exchange, framing, error);
    if (code == BW_OK)
        prove_by_headers(exchange);
    if (code == BW_OK && atomic_load(&server->is_closing))
        code = bw_fail(error, BW_UNAVAILABLE, "this server is stopping");
    return code;
}

/* The server has no memory left for an answer: it is written past it, and the connection closed. */
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

/* From now on it counts as in flight. */
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

/* A refusal without a body behind it waits for the second call: an answer to the first one ends the
 * connection. With one, or when it is in doubt where the request ends, that is just what is wanted.
 */
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
        code = admit(server, exchange, path, &framing, &error);
    if (code != BW_OK)
        timed_request_finish(timed_request_of(exchange->connection));
    if (code == BW_OK && exchange->request.route->auth == AUTH_COURSE_SOCKET) {
        code = framing_has_body(&framing)
                   ? bw_fail(&error, BW_BAD_REQUEST, "a websocket's handshake has no body")
                   : open_socket(server, exchange, version, &error);
        if (code == BW_OK)
            timed_request_finish(timed_request_of(exchange->connection));
    }
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
    give_away(server, exchange);
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
    if (exchange == NULL)
        return MHD_NO; /* memory was short */
    if (!exchange->is_begun)
        return http_connection_begin(server, exchange, url, method, version);
    if (exchange->is_early && atomic_load(&exchange->state) == EXCHANGE_ANSWERED)
        return send_early(server, exchange);
    if (exchange->is_early)
        return MHD_YES; /* asleep: not called */
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

/* ---- What the server calls ---- */

/* The server would parse the query into the connection's small memory, although only our copy of it
 * is read (api/http/arguments.h), and a query that does not fit would leave the connection in a
 * state in which it answers nothing. So the query is emptied in the server's buffer, which is
 * writable: the server itself decodes the path and the query there. */
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
    set_exchange(exchange, NULL); /* from here on nobody else reads it */
    timed_request_rest(timed_request_of(connection));
    connection_rest(exchange->peer);
    take_back(server,
              exchange); /* answered, but the client had gone: then it is not asked to send */
    if (exchange->ulfius != NULL)
        mhd_request_completed(NULL, connection, &exchange->ulfius, code);
    struct body body = exchange->body; /* given back when what was parsed of it is freed */
    if (exchange->stream_number != 0)
        disconnect_watch_remove(server->host.watch, exchange->request.number);
    if (exchange->is_upgraded)
        atomic_fetch_sub(&server->upgraded, 1);
    if (exchange->answer.stream != NULL)
        event_stream_drop(exchange->answer.stream);
    answer_stream_drop(exchange->answer.parts);
    bool is_begun = exchange->is_begun;
    exchange_free(exchange);
    body_clear(&body);
    if (is_begun)
        atomic_fetch_sub(&server->in_flight, 1);
}
