#include "api/http/server_internal.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/listener.h"
#include "common/base/log.h"

enum { CLOSE_WAIT_MS = 5000, CLOSE_POLL_MS = 2, LOG_LINE_SIZE = 512 };

static void log_server_line(void *context, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
static void log_server_line(void *context, const char *format, va_list arguments)
{
    const struct server *server = context;
    char line[LOG_LINE_SIZE];
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http server", log_text("server", server->settings.name), log_text("text", line));
}

/* ---- Refusals without libmicrohttpd ---- */

/* Reports the refusal to the access log. It copies the request's members, since another thread may
 * be serving the exchange. */
static void report_refusal(const struct server *server, const struct request *request,
                           const struct raw_refusal *refusal)
{
    struct request shown = {.route = request->route,
                            .method = request->method,
                            .path_id = request->path_id,
                            .protocol = request->protocol,
                            .number = request->number,
                            .given_id = request->given_id,
                            .refusal = refusal->sentence,
                            .received_ms = request->received_ms};
    memcpy(shown.address, request->address, sizeof shown.address);
    if (shown.method[0] == '\0')
        shown.method = "unknown";
    if (server->settings.finished != NULL)
        server->settings.finished(&shown, (int)refusal->status, server->settings.context);
}

void http_server_refuse_raw(const struct server *server, const struct exchange *exchange, int fd,
                            const struct raw_refusal *refusal)
{
    char id[REQUEST_ID_SIZE], headers[RAW_HEADERS_SIZE], body[2 * HEAD_SIZE];
    char text[RAW_HEADERS_SIZE + 4 * HEAD_SIZE];
    request_id_of(&exchange->request, id);
    http_server_write_raw_headers(exchange, headers, sizeof headers);
    snprintf(body, sizeof body, "{\"error\":\"%s\",\"request_id\":\"%s\"}", refusal->sentence, id);
    int length = snprintf(text, sizeof text, RAW_ANSWER, (int)refusal->status,
                          MHD_get_reason_phrase_for(refusal->status), strlen(body), headers, body);
    http_server_send_raw(fd, text, length);
    shutdown(fd, SHUT_WR);
    report_refusal(server, &exchange->request, refusal);
}

/* Refuses a slow request. The mutex keeps the exchange from being freed in the meantime. */
static void refuse_late(int fd, void *owner)
{
    struct raw_refusal refusal = {MHD_HTTP_REQUEST_TIMEOUT,
                                  "the request was not received within the time limit"};
    struct connection_parts *parts = connection_parts(owner);
    struct bw_error too_large;
    pthread_mutex_lock(&parts->mutex);
    if (parts->exchange != NULL && parts->exchange->is_beyond) {
        (void)!body_refuse_large(parts->server->settings.max_body_bytes, &too_large);
        refusal = (struct raw_refusal){MHD_HTTP_CONTENT_TOO_LARGE, too_large.message};
    }
    if (parts->exchange != NULL)
        http_server_refuse_raw(parts->server, parts->exchange, fd, &refusal);
    pthread_mutex_unlock(&parts->mutex);
}

/* Refuses a request that has no exchange: libmicrohttpd refuses a too long first line before it
 * calls http_server_begin_request, and an exchange can't be created when memory has run out. */
static void refuse_without_exchange(struct MHD_Connection *connection, const struct server *server,
                                    int fd, const struct raw_refusal *refusal)
{
    struct exchange unknown = {.connection = connection,
                               .request = {.method = "",
                                           .path_id = "",
                                           .number = request_id_number(),
                                           .received_ms = clock_boot_ms()},
                               .answer = {.cors = server->settings.cors_origin}};
    http_server_note_address(&unknown);
    http_server_refuse_raw(server, &unknown, fd, refusal);
}

/* libmicrohttpd refuses a request that it can't parse with an HTML page of its own. It uses status
 * 500 only if a part of a body does not fit into the rest of the connection's memory although our
 * handler takes every part: then the line before a chunk is too long. If a query does not fit (when
 * a NUL before it prevented http_server_begin_request from emptying it), libmicrohttpd would poll
 * the connection in a loop, unless its socket is shut down. */
void http_server_refuse_unreadable(struct MHD_Connection *connection, unsigned int status)
{
    char sentence[HEAD_SIZE];
    const struct connection_parts *parts = connection_parts(http_server_connection(connection));
    bool is_chunk_line = status == MHD_HTTP_INTERNAL_SERVER_ERROR;
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    /* There is no entry: memory had run out. */
    if (parts == NULL) {
        shutdown(fd, SHUT_RDWR);
        return;
    }
    if (is_chunk_line)
        status = MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    snprintf(sentence, sizeof sentence, "this request can't be read: %s",
             is_chunk_line ? "the line with a chunk's size and extensions is too long"
                           : MHD_get_reason_phrase_for(status));
    const struct raw_refusal refusal = {status, sentence};
    struct exchange *exchange = parts->exchange;
    timed_request_finish(parts->timed_request);
    lingering_close_take(parts->server->lingering_close, fd, 0);
    if (exchange == NULL) {
        refuse_without_exchange(connection, parts->server, fd, &refusal);
        return;
    }
    http_server_note_id(exchange);
    http_server_refuse_raw(parts->server, exchange, fd, &refusal);
    if (!exchange->is_line_read)
        shutdown(fd, SHUT_RDWR);
}

/* ---- Start ---- */

static enum bw_code open_memory(struct server *server, struct bw_error *error)
{
    if (server->settings.memory != NULL)
        return BW_OK;
    enum bw_code code = memory_budget_open(&server->own_memory, error);
    server->settings.memory = server->own_memory;
    return code;
}

static enum bw_code open_timeout(struct server *server, struct bw_error *error)
{
    const struct request_timeout_settings settings = {
        .request_ms = server->settings.request_timeout_ms,
        .many = server->settings.max_connections / 4,
        .name = server->settings.name,
        .refuse = refuse_late};
    return request_timeout_open(&settings, &server->timeout, error);
}

static void enter_connection(struct server *server, int fd, void **socket_context)
{
    struct connection *connection = connection_table_start(server->connections, fd);
    struct connection_parts *parts = connection_parts(connection);
    *socket_context = connection;
    if (parts == NULL)
        return;
    parts->server = server;
    parts->timed_request = request_timeout_add(server->timeout, fd, connection);
}

/* Removes a connection. A request for which libmicrohttpd did not call http_server_end_request is
 * ended here: that happens if cookies and a length can't be parsed. */
static void leave_connection(struct server *server, struct MHD_Connection *peer,
                             struct connection *connection)
{
    struct connection_parts *parts = connection_parts(connection);
    if (parts == NULL)
        return;
    void *exchange = parts->exchange;
    http_server_end_request(server, peer, &exchange, MHD_REQUEST_TERMINATED_WITH_ERROR);
    request_timeout_remove(server->timeout, parts->timed_request);
    connection_table_remove(server->connections, connection);
}

/* Called by libmicrohttpd for a new connection, and before it closes a descriptor. */
static void note_connection(void *context, struct MHD_Connection *peer, void **socket_context,
                            enum MHD_ConnectionNotificationCode code)
{
    struct server *server = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        enter_connection(
            server, MHD_get_connection_info(peer, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
            socket_context);
    else
        leave_connection(server, peer, *socket_context);
}

/* Gives a connection to libmicrohttpd, which closes the descriptor if it can't take it. */
static void take_connection(int fd, const struct sockaddr *address, socklen_t length, void *context)
{
    const struct server *server = context;
    if (MHD_add_connection(server->daemon, fd, address, length) != MHD_YES)
        connection_table_cancel(server->connections, fd);
}

/* The limit of connections is enforced by the table. libmicrohttpd's own limit must never be
 * reached: it is divided among its threads, and a thread that reaches it with a connection from
 * MHD_add_connection never releases a lock. */
static unsigned library_limit(const struct server *server)
{
    size_t most = server->settings.max_connections + 2 * CONNECTION_CLOSING_MAX;
    return (unsigned)most * (unsigned)server->settings.threads;
}

static enum bw_code start_daemon(struct server *server, struct bw_error *error)
{
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)log_server_line,
         server}, /* must be the first, according to the manual */
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)note_connection, server},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)http_server_end_request, server},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)http_server_begin_request, server},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)http_server_unescape, server},
        {MHD_OPTION_THREAD_POOL_SIZE, server->settings.threads, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)library_limit(server), NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, HTTP_SERVER_CONNECTION_BYTES, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, HTTP_SERVER_IDLE_S, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    return ulfius_shim_start(server, options, error);
}

static void open_connections(struct server *server)
{
    const struct connection_limits limits = {
        .most = server->settings.max_connections,
        .per_address = server->settings.max_connections_per_address};
    server->connections = connection_table_new(&limits);
}

static enum bw_code open_acceptor(struct server *server, struct bw_error *error)
{
    const struct acceptor_settings settings = {.listener = server->listener,
                                               .table = server->connections,
                                               .name = server->settings.name,
                                               .take = take_connection,
                                               .context = server};
    enum bw_code code = acceptor_open(&settings, &server->acceptor, error);
    if (code == BW_OK)
        server->listener = -1;
    return code;
}

static enum bw_code http_server_start(struct server *server, struct bw_error *error)
{
    const struct http_server_settings *settings = &server->settings;
    enum bw_code code = open_memory(server, error);
    if (code == BW_OK)
        code = disconnect_watch_open(&server->host.watch, error);
    if (code == BW_OK)
        code = lingering_close_open(lingering_close_room(settings->max_connections),
                                    &server->lingering_close, error);
    if (code == BW_OK)
        code = open_timeout(server, error);
    open_connections(server);
    if (code == BW_OK)
        code = listener_open(settings->address, settings->port, &server->listener, error);
    if (code != BW_OK)
        return code;
    server->port = listener_port(server->listener);
    code = start_daemon(server, error);
    return code == BW_OK ? open_acceptor(server, error) : code;
}

static void http_server_release(struct server *server)
{
    acceptor_close(server->acceptor);
    if (server->listener >= 0)
        close(server->listener);
    ulfius_shim_stop(server);
    connection_table_free(server->connections);
    request_timeout_close(server->timeout);
    lingering_close_close(server->lingering_close);
    disconnect_watch_close(server->host.watch);
    memory_budget_close(server->own_memory);
    free(server);
}

enum bw_code http_server_open(const struct http_server_settings *settings, struct server **server,
                              struct bw_error *error)
{
    struct server *self = bw_alloc(sizeof *self);
    self->settings = *settings;
    self->listener = -1;
    self->host.api = settings->api;
    self->host.protocols = settings->protocols;
    self->host.forms = settings->forms != NULL ? settings->forms : settings->protocols;
    self->host.hooks = settings->hooks;
    self->host.cors_origin = settings->cors_origin;
    if (self->settings.threads == 0)
        self->settings.threads = HTTP_SERVER_THREADS;
    if (self->settings.max_connections == 0)
        self->settings.max_connections = HTTP_SERVER_CONNECTIONS;
    if (self->settings.request_timeout_ms == 0)
        self->settings.request_timeout_ms = HTTP_SERVER_REQUEST_MS;
    if (self->settings.name == NULL)
        self->settings.name = "server";
    enum bw_code code = http_server_start(self, error);
    if (code != BW_OK) {
        http_server_release(self);
        return code;
    }
    *server = self;
    return BW_OK;
}

uint16_t http_server_port(const struct server *server)
{
    return server->port;
}

size_t http_server_in_flight(const struct server *server)
{
    return atomic_load(&server->in_flight);
}

void http_server_count_connections(struct server *server, struct connection_counts *counts)
{
    connection_table_count(server->connections, counts);
}

size_t http_server_upgraded(const struct server *server)
{
    return atomic_load(&server->upgraded);
}

/* ---- Stop ---- */

void http_server_stop_accepting(struct server *server)
{
    if (atomic_exchange(&server->is_stopping, true))
        return;
    acceptor_close(server->acceptor);
    server->acceptor = NULL;
}

/* Waits until `counter` is 0. False: it is not at `end_ms`. */
static bool http_server_wait_for_none(const atomic_size_t *counter, int64_t end_ms)
{
    const struct timespec pause = {.tv_nsec = CLOSE_POLL_MS * 1000000};
    while (atomic_load(counter) > 0) {
        if (clock_boot_ms() >= end_ms)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

/* Closes all connections, since libmicrohttpd must be stopped without any: see ulfius_shim.c.
 * False: some are left at `end_ms`. */
static bool close_connections(struct server *server, int64_t end_ms)
{
    const struct timespec pause = {.tv_nsec = CLOSE_POLL_MS * 1000000};
    while (connection_table_open(server->connections) > 0) {
        if (clock_boot_ms() >= end_ms)
            return false;
        connection_table_shut(server->connections);
        nanosleep(&pause, NULL);
    }
    return true;
}

bool http_server_close(struct server *server)
{
    if (server == NULL)
        return true;
    int64_t end_ms = clock_boot_ms() + CLOSE_WAIT_MS;
    http_server_stop_accepting(server);
    atomic_store(&server->is_closing, true);
    /* Websockets were closed before: api/websocket/server.h. */
    if (!http_server_wait_for_none(&server->unanswered, end_ms) ||
        !http_server_wait_for_none(&server->host.answering, end_ms) ||
        !http_server_wait_for_none(&server->upgraded, end_ms)) {
        log_error("requests or websockets are still open: their connections can't be closed",
                  log_text("server", server->settings.name),
                  log_number("requests", (int64_t)atomic_load(&server->unanswered)),
                  log_number("websockets", (int64_t)atomic_load(&server->upgraded)));
        return false;
    }
    /* Answers are sent. Requests that are still incomplete are not waited for longer. */
    http_server_wait_for_none(&server->in_flight, end_ms);
    if (!close_connections(server, end_ms + CLOSE_WAIT_MS)) {
        log_error("connections can't be closed", log_text("server", server->settings.name),
                  log_number("connections", (int64_t)connection_table_open(server->connections)));
        return false;
    }
    http_server_release(server);
    return true;
}
