#include "api/front_internal.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/listener.h"
#include "common/clock.h"
#include "common/log.h"

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
    return daemon;
}

static void refuse(int fd, unsigned int status, const char *sentence)
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
    refuse(fd, MHD_HTTP_REQUEST_TIMEOUT, "this request was not sent in the time that it has");
}

/* What the server can't read it refuses by itself, with a page of HTML, and if it can't make out a
 * length, with that page's headers twice. Our refusal is put in its place; what it still has to say
 * then finds the socket shut, and it closes the connection. */
static void refuse_unreadable(struct MHD_Connection *connection, unsigned int status)
{
    char sentence[HEAD_SIZE];
    int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    snprintf(sentence, sizeof sentence, "this request can't be read: %s",
             MHD_get_reason_phrase_for(status));
    refuse(fd, status, sentence);
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

/* "No" makes the server close the connection at once. To let it queue its own page all the same
 * would crash it in the moment of its stop: it then queues nothing, and builds the page's headers.
 */
HOOK enum MHD_Result MHD_queue_response(struct MHD_Connection *connection, unsigned int status,
                                        struct MHD_Response *response)
{
    if (front_is_answering())
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

static enum bw_code open_patience(struct front *front, struct bw_error *error)
{
    const struct patience_settings settings = {.request_ms = front->settings.request_timeout_ms,
                                               .many = front->settings.max_connections / 4,
                                               .name = front->settings.name,
                                               .refuse = refuse_late};
    return patience_open(&settings, &front->patience, error);
}

/* The server says so before it closes the descriptor. */
static void note_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                            enum MHD_ConnectionNotificationCode code)
{
    const struct front *front = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        *socket_context = patience_add(front->patience, fd);
    } else {
        patience_remove(front->patience, *socket_context);
    }
}

static enum bw_code start_ulfius(struct front *front, struct bw_error *error)
{
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_EXTERNAL_LOGGER, (intptr_t)log_server_line, front}, /* first, says its manual */
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)note_connection, front},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)front_end_request, front},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)front_begin_request, front},
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
    if (ulfius_set_default_endpoint(&front->ulfius, front_write_answer, NULL) != U_OK)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    static pthread_once_t is_found = PTHREAD_ONCE_INIT;
    pthread_once(&is_found, find_library_functions);
    starting = front;
    int result = ulfius_start_framework_with_mhd_options(&front->ulfius,
                                                         MHD_USE_EPOLL_INTERNAL_THREAD |
                                                             MHD_ALLOW_SUSPEND_RESUME |
                                                             MHD_ALLOW_UPGRADE | MHD_USE_ERROR_LOG,
                                                         options);
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
        code = open_patience(front, error);
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
    patience_close(front->patience);
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
    wait_for_none(&front->upgraded, end_ms); /* they were closed before: api/sockets.h */
    wait_for_none(&front->in_flight,
                  end_ms); /* answers go out; who is still sending has had its time */
    release(front);
}
