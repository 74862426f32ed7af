#include "scheduler/io/status_server.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/host_name.h"
#include "common/base/listener.h"
#include "common/base/log.h"
#include "common/base/request_id.h"
#include "scheduler/io/status_request.h"

enum {
    FORBIDDEN = 403,
    NOT_FOUND = 404,
    REQUEST_TIMEOUT = 408,
    DRAIN_MS = 2000,           /* how long the client may take to read its answer */
    DRAIN_BYTES = 1024 * 1024, /* how much it may send meanwhile */
    READ_SIZE = 16 * 1024,
    READS_AT_ONCE = 16,   /* per turn of one connection */
    ACCEPTS_AT_ONCE = 16, /* per turn of the listener */
    ACCEPT_PAUSE_MS = 100,
    HEADERS_SIZE = 768,
    SENTENCE_SIZE = 128,
    REFUSAL_SIZE = 512,
    WAKE = 0,
    LISTENER = 1,
    FIRST_PEER = 2 /* places in the poll set */
};

/* If a connection were closed right after the answer, unread bytes of the request would make the
 * kernel reset it, and the client would lose the answer. So the rest is read and dropped first. */
enum peer_state { PEER_READING, PEER_WRITING, PEER_DRAINING };

struct peer {
    int fd;
    enum peer_state state;
    uint64_t number; /* in order of arrival */
    int64_t deadline_ms;
    char *answer; /* NULL: not answered yet */
    size_t answer_length, written, drained, received;
    char head[STATUS_HEAD_MAX];
};

struct status_server {
    int listener, wake;
    pthread_t thread;
    bool refuses_names; /* other than localhost */
    status_answer_function *answer;
    void *context;
    size_t most;                            /* connections */
    struct peer *peers[STATUS_CONNECTIONS]; /* from here on: the thread's alone */
    size_t count;
    uint64_t accepted;
    int64_t accept_after_ms; /* clock_boot_ms; later after a lack of descriptors */
};

static const struct {
    int status;
    const char *phrase;
} phrases[] = {
    {200, "OK"},
    {400, "Bad Request"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {414, "URI Too Long"},
    {431, "Request Header Fields Too Large"},
    {503, "Service Unavailable"},
    {505, "HTTP Version Not Supported"},
};

static const char *status_phrase(int status)
{
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++)
        if (phrases[i].status == status)
            return phrases[i].phrase;
    return "";
}

/* ---- One connection ---- */

static void peer_close(struct status_server *server, size_t index)
{
    struct peer *peer = server->peers[index];
    server->peers[index] = server->peers[--server->count];
    close(peer->fd);
    free(peer->answer);
    free(peer);
}

static void peer_drain(struct peer *peer)
{
    shutdown(peer->fd, SHUT_WR);
    peer->state = PEER_DRAINING;
    peer->deadline_ms = clock_boot_ms() + DRAIN_MS;
}

/* False: the connection is broken. */
static bool peer_write(struct peer *peer)
{
    while (peer->written < peer->answer_length) {
        ssize_t length = send(peer->fd, peer->answer + peer->written,
                              peer->answer_length - peer->written, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (length < 0)
            return false;
        peer->written += (size_t)length;
    }
    peer_drain(peer);
    return true;
}

static void date_write(char text[64])
{
    time_t now = time(NULL);
    struct tm fields;
    gmtime_r(&now, &fields);
    strftime(text, 64, "%a, %d %b %Y %H:%M:%S GMT", &fields);
}

/* The request that an answer belongs to, as far as it could be parsed. */
struct asked {
    char id[REQUEST_ID_SIZE];
    const char *method, *path;
};

/* A path that is not served is not logged: it is text from outside. */
static void peer_log(const struct asked *asked, const struct status_answer *answer)
{
    const struct log_field fields[] = {
        log_text("request_id", asked->id),
        log_text("method", asked->method),
        log_text("path", answer->status != NOT_FOUND ? asked->path : "unknown"),
        log_number("status", answer->status),
        answer->error != NULL ? log_text("reason", answer->error) : (struct log_field){0},
        {0},
    };
    log_write(answer->error != NULL ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG, "request", fields);
}

/* Formats the answer and queues it for the connection. */
static bool peer_answer(struct peer *peer, const struct asked *asked,
                        const struct status_answer *answer)
{
    char headers[HEADERS_SIZE], date[64], allow[64] = "";
    size_t body_length = strlen(answer->body);
    bool is_head = strcmp(asked->method, "HEAD") == 0;
    date_write(date);
    peer_log(asked, answer);
    if (answer->allow != NULL)
        snprintf(allow, sizeof allow, "Allow: %s\r\n", answer->allow);
    int length = snprintf(headers, sizeof headers,
                          "HTTP/1.1 %d %s\r\nDate: %s\r\n%s: %s\r\nConnection: close\r\n"
                          "Content-Type: %s\r\nContent-Length: %zu\r\n%s\r\n",
                          answer->status, status_phrase(answer->status), date, REQUEST_ID_HEADER,
                          asked->id, answer->type, body_length, allow);
    size_t sent_body = is_head ? 0 : body_length;
    peer->answer_length = (size_t)length + sent_body;
    peer->answer = bw_alloc(peer->answer_length);
    memcpy(peer->answer, headers, (size_t)length);
    memcpy(peer->answer + length, answer->body, sent_body);
    peer->state = PEER_WRITING;
    peer->deadline_ms = clock_boot_ms() + STATUS_REQUEST_MS;
    return peer_write(peer);
}

/* Queues a refusal with its JSON body. */
static bool peer_refuse(struct peer *peer, const struct asked *asked, struct status_answer answer)
{
    char body[REFUSAL_SIZE];
    snprintf(body, sizeof body, "{\"error\":\"%s\",\"request_id\":\"%s\"}", answer.error,
             asked->id);
    answer.body = body;
    return peer_answer(peer, asked, &answer);
}

static void peer_find_id(const struct peer *peer, struct asked *asked)
{
    status_request_find_id(peer->head, peer->received, asked->id);
    if (asked->id[0] == '\0')
        request_id_make(request_id_number(), asked->id);
}

static bool peer_refuse_unreadable(struct peer *peer, int status)
{
    char sentence[SENTENCE_SIZE];
    struct asked asked = {.method = "unknown", .path = "unknown"};
    peer_find_id(peer, &asked);
    snprintf(sentence, sizeof sentence, "this request can't be read: %s", status_phrase(status));
    return peer_refuse(
        peer, &asked,
        (struct status_answer){.status = status, .type = "application/json", .error = sentence});
}

/* On a loopback port a web page whose name was rebound (DNS rebinding) must not read the answers.
 */
static bool peer_refuse_name(struct peer *peer, const struct asked *asked)
{
    return peer_refuse(peer, asked,
                       (struct status_answer){
                           .status = FORBIDDEN,
                           .type = "application/json",
                           .error = "this port is bound to loopback, where it goes by localhost "
                                    "and by numeric addresses, not by another name"});
}

static bool peer_handle(const struct status_server *server, struct peer *peer)
{
    struct status_request request;
    struct asked asked = {.method = request.method, .path = request.path};
    int status = status_request_read(peer->head, peer->received, &request);
    if (status == STATUS_REQUEST_PARTIAL)
        return true;
    if (status != STATUS_REQUEST_WHOLE)
        return peer_refuse_unreadable(peer, status);
    peer_find_id(peer, &asked);
    struct status_answer answer = server->answer(server->context, request.method, request.path);
    if (answer.error != NULL)
        return peer_refuse(peer, &asked, answer);
    bool is_refused = server->refuses_names && host_is_foreign_name(request.host);
    bool is_written = is_refused ? peer_refuse_name(peer, &asked)
                                 : answer.body != NULL && peer_answer(peer, &asked, &answer);
    free(answer.body);
    return is_written;
}

static bool peer_read(const struct status_server *server, struct peer *peer)
{
    while (peer->state == PEER_READING) {
        ssize_t length = recv(peer->fd, peer->head + peer->received,
                              sizeof peer->head - peer->received, MSG_DONTWAIT);
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (length <= 0)
            return false;
        peer->received += (size_t)length;
        if (!peer_handle(server, peer))
            return false;
    }
    return true;
}

static bool peer_discard_input(struct peer *peer)
{
    char sink[READ_SIZE];
    for (int i = 0; i < READS_AT_ONCE && peer->drained < DRAIN_BYTES; i++) {
        ssize_t length = recv(peer->fd, sink, sizeof sink, MSG_DONTWAIT);
        if (length < 0 && (errno == EAGAIN || errno == EINTR))
            return true;
        if (length <= 0)
            return false;
        peer->drained += (size_t)length;
    }
    return true;
}

static bool peer_advance(const struct status_server *server, struct peer *peer)
{
    if (peer->state == PEER_READING && !peer_read(server, peer))
        return false;
    if (peer->state == PEER_WRITING && !peer_write(peer))
        return false;
    return peer->state != PEER_DRAINING || peer_discard_input(peer);
}

/* A connection that has sent a part of a request is answered with 408; one that has sent nothing is
 * closed. */
static bool peer_expire(struct peer *peer)
{
    return peer->state == PEER_READING && peer->received > 0 &&
           peer_refuse_unreadable(peer, REQUEST_TIMEOUT);
}

static short peer_events(const struct peer *peer)
{
    if (peer->state == PEER_WRITING)
        return POLLOUT;
    bool reads = peer->state == PEER_READING || peer->drained < DRAIN_BYTES;
    return reads ? POLLIN : 0;
}

/* ---- All connections ---- */

/* Order of eviction: connections that are already answered first, then by age. */
static bool peer_is_evicted_before(const struct peer *peer, const struct peer *other)
{
    bool is_answered = peer->state == PEER_DRAINING, other_is = other->state == PEER_DRAINING;
    return is_answered != other_is ? is_answered : peer->number < other->number;
}

static bool server_evict(struct status_server *server)
{
    size_t oldest = 0;
    if (server->count == 0)
        return false;
    for (size_t i = 1; i < server->count; i++)
        if (peer_is_evicted_before(server->peers[i], server->peers[oldest]))
            oldest = i;
    peer_close(server, oldest);
    return true;
}

/* Reads the first bytes immediately, so that a new connection can't evict this one before its
 * request was read. */
static void server_enter(struct status_server *server, int fd)
{
    if (server->count == server->most)
        server_evict(server);
    struct peer *peer = bw_alloc(sizeof *peer);
    peer->fd = fd;
    peer->number = server->accepted++;
    peer->deadline_ms = clock_boot_ms() + STATUS_REQUEST_MS;
    server->peers[server->count++] = peer;
    if (!peer_advance(server, peer))
        peer_close(server, server->count - 1);
}

static bool is_shortage(int reason)
{
    return reason == EMFILE || reason == ENFILE || reason == ENOBUFS || reason == ENOMEM;
}

static void server_accept(struct status_server *server)
{
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && is_shortage(errno) && !server_evict(server))
            server->accept_after_ms = clock_boot_ms() + ACCEPT_PAUSE_MS;
        if (fd < 0)
            return;
        server_enter(server, fd);
    }
}

/* Fills the poll set. Returns the time-out in milliseconds; negative: none. */
static int server_prepare(const struct status_server *server, struct pollfd *polled)
{
    int64_t now_ms = clock_boot_ms(), next_ms = INT64_MAX;
    bool accepts = now_ms >= server->accept_after_ms;
    polled[WAKE] = (struct pollfd){.fd = server->wake, .events = POLLIN};
    polled[LISTENER] = (struct pollfd){.fd = accepts ? server->listener : -1, .events = POLLIN};
    if (!accepts)
        next_ms = server->accept_after_ms;
    for (size_t i = 0; i < server->count; i++) {
        const struct peer *peer = server->peers[i];
        polled[FIRST_PEER + i] = (struct pollfd){.fd = peer->fd, .events = peer_events(peer)};
        if (peer->deadline_ms < next_ms)
            next_ms = peer->deadline_ms;
    }
    if (next_ms == INT64_MAX)
        return -1;
    return next_ms > now_ms ? (int)(next_ms - now_ms) : 0;
}

/* From the last to the first: the place of a closed connection is filled by one that was served
 * already. */
static void server_serve_peers(struct status_server *server, const struct pollfd *polled)
{
    int64_t now_ms = clock_boot_ms();
    for (size_t i = server->count; i-- > 0;) {
        struct peer *peer = server->peers[i];
        short events = polled[FIRST_PEER + i].revents;
        bool is_broken = (events & (POLLERR | POLLNVAL)) != 0 ||
                         ((events & POLLHUP) != 0 && peer_events(peer) == 0);
        bool is_kept = !is_broken && (events == 0 || peer_advance(server, peer));
        if (is_kept && peer->deadline_ms <= now_ms)
            is_kept = peer_expire(peer);
        if (!is_kept)
            peer_close(server, i);
    }
}

static void *server_run(void *context)
{
    struct status_server *server = context;
    struct pollfd polled[FIRST_PEER + STATUS_CONNECTIONS];
    for (;;) {
        int wait_ms = server_prepare(server, polled);
        if (poll(polled, FIRST_PEER + server->count, wait_ms) < 0)
            continue; /* interrupted */
        if (polled[WAKE].revents != 0)
            return NULL;
        server_serve_peers(server, polled);
        if (polled[LISTENER].revents != 0)
            server_accept(server);
    }
}

/* ---- Start and end ---- */

static enum bw_code server_start(struct status_server *server, struct bw_error *error)
{
    server->wake = eventfd(0, EFD_CLOEXEC);
    int reason = server->wake >= 0 ? pthread_create(&server->thread, NULL, server_run, server)
                                   : errno;
    if (reason == 0)
        return BW_OK;
    return bw_fail(error, BW_INTERNAL, "can't serve: %s", strerror(reason));
}

static void server_free(struct status_server *server)
{
    while (server->count > 0)
        peer_close(server, server->count - 1);
    if (server->listener >= 0)
        close(server->listener);
    if (server->wake >= 0)
        close(server->wake);
    free(server);
}

enum bw_code status_server_open(const char *flag, const char *address, uint16_t port, size_t most,
                                status_answer_function *answer, void *context,
                                struct status_server **server, struct bw_error *error)
{
    struct bw_error reason;
    struct status_server *opened = bw_alloc(sizeof *opened);
    opened->listener = opened->wake = -1;
    opened->answer = answer;
    opened->context = context;
    opened->most = most;
    opened->refuses_names = address_is_loopback(address);
    enum bw_code code = listener_open(address, port, &opened->listener, &reason);
    if (code == BW_OK)
        code = server_start(opened, &reason);
    if (code == BW_OK)
        *server = opened;
    else
        server_free(opened);
    return code == BW_OK ? BW_OK : bw_fail(error, code, "%s %s", flag, reason.message);
}

void status_server_close(struct status_server *server)
{
    if (server == NULL)
        return;
    eventfd_write(server->wake, 1);
    pthread_join(server->thread, NULL);
    server_free(server);
}
