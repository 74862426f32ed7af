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
    const struct front *front = context;
    char line[LOG_LINE_SIZE];
    vsnprintf(line, sizeof line, format, arguments);
    line[strcspn(line, "\n")] = '\0';
    log_debug("http server", log_text("front", front->settings.name), log_text("text", line));
}

/* ---- The hook ---- */

/* The front that is being started on this thread, for MHD_start_daemon below. */
static _Thread_local struct front *starting;

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
    struct front *front = starting;
    if (front != NULL) {
        front->ulfius_handler = handler;
        front->ulfius_context = context;
        handler = front_access;
    }
    va_list options;
    va_start(options, context);
    struct MHD_Daemon *daemon = MHD_start_daemon_va(flags, port, accept_policy, accept_context,
                                                    handler, front != NULL ? front : context,
                                                    options);
    va_end(options);
    if (front != NULL)
        front->daemon = daemon;
    return daemon;
}

void front_refuse_raw(int fd, unsigned int status, const char *sentence)
{
    char id[REQUEST_ID_SIZE], header[HEAD_SIZE], body[2 * HEAD_SIZE], text[4 * HEAD_SIZE];
    request_id_make(request_id_number(), id);
    snprintf(header, sizeof header, "%s: %s\r\n", REQUEST_ID_HEADER, id);
    snprintf(body, sizeof body, "{\"error\":\"%s\",\"request_id\":\"%s\"}", sentence, id);
    int length = snprintf(text, sizeof text, RAW_ANSWER, (int)status,
                          MHD_get_reason_phrase_for(status), strlen(body), header, body);
    front_send_raw(fd, text, length);
    shutdown(fd, SHUT_WR);
}

static void refuse_late(int fd)
{
    front_refuse_raw(fd, MHD_HTTP_REQUEST_TIMEOUT,
                     "this request was not sent in the time that it has");
}

/* The server refuses what it can't parse by itself, with a page of HTML. It answers 500 only if a
 * part of a body does not fit into what is left of the connection's memory, although our handler
 * takes every part: then the line in front of a chunk is too long. And if a query does not fit (a
 * NUL in front of it has kept it from being emptied, see front_begin_request), the server would
 * look at the connection again and again without doing anything: unless it is shut down. */
static void refuse_unreadable(struct MHD_Connection *connection, unsigned int status)
{
    char sentence[HEAD_SIZE];
    const struct connection_parts *parts = connection_parts(front_connection(connection));
    bool is_chunk_line = status == MHD_HTTP_INTERNAL_SERVER_ERROR;
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    if (is_chunk_line)
        status = MHD_HTTP_REQUEST_HEADER_FIELDS_TOO_LARGE;
    snprintf(sentence, sizeof sentence, "this request can't be read: %s",
             is_chunk_line ? "the line with a chunk's size and extensions is too long"
                           : MHD_get_reason_phrase_for(status));
    if (parts != NULL)
        farewell_take(parts->front->farewell, fd, 0);
    front_refuse_raw(fd, status, sentence);
    if (parts != NULL && parts->exchange != NULL && !parts->exchange->is_line_read)
        shutdown(fd, SHUT_RDWR);
}

static void find_library_functions(void)
{
    *(void **)&library_queue_response = dlsym(RTLD_NEXT, "MHD_queue_response");
}

enum MHD_Result front_queue_response(struct MHD_Connection *connection, unsigned int status,
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
 * page: so no daemon is stopped that has connections (front_close). */
HOOK enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned int status,
                                        struct MHD_Response *response)
{
    if (front_is_answering())
        return library_queue_response(connection, status, response);
    refuse_unreadable(connection, status);
    return library_queue_response(connection, status, response);
}

/* ---- Start ---- */

static enum bw_code open_memory(struct front *front, struct bw_error *error)
{
    if (front->settings.memory != NULL)
        return BW_OK;
    enum bw_code code = memory_budget_open(&front->own_memory, error);
    front->settings.memory = front->own_memory;
    return code;
}

static enum bw_code open_patience(struct front *front, struct bw_error *error)
{
    const struct patience_settings settings = {.request_ms = front->settings.request_timeout_ms,
                                               .many = front->settings.max_connections / 4,
                                               .name = front->settings.name,
                                               .refuse = refuse_late};
    return patience_open(&settings, &front->patience, error);
}

static void enter_connection(struct front *front, int fd, void **socket_context)
{
    struct connection *connection = connection_table_start(front->connections, fd);
    struct connection_parts *parts = connection_parts(connection);
    *socket_context = connection;
    if (parts == NULL)
        return;
    parts->front = front;
    parts->patient = patience_add(front->patience, fd);
}

/* A request that the server gave up without a word is ended here (it does so if cookies and a
 * length can't be parsed). */
static void leave_connection(struct front *front, struct MHD_Connection *peer,
                             struct connection *connection)
{
    struct connection_parts *parts = connection_parts(connection);
    if (parts == NULL)
        return;
    void *exchange = parts->exchange;
    front_end_request(front, peer, &exchange, MHD_REQUEST_TERMINATED_WITH_ERROR);
    patience_remove(front->patience, parts->patient);
    connection_table_remove(front->connections, connection);
}

/* The server says so before it closes the descriptor. */
static void note_connection(void *context, struct MHD_Connection *peer, void **socket_context,
                            enum MHD_ConnectionNotificationCode code)
{
    struct front *front = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        enter_connection(
            front, MHD_get_connection_info(peer, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
            socket_context);
    else
        leave_connection(front, peer, *socket_context);
}

/* The server closes the descriptor if it can't take it. */
static void take_connection(int fd, const struct sockaddr *address, socklen_t length, void *context)
{
    const struct front *front = context;
    if (MHD_add_connection(front->daemon, fd, address, length) != MHD_YES)
        connection_table_cancel(front->connections, fd);
}

/* The limit of connections is the table's. The server's own is never met: it is shared out among
 * its threads, and one that meets it with a connection from elsewhere keeps a lock for ever. */
static unsigned library_limit(const struct front *front)
{
    size_t most = front->settings.max_connections + 2 * CONNECTION_CLOSING_MAX;
    return (unsigned)most * (unsigned)front->settings.threads;
}

static enum bw_code start_ulfius(struct front *front, struct bw_error *error)
{
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)log_server_line, front}, /* first, says its manual */
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)note_connection, front},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)front_end_request, front},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)front_begin_request, front},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)front_unescape, front},
        {MHD_OPTION_THREAD_POOL_SIZE, front->settings.threads, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)library_limit(front), NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, FRONT_CONNECTION_BYTES, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, FRONT_IDLE_S, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    if (ulfius_init_instance(&front->ulfius, front->port, NULL, NULL) != U_OK)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    front->has_instance = true;
    front->ulfius.check_utf8 = 0;
    front->ulfius.allowed_post_processor = U_POST_PROCESS_NONE;
    if (ulfius_set_default_endpoint(&front->ulfius, front_write_answer, NULL) != U_OK)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    static pthread_once_t is_found = PTHREAD_ONCE_INIT;
    pthread_once(&is_found, find_library_functions);
    starting = front;
    int result = ulfius_start_framework_with_mhd_options(
        &front->ulfius,
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_ALLOW_UPGRADE |
            MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET | MHD_USE_ITC,
        options);
    starting = NULL;
    if (result != U_OK)
        return bw_fail(error, BW_INTERNAL, "the HTTP server can't be started (ulfius: %d)", result);
    front->is_started = true;
    if (front->ulfius_handler == NULL || front->daemon == NULL || library_queue_response == NULL)
        return bw_fail(
            error, BW_INTERNAL,
            "this binary was linked so that it can't stand in front of ulfius: build it as the "
            "build files say");
    return BW_OK;
}

static enum bw_code open_connections(struct front *front, struct bw_error *error)
{
    const struct connection_limits limits = {
        .most = front->settings.max_connections,
        .per_address = front->settings.max_connections_per_address};
    front->connections = connection_table_new(&limits);
    return front->connections != NULL ? BW_OK : bw_fail(error, BW_INTERNAL, "memory is short");
}

static enum bw_code open_acceptor(struct front *front, struct bw_error *error)
{
    const struct acceptor_settings settings = {.listener = front->listener,
                                               .table = front->connections,
                                               .name = front->settings.name,
                                               .take = take_connection,
                                               .context = front};
    enum bw_code code = acceptor_open(&settings, &front->acceptor, error);
    if (code == BW_OK)
        front->listener = -1;
    return code;
}

static enum bw_code start(struct front *front, struct bw_error *error)
{
    const struct front_settings *settings = &front->settings;
    enum bw_code code = open_memory(front, error);
    if (code == BW_OK)
        code = gone_watch_open(&front->host.watch, error);
    if (code == BW_OK)
        code = farewell_open(descriptors_lingering(settings->max_connections), &front->farewell,
                             error);
    if (code == BW_OK)
        code = open_patience(front, error);
    if (code == BW_OK)
        code = open_connections(front, error);
    if (code == BW_OK)
        code = listener_open(settings->address, settings->port, &front->listener, error);
    if (code != BW_OK)
        return code;
    front->port = listener_port(front->listener);
    code = start_ulfius(front, error);
    return code == BW_OK ? open_acceptor(front, error) : code;
}

static void release(struct front *front)
{
    acceptor_close(front->acceptor);
    if (front->listener >= 0)
        close(front->listener);
    if (front->is_started)
        ulfius_stop_framework(&front->ulfius);
    if (front->has_instance)
        ulfius_clean_instance(&front->ulfius);
    connection_table_free(front->connections);
    patience_close(front->patience);
    farewell_close(front->farewell);
    gone_watch_close(front->host.watch);
    memory_budget_close(front->own_memory);
    free(front);
}

enum bw_code front_open(const struct front_settings *settings, struct front **front,
                        struct bw_error *error)
{
    struct front *self = calloc(1, sizeof *self);
    if (self == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    self->settings = *settings;
    self->listener = -1;
    self->host.api = settings->api;
    self->host.cors_origin = settings->cors_origin;
    if (self->settings.threads == 0)
        self->settings.threads = FRONT_THREADS;
    if (self->settings.max_connections == 0)
        self->settings.max_connections = FRONT_CONNECTIONS;
    if (self->settings.request_timeout_ms == 0)
        self->settings.request_timeout_ms = FRONT_REQUEST_MS;
    if (self->settings.name == NULL)
        self->settings.name = "front";
    enum bw_code code = start(self, error);
    if (code != BW_OK) {
        release(self);
        return code;
    }
    *front = self;
    return BW_OK;
}

uint16_t front_port(const struct front *front)
{
    return front->port;
}

size_t front_in_flight(const struct front *front)
{
    return atomic_load(&front->in_flight);
}

void front_count_connections(struct front *front, struct connection_counts *counts)
{
    connection_table_count(front->connections, counts);
}

size_t front_upgraded(const struct front *front)
{
    return atomic_load(&front->upgraded);
}

/* ---- Stop ---- */

void front_stop_accepting(struct front *front)
{
    if (atomic_exchange(&front->is_stopping, true))
        return;
    acceptor_close(front->acceptor);
    front->acceptor = NULL;
}

/* Waits until `counter` is 0. False: it did not become so in time. */
static bool wait_for_none(const atomic_size_t *counter, int64_t end_ms)
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
static bool close_connections(struct front *front, int64_t end_ms)
{
    const struct timespec look = {.tv_nsec = CLOSE_LOOK_MS * 1000000};
    while (connection_table_open(front->connections) > 0) {
        if (clock_boot_ms() >= end_ms)
            return false;
        connection_table_shut(front->connections);
        nanosleep(&look, NULL);
    }
    return true;
}

bool front_close(struct front *front)
{
    if (front == NULL)
        return true;
    int64_t end_ms = clock_boot_ms() + CLOSE_WAIT_MS;
    front_stop_accepting(front);
    atomic_store(&front->is_closing, true);
    if (!wait_for_none(&front->unanswered, end_ms) ||
        !wait_for_none(&front->host.answering, end_ms) ||
        !wait_for_none(&front->upgraded,
                       end_ms)) { /* they were closed before: api/websocket/server.h */
        log_error("requests or websockets are left: their connections can't be closed",
                  log_text("front", front->settings.name),
                  log_number("requests", (int64_t)atomic_load(&front->unanswered)),
                  log_number("websockets", (int64_t)atomic_load(&front->upgraded)));
        return false;
    }
    wait_for_none(&front->in_flight,
                  end_ms); /* answers go out; who is still sending has had its time */
    if (!close_connections(front, end_ms + CLOSE_WAIT_MS)) {
        log_error("connections can't be closed", log_text("front", front->settings.name),
                  log_number("connections", (int64_t)connection_table_open(front->connections)));
        return false;
    }
    release(front);
    return true;
}
