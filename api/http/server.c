#include "api/http/server_internal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/http/descriptors.h"
#include "common/base/clock.h"
#include "common/base/json_memory.h"
#include "common/base/listener.h"
#include "common/base/log.h"

enum { CLOSE_WAIT_MS = 5000, CLOSE_LOOK_MS = 2, LOG_LINE_SIZE = 512 };

/* The library's own, found before a server is started. */
static enum MHD_Result (*library_queue_response)(struct MHD_Connection *, unsigned int,
                                                 struct MHD_Response *);

static void log_server_line(void *context, const char *format, va_list arguments)
    __attribute__((format(printf, 2, 0)));
static void log_server_line(void *context, const char *format, va_list arguments)
{
    const struct server *server = context;
    char line[LOG_LINE_SIZE];
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http server", log_text("front", server->settings.name), log_text("text", line));
}

/* ---- The hook ---- */

/* The HTTP server that is being started on this thread, for MHD_start_daemon below. */
static _Thread_local struct server *starting;

/* Ulfius and the library itself call these two instead of the library's functions of the same
 * names, since symbols of the executable come first. The attributes keep them visible. */
#if defined(__clang__)
#define HOOK __attribute__((visibility("default"), used))
#else
#define HOOK __attribute__((visibility("default"), used, externally_visible))
#endif

/* Ulfius has no option for a handler of ours in front of its own: so it is put there here. */
HOOK struct MHD_Daemon *MHD_start_daemon(unsigned int flags, uint16_t port,
                                         MHD_AcceptPolicyCallback accept_policy,
                                         void *accept_context, MHD_AccessHandlerCallback handler,
                                         void *context, ...)
{
    struct server *server = starting;
    if (server != NULL) {
        server->ulfius_handler = handler;
        server->ulfius_context = context;
        handler = http_server_access;
    }
    va_list options;
    va_start(options, context);
    struct MHD_Daemon *daemon = MHD_start_daemon_va(flags, port, accept_policy, accept_context,
                                                    handler, server != NULL ? server : context,
                                                    options);
    va_end(options);
    if (server != NULL)
        server->daemon = daemon;
    return daemon;
}

/* Reports the refusal. It copies what it needs: another thread may be serving the exchange. */
static void report_refusal(const struct server *server, const struct request *request,
                           const struct raw_refusal *refusal)
{
    struct request shown = {.route = request->route,
                            .method = request->method,
                            .path_id = request->path_id,
                            .form = request->form,
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

/* The mutex keeps the exchange from being freed meanwhile. */
static void refuse_late(int fd, void *owner)
{
    struct raw_refusal refusal = {MHD_HTTP_REQUEST_TIMEOUT,
                                  "this request was not sent in the time that it has"};
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

/* The exchange may be missing: the server refuses a first line that is too long before it has one,
 * and memory may be short. */
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

/* The server refuses what it can't parse by itself, with a page of HTML. It answers 500 only if a
 * part of a body does not fit into what is left of the connection's memory, although our handler
 * takes every part: then the line in front of a chunk is too long. And if a query does not fit (a
 * NUL in front of it has kept it from being emptied, see http_server_begin_request), the server
 * would look at the connection again and again without doing anything: unless it is shut down. */
static void refuse_unreadable(struct MHD_Connection *connection, unsigned int status)
{
    char sentence[HEAD_SIZE];
    const struct connection_parts *parts = connection_parts(http_server_connection(connection));
    bool is_chunk_line = status == MHD_HTTP_INTERNAL_SERVER_ERROR;
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    if (parts == NULL) { /* memory was short */
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

static void find_library_functions(void)
{
    *(void **)&library_queue_response = dlsym(RTLD_NEXT, "MHD_queue_response");
}

enum MHD_Result http_server_queue_response(struct MHD_Connection *connection, unsigned int status,
                                           struct MHD_Response *response)
{
    return library_queue_response(connection, status, response);
}

/* A page of the server's own, from inside its parser. Our refusal is sent in its place and the
 * sending side of the socket is shut; the page is queued all the same and then can't be sent, so
 * that the server closes the connection by its usual way.
 *
 * Why not "no": the server then frees the connection's memory, and several of its parsers (of
 * arguments, of cookies) go on reading it. Why is ours not queued instead: where a Content-Length
 * or cookies can't be parsed, the server builds the headers of its answer twice.
 *
 * A daemon that is being stopped says yes without queueing anything, and crashes on the missing
 * page: so no daemon is stopped that has connections (http_server_close). */
HOOK enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned int status,
                                        struct MHD_Response *response)
{
    if (http_server_is_answering())
        return library_queue_response(connection, status, response);
    refuse_unreadable(connection, status);
    return library_queue_response(connection, status, response);
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

/* A request that the server gave up without a word is ended here (it does so if cookies and a
 * length can't be parsed). */
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

/* The server says so before it closes the descriptor. */
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

/* The server closes the descriptor if it can't take it. */
static void take_connection(int fd, const struct sockaddr *address, socklen_t length, void *context)
{
    const struct server *server = context;
    if (MHD_add_connection(server->daemon, fd, address, length) != MHD_YES)
        connection_table_cancel(server->connections, fd);
}

/* The limit of connections is the table's. The server's own is never met: it is shared out among
 * its threads, and one that meets it with a connection from elsewhere keeps a lock for ever. */
static unsigned library_limit(const struct server *server)
{
    size_t most = server->settings.max_connections + 2 * CONNECTION_CLOSING_MAX;
    return (unsigned)most * (unsigned)server->settings.threads;
}

void http_server_settle_memory(void)
{
    json_memory_settle();
    o_set_alloc_funcs(json_memory_allocate, realloc, free);
}

static enum bw_code start_ulfius(struct server *server, struct bw_error *error)
{
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)log_server_line,
         server}, /* first, says its manual */
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
    if (ulfius_init_instance(&server->ulfius, server->port, NULL, NULL) != U_OK)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    server->has_instance = true;
    server->ulfius.check_utf8 = 0;
    server->ulfius.allowed_post_processor = U_POST_PROCESS_NONE;
    if (ulfius_set_default_endpoint(&server->ulfius, http_server_write_answer, NULL) != U_OK)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    static pthread_once_t is_found = PTHREAD_ONCE_INIT;
    pthread_once(&is_found, find_library_functions);
    starting = server;
    int result = ulfius_start_framework_with_mhd_options(
        &server->ulfius,
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE |
            MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC,
        options);
    starting = NULL;
    if (result != U_OK)
        return bw_fail(error, BW_INTERNAL, "the HTTP server can't be started (ulfius: %d)", result);
    server->is_started = true;
    if (server->ulfius_handler == NULL || server->daemon == NULL || library_queue_response == NULL)
        return bw_fail(
            error, BW_INTERNAL,
            "this binary was linked so that it can't stand in front of ulfius: build it as the "
            "build files say");
    return BW_OK;
}

static enum bw_code open_connections(struct server *server, struct bw_error *error)
{
    const struct connection_limits limits = {
        .most = server->settings.max_connections,
        .per_address = server->settings.max_connections_per_address};
    server->connections = connection_table_new(&limits);
    return server->connections != NULL ? BW_OK : bw_fail(error, BW_INTERNAL, "memory is short");
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
        code = lingering_close_open(descriptors_lingering(settings->max_connections),
                                    &server->lingering_close, error);
    if (code == BW_OK)
        code = open_timeout(server, error);
    if (code == BW_OK)
        code = open_connections(server, error);
    if (code == BW_OK)
        code = listener_open(settings->address, settings->port, &server->listener, error);
    if (code != BW_OK)
        return code;
    server->port = listener_port(server->listener);
    code = start_ulfius(server, error);
    return code == BW_OK ? open_acceptor(server, error) : code;
}

static void http_server_release(struct server *server)
{
    acceptor_close(server->acceptor);
    if (server->listener >= 0)
        close(server->listener);
    if (server->is_started)
        ulfius_stop_framework(&server->ulfius);
    if (server->has_instance)
        ulfius_clean_instance(&server->ulfius);
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
    struct server *self = calloc(1, sizeof *self);
    if (self == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    self->settings = *settings;
    self->listener = -1;
    self->host.api = settings->api;
    self->host.cors_origin = settings->cors_origin;
    if (self->settings.threads == 0)
        self->settings.threads = HTTP_SERVER_THREADS;
    if (self->settings.max_connections == 0)
        self->settings.max_connections = HTTP_SERVER_CONNECTIONS;
    if (self->settings.request_timeout_ms == 0)
        self->settings.request_timeout_ms = HTTP_SERVER_REQUEST_MS;
    if (self->settings.name == NULL)
        self->settings.name = "front";
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

/* Waits until `counter` is 0. False: it did not become so in time. */
static bool http_server_wait_for_none(const atomic_size_t *counter, int64_t end_ms)
{
    const struct timespec look = {.tv_nsec = CLOSE_LOOK_MS * 1000000};
    while (atomic_load(counter) > 0) {
        if (clock_boot_ms() >= end_ms)
            return false;
        nanosleep(&look, NULL);
    }
    return true;
}

/* The server is stopped without connections: see MHD_queue_response. False: some are left. */
static bool close_connections(struct server *server, int64_t end_ms)
{
    const struct timespec look = {.tv_nsec = CLOSE_LOOK_MS * 1000000};
    while (connection_table_open(server->connections) > 0) {
        if (clock_boot_ms() >= end_ms)
            return false;
        connection_table_shut(server->connections);
        nanosleep(&look, NULL);
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
    if (!http_server_wait_for_none(&server->unanswered, end_ms) ||
        !http_server_wait_for_none(&server->host.answering, end_ms) ||
        !http_server_wait_for_none(&server->upgraded,
                                   end_ms)) { /* they were closed before: api/websocket/server.h */
        log_error("requests or websockets are left: their connections can't be closed",
                  log_text("front", server->settings.name),
                  log_number("requests", (int64_t)atomic_load(&server->unanswered)),
                  log_number("websockets", (int64_t)atomic_load(&server->upgraded)));
        return false;
    }
    http_server_wait_for_none(&server->in_flight,
                              end_ms); /* answers go out; who is still sending has had its time */
    if (!close_connections(server, end_ms + CLOSE_WAIT_MS)) {
        log_error("connections can't be closed", log_text("front", server->settings.name),
                  log_number("connections", (int64_t)connection_table_open(server->connections)));
        return false;
    }
    http_server_release(server);
    return true;
}
