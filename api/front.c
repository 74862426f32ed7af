#include "api/front.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <ulfius.h>

#include "api/admission.h"
#include "api/body.h"
#include "api/dispatch.h"
#include "api/exchange_internal.h"
#include "api/farewell.h"
#include "api/listener.h"
#include "common/clock.h"
#include "common/log.h"

enum { CLOSE_WAIT_MS = 5000, CLOSE_LOOK_MS = 2, LOG_LINE_SIZE = 512, HEAD_SIZE = 256 };

struct front {
    struct front_settings settings;
    struct exchange_host host;
    struct farewell *farewell;
    struct _u_instance ulfius;
    bool has_instance, is_started;
    int listener;
    uint16_t port;
    MHD_AccessHandlerCallback ulfius_handler; /* what stands behind ours */
    void *ulfius_context;
    atomic_size_t in_flight;
    atomic_size_t unanswered; /* given to dispatch, not taken back: what must not be left when the
                                 server is stopped */
    atomic_size_t body_bytes;
    atomic_bool is_stopping; /* no keep-alive any more */
    atomic_bool is_closing;  /* nothing goes to dispatch any more */
};

/* ---- Answering ---- */

/* Ulfius calls back for an answer without saying for which of our exchanges: it does so on the
 * thread that called it. */
static _Thread_local struct exchange *answering;

static int write_answer(const struct _u_request *request, struct _u_response *response,
                        void *context)
{
    struct answer *answer = &answering->answer;
    char seconds[16];
    (void)request;
    (void)context;
    response->status = answer->status;
    if (answer->body != NULL) {
        u_map_put(response->map_header, "Content-Type", answer->type);
        response->binary_body_length = strlen(answer->body);
        response->binary_body = answer->body; /* stolen: ulfius frees it */
        answer->body = NULL;
    }
    if (answer->allow != NULL)
        u_map_put(response->map_header, "Allow", answer->allow);
    if (answer->asks_for_token)
        u_map_put(response->map_header, "WWW-Authenticate", "Bearer");
    if (answer->closes)
        u_map_put(response->map_header, "Connection", "close");
    snprintf(seconds, sizeof seconds, "%d", answer->retry_after_s);
    if (answer->retry_after_s > 0)
        u_map_put(response->map_header, "Retry-After", seconds);
    return U_CALLBACK_COMPLETE;
}

static void note_finished(struct front *front, const struct exchange *exchange)
{
    if (front->settings.finished != NULL)
        front->settings.finished(&exchange->request, exchange->answer.status,
                                 front->settings.context);
}

/* It is the server's again. */
static void take_back(struct front *front, struct exchange *exchange)
{
    if (exchange->is_given)
        atomic_fetch_sub(&front->unanswered, 1);
    exchange->is_given = false;
}

/* Hands the request to ulfius, whose default endpoint is write_answer. It is told of the request
 * only now, so that it keeps nothing for those that wait; it wants two calls, one for the headers
 * and one for the end. */
static enum MHD_Result send_answer(struct front *front, struct exchange *exchange)
{
    struct MHD_Connection *connection = exchange->connection;
    const char *method = exchange->request.method;
    size_t no_upload = 0;
    /* The server does not see the end of a client that comes together with its request: it would
     * keep the connection as idle. */
    if (atomic_load(&front->is_stopping) || exchange_is_gone(exchange))
        exchange->answer.closes = true;
    take_back(front, exchange);
    note_finished(front, exchange);
    exchange->ulfius = ulfius_uri_logger(NULL, "/");
    answering = exchange;
    enum MHD_Result result = front->ulfius_handler(front->ulfius_context, connection, "/", method,
                                                   MHD_HTTP_VERSION_1_1, NULL, &no_upload,
                                                   &exchange->ulfius);
    if (result == MHD_YES)
        result = front->ulfius_handler(front->ulfius_context, connection, "/", method,
                                       MHD_HTTP_VERSION_1_1, NULL, &no_upload, &exchange->ulfius);
    answering = NULL;
    return result;
}

/* An answer that is written past the server: status, reason, length, another header or "", body. */
#define RAW_ANSWER \
    "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n%sConnection: close\r\n\r\n%s"

/* If the socket's buffer is full, the client reads nothing anyway. */
static void send_raw(int fd, const char *text, int length)
{
    (void)!send(fd, text, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* In the middle of a body the server takes no answer: it is written past it, and the connection
 * closed. */
static enum MHD_Result refuse_midway(struct front *front, struct exchange *exchange,
                                     enum bw_code code, const struct bw_error *error)
{
    exchange_refuse(exchange, code, error);
    note_finished(front, exchange);
    farewell_take(front->farewell, exchange->fd);
    const struct answer *answer = &exchange->answer;
    const char *body = answer->body != NULL ? answer->body : "";
    char text[HEAD_SIZE + 2 * BW_ERROR_SIZE], retry[48] = "";
    if (answer->retry_after_s > 0)
        snprintf(retry, sizeof retry, "Retry-After: %d\r\n", answer->retry_after_s);
    int length = snprintf(text, sizeof text, RAW_ANSWER, answer->status,
                          MHD_get_reason_phrase_for((unsigned)answer->status), strlen(body), retry,
                          body);
    if (length > 0 && (size_t)length < sizeof text)
        send_raw(exchange->fd, text, length);
    return MHD_NO;
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

static enum MHD_Result take_body(struct front *front, struct exchange *exchange, const char *data,
                                 size_t *length)
{
    struct bw_error error = {""};
    struct body *body = &exchange->body;
    enum bw_code code = body_append(body, data, *length, front->settings.max_body_bytes,
                                    &front->body_bytes, &error);
    if (code != BW_OK)
        return refuse_midway(front, exchange, code, &error);
    exchange->request.body = body->bytes;
    exchange->request.body_length = body->length;
    *length = 0;
    dispatch_progress(exchange);
    bool is_complete = body->expected > 0 && body->length == body->expected;
    return is_complete || !has_left(exchange) ? MHD_YES : MHD_NO;
}

/* ---- The first call: the headers are in ---- */

static void read_address(const struct MHD_Connection *connection, char *text, size_t size)
{
    static const char mapped[] = "::ffff:";
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        (struct MHD_Connection *)(uintptr_t)connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    text[0] = '\0';
    if (info == NULL || info->client_addr == NULL)
        return;
    socklen_t length = info->client_addr->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                                : sizeof(struct sockaddr_in);
    if (getnameinfo(info->client_addr, length, text, (socklen_t)size, NULL, 0, NI_NUMERICHOST) != 0)
        text[0] = '\0';
    if (strncmp(text, mapped, sizeof mapped - 1) == 0 && strchr(text, '.') != NULL)
        memmove(text, text + sizeof mapped - 1, strlen(text + sizeof mapped - 1) + 1);
}

static enum bw_code find_route(struct front *front, struct exchange *exchange, const char *path,
                               struct bw_error *error)
{
    struct request *request = &exchange->request;
    char allowed[64], shown[128];
    request->route = route_find(front->settings.routes, request->method, path, &request->path_id,
                                allowed);
    if (request->route != NULL)
        return BW_OK;
    if (allowed[0] == '\0')
        return bw_fail(error, BW_NOT_FOUND, "there is nothing at %s",
                       text_show(path, shown, sizeof shown));
    exchange->answer.allow = strdup(allowed);
    return bw_fail(error, BW_METHOD_NOT_ALLOWED, "this path does not take the method %s, but %s",
                   text_show(request->method, shown, sizeof shown), allowed);
}

/* All that can be known before the body. */
static enum bw_code admit(struct front *front, struct exchange *exchange, const char *path,
                          const struct framing *framing, struct bw_error *error)
{
    enum bw_code code = admission_path(exchange->uri, path, error);
    if (code == BW_OK)
        code = find_route(front, exchange, path, error);
    if (code == BW_OK)
        code = body_admit(framing->length, front->settings.max_body_bytes, &front->body_bytes,
                          error);
    if (code == BW_OK)
        code = dispatch_admit(front->host.api, exchange, error);
    if (code == BW_OK && atomic_load(&front->is_closing))
        code = bw_fail(error, BW_UNAVAILABLE, "this server is stopping");
    return code;
}

/* A refusal without a body behind it waits for the second call: an answer to the first one ends the
 * connection. With one, or when it is in doubt where the request ends, that is just what is wanted.
 */
static enum MHD_Result begin(struct front *front, struct exchange *exchange, const char *path,
                             const char *method, const char *version)
{
    struct bw_error error = {""};
    struct framing framing = {.length = 0};
    exchange->is_begun = true;
    atomic_fetch_add(&front->in_flight, 1);
    exchange->request.method = method;
    read_address(exchange->connection, exchange->request.address, sizeof exchange->request.address);
    exchange->fd = MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD)
                       ->connect_fd;
    enum bw_code code = admission_framing(exchange->connection, version, &framing, &error);
    bool is_sound = code == BW_OK;
    if (is_sound)
        code = admit(front, exchange, path, &framing, &error);
    exchange->body.expected = framing.length;
    if (code == BW_OK)
        return MHD_YES;
    exchange->answer.closes = !is_sound || framing_has_body(&framing);
    exchange_refuse(exchange, code, &error);
    if (!exchange->answer.closes)
        return MHD_YES;
    farewell_take(front->farewell, exchange->fd);
    return send_answer(front, exchange);
}

/* ---- The last call: the request is complete ---- */

/* Gives the request away. It may be answered at any moment from here on, but not freed before its
 * connection sleeps. */
static enum MHD_Result handle(struct front *front, struct exchange *exchange)
{
    enum exchange_state handled = EXCHANGE_HANDLED;
    exchange->is_given = true;
    atomic_fetch_add(&front->unanswered, 1);
    atomic_store(&exchange->state, EXCHANGE_HANDLED);
    dispatch_request(exchange);
    if (atomic_load(&exchange->state) != EXCHANGE_ANSWERED) {
        struct MHD_Connection *connection = exchange->connection;
        MHD_suspend_connection(connection);
        if (atomic_compare_exchange_strong(&exchange->state, &handled, EXCHANGE_SUSPENDED))
            return MHD_YES; /* whoever answers resumes it */
        MHD_resume_connection(connection);
        return MHD_YES;
    }
    return send_answer(front, exchange);
}

static enum MHD_Result access_handler(void *context, struct MHD_Connection *connection,
                                      const char *url, const char *method, const char *version,
                                      const char *upload_data, size_t *upload_data_size,
                                      void **con_cls)
{
    struct front *front = context;
    struct exchange *exchange = *con_cls;
    (void)connection;
    if (exchange == NULL)
        return MHD_NO; /* memory was short */
    if (!exchange->is_begun)
        return begin(front, exchange, url, method, version);
    if (*upload_data_size > 0)
        return take_body(front, exchange, upload_data, upload_data_size);
    switch (atomic_load(&exchange->state)) {
    case EXCHANGE_READING:
        return handle(front, exchange);
    case EXCHANGE_ANSWERED:
        return send_answer(front, exchange);
    default:
        return MHD_YES; /* asleep: not called */
    }
}

/* ---- What the server calls ---- */

static void *begin_request(void *context, const char *uri, struct MHD_Connection *connection)
{
    struct front *front = context;
    return exchange_new(&front->host, connection, uri);
}

static void end_request(void *context, struct MHD_Connection *connection, void **con_cls,
                        enum MHD_RequestTerminationCode code)
{
    struct front *front = context;
    struct exchange *exchange = *con_cls;
    if (exchange == NULL)
        return;
    *con_cls = NULL;
    take_back(front,
              exchange); /* answered, but the client had gone: then it is not asked to send */
    if (exchange->ulfius != NULL)
        mhd_request_completed(NULL, connection, &exchange->ulfius, code);
    body_clear(&exchange->body, &front->body_bytes);
    bool is_begun = exchange->is_begun;
    exchange_free(exchange);
    if (is_begun)
        atomic_fetch_sub(&front->in_flight, 1);
}

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
        handler = access_handler;
    }
    va_list options;
    va_start(options, context);
    struct MHD_Daemon *daemon = MHD_start_daemon_va(flags, port, accept_policy, accept_context,
                                                    handler, front != NULL ? front : context,
                                                    options);
    va_end(options);
    return daemon;
}

/* What the server can't read it refuses by itself, with a page of HTML, and if it can't make out a
 * length, with that page's headers twice. Our refusal is put in its place; what it still has to say
 * then finds the socket shut, and it closes the connection. */
static void refuse_unreadable(struct MHD_Connection *connection, unsigned int status)
{
    const char *reason = MHD_get_reason_phrase_for(status);
    char body[HEAD_SIZE], text[2 * HEAD_SIZE];
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    snprintf(body, sizeof body, "{\"error\":\"this request can't be read: %s\"}", reason);
    int length = snprintf(text, sizeof text, RAW_ANSWER, (int)status, reason, strlen(body), "",
                          body);
    send_raw(fd, text, length);
    shutdown(fd, SHUT_WR);
}

/* The library's own, found before a server is started. */
static enum MHD_Result (*library_queue_response)(struct MHD_Connection *, unsigned int,
                                                 struct MHD_Response *);

static void find_library_functions(void)
{
    *(void **)&library_queue_response = dlsym(RTLD_NEXT, "MHD_queue_response");
}

/* "No" makes the server close the connection at once. To let it queue its own page all the same
 * would crash it in the moment of its stop: it then queues nothing, and builds the page's headers.
 */
HOOK enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned int status,
                                        struct MHD_Response *response)
{
    if (answering != NULL)
        return library_queue_response(connection, status, response);
    refuse_unreadable(connection, status);
    return MHD_NO;
}

/* ---- Start ---- */

/* Every waiting connection is a descriptor. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static enum bw_code start_ulfius(struct front *front, struct bw_error *error)
{
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)log_server_line, front}, /* first, says its manual */
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)end_request, front},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)begin_request, front},
        {MHD_OPTION_LISTEN_SOCKET, front->listener, NULL},
        {MHD_OPTION_THREAD_POOL_SIZE, front->settings.threads, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)front->settings.max_connections, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, FRONT_CONNECTION_BYTES, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, FRONT_IDLE_S, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    if (ulfius_init_instance(&front->ulfius, front->port, NULL, NULL) != U_OK)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    front->has_instance = true;
    front->ulfius.check_utf8 = 0;
    front->ulfius.allowed_post_processor = U_POST_PROCESS_NONE;
    if (ulfius_set_default_endpoint(&front->ulfius, write_answer, NULL) != U_OK)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    static pthread_once_t is_found = PTHREAD_ONCE_INIT;
    pthread_once(&is_found, find_library_functions);
    starting = front;
    int result = ulfius_start_framework_with_mhd_options(
        &front->ulfius,
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG, options);
    starting = NULL;
    if (result != U_OK)
        return bw_fail(error, BW_INTERNAL, "the HTTP server can't be started (ulfius: %d)", result);
    front->is_started = true;
    if (front->ulfius_handler == NULL || library_queue_response == NULL)
        return bw_fail(
            error, BW_INTERNAL,
            "this binary was linked so that it can't stand in front of ulfius: build it as the "
            "build files say");
    return BW_OK;
}

static enum bw_code start(struct front *front, struct bw_error *error)
{
    raise_descriptor_limit();
    enum bw_code code = gone_watch_open(&front->host.watch, error);
    if (code == BW_OK)
        code = farewell_open(&front->farewell, error);
    if (code == BW_OK)
        code = listener_open(front->settings.address, front->settings.port, &front->listener,
                             error);
    if (code != BW_OK)
        return code;
    front->port = listener_port(front->listener);
    return start_ulfius(front, error);
}

static void release(struct front *front)
{
    if (front->is_started)
        ulfius_stop_framework(&front->ulfius); /* closes the listener as well */
    else if (front->listener >= 0)
        close(front->listener);
    if (front->has_instance)
        ulfius_clean_instance(&front->ulfius);
    farewell_close(front->farewell);
    gone_watch_close(front->host.watch);
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
    if (self->settings.threads == 0)
        self->settings.threads = FRONT_THREADS;
    if (self->settings.max_connections == 0)
        self->settings.max_connections = FRONT_CONNECTIONS;
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

/* ---- Stop ---- */

/* The listening socket goes, its number stays, as a descriptor on which nothing ever happens: the
 * server's threads go on looking at it. (MHD_quiesce_daemon takes it out of their epoll sets just
 * as they do so themselves, and the second of the two aborts the process.) */
void front_stop_accepting(struct front *front)
{
    if (atomic_exchange(&front->is_stopping, true))
        return;
    int quiet = eventfd(0, EFD_CLOEXEC);
    if (quiet < 0 || dup3(quiet, front->listener, O_CLOEXEC) < 0)
        log_error("the listening socket can't be closed", log_text("front", front->settings.name));
    if (quiet >= 0)
        close(quiet);
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

void front_close(struct front *front)
{
    if (front == NULL)
        return;
    int64_t end_ms = clock_boot_ms() + CLOSE_WAIT_MS;
    front_stop_accepting(front);
    atomic_store(&front->is_closing, true);
    if (!wait_for_none(&front->unanswered, end_ms) ||
        !wait_for_none(&front->host.answering, end_ms)) {
        log_error("requests were left without an answer: their connections can't be closed",
                  log_text("front", front->settings.name),
                  log_number("requests", (int64_t)atomic_load(&front->unanswered)));
        return;
    }
    wait_for_none(&front->in_flight,
                  end_ms); /* answers go out; who is still sending has had its time */
    release(front);
}
