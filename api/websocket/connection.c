#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "api/http/request_timeout.h"
#include "api/websocket/connection_internal.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"

enum {
    REFUSAL_MOST = 123, /* bytes of a reason: the maximum in a close frame */
    CLOSE_WAIT_MS = 2000,
    PREFIX_WAIT_MS = 1000,    /* how long the beginning of an oversized message is waited for */
    OVERSIZE_WAIT_MS = 20000, /* until the callback must have called socket_close */
    STARVED_MS = 60000,       /* how long a message waits for memory */
    STRANGER_MS = 30000,      /* how long a socket may stay untrusted */
    SILENCES = 4,             /* unanswered pings after which the peer counts as lost */
    DROP_ROUNDS = 64,         /* reads of dropped data before the other sockets are served */
    TURN_BYTES = 1024 * 1024, /* bytes of messages before the other sockets are served */
    TURN_FRAMES = 256,
    QUEUED_MESSAGES_MAX = 100, /* limit of messages that are queued for a peer, including pongs */
    DISCARDED_BYTES = 1024 * 1024, /* bytes that are read and dropped from a refused peer */
    DISCARDED_BYTES_TRUSTED = 16 * 1024 * 1024 /* the minimum for a trusted peer */
};

/* ---- Ending a socket ---- */

static void socket_end(struct socket *socket)
{
    if (socket->has_ended)
        return;
    socket->has_ended = true;
    socket->sockets->settings.ended(socket, socket->sockets->settings.context);
}

/* Returns the connection to the server, which closes it. */
static void socket_leave(struct socket *socket)
{
    if (socket->state == SOCKET_GONE)
        return;
    socket_end(socket);
    socket->state = SOCKET_GONE;
    epoll_ctl(socket->sockets->epoll_fd, EPOLL_CTL_DEL, socket->fd, NULL);
    MHD_upgrade_action(socket->handle, MHD_UPGRADE_ACTION_CLOSE);
    HASH_DELETE(hh, socket->sockets->sockets, socket);
    socket->next_dead = socket->sockets->dead;
    socket->sockets->dead = socket;
}

/* Whether the limit of dropped bytes is reached. Then nothing more is read before the deadline: the
 * peer can still read what was sent, since only closing the connection would reset it. */
static bool is_read_out(const struct socket *socket)
{
    size_t most = DISCARDED_BYTES, message = socket->sockets->settings.max_message_bytes;
    if (socket->is_trusted)
        most = 4 * message > DISCARDED_BYTES_TRUSTED ? 4 * message : DISCARDED_BYTES_TRUSTED;
    return socket->discarded >= most;
}

/* Whether the peer's close frame has arrived, after which nothing is read while ours waits to be
 * sent. */
static bool has_all_been_read(const struct socket *socket)
{
    bool has_frames = socket->state == SOCKET_OPEN || socket->state == SOCKET_CLOSING;
    return has_frames && socket->frames != NULL && !socket->filter.is_oversized &&
           !wslay_event_want_read(socket->frames);
}

static bool is_unread(const struct socket *socket)
{
    return socket->is_starved || is_read_out(socket) || has_all_been_read(socket);
}

static void socket_watch(struct socket *socket, bool wants_write)
{
    struct epoll_event event = {.events = (is_unread(socket) ? 0 : EPOLLIN) |
                                          (wants_write ? EPOLLOUT : 0),
                                .data.ptr = socket};
    if (socket->watched == event.events)
        return;
    socket->watched = event.events;
    epoll_ctl(socket->sockets->epoll_fd, EPOLL_CTL_MOD, socket->fd, &event);
}

/* Everything is sent. Shuts the sending side, so that the peer sees the end, and goes on reading:
 * closing with unread data would cause a reset, which can overtake the close frame. */
static void socket_linger(struct socket *socket)
{
    socket_end(socket);
    if (socket->is_lost) {
        socket_leave(socket);
        return;
    }
    socket->state = SOCKET_LINGERING;
    socket->is_starved = false;
    socket->deadline_ms = clock_boot_ms() + CLOSE_WAIT_MS;
    socket_watch(socket, false);
    shutdown(socket->fd, SHUT_WR);
}

/* ---- Reading and writing ---- */

/* Reads up to `room` bytes. Returns their number; 0: no data now; -1: the connection has ended. */
static ssize_t read_bytes(struct socket *socket, uint8_t *bytes, size_t room)
{
    if (socket->extra_used < socket->extra_length) {
        size_t rest = socket->extra_length - socket->extra_used;
        size_t length = rest < room ? rest : room;
        memcpy(bytes, socket->extra + socket->extra_used, length);
        socket->extra_used += length;
        return (ssize_t)length;
    }
    if (is_read_out(socket))
        return 0;
    ssize_t length = recv(socket->fd, bytes, room, 0);
    if (length > 0) {
        socket->turn_bytes += (size_t)length;
        if (socket->state != SOCKET_OPEN || socket->filter.is_oversized)
            socket->discarded += (size_t)length;
        return length;
    }
    if (length < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    socket->is_lost = true;
    return -1;
}

/* The limit of the socket's messages, in bytes. */
static size_t message_limit(const struct socket *socket)
{
    return socket->is_trusted ? socket->sockets->settings.max_message_bytes : SOCKET_STRANGER_BYTES;
}

/* Whether there is memory for the next read. The first bytes of a message are never refused. For a
 * long message, memory for all of it and for its parsed form is reserved at once. */
static bool has_room(struct socket *socket, size_t room)
{
    struct bw_error unused;
    struct body *message = &socket->message;
    size_t wanted = message->length + room;
    if (socket->state != SOCKET_OPEN || !socket->has_message || message->length == 0)
        return true;
    size_t known = socket->message_known > wanted ? socket->message_known : wanted;
    enum bw_code code = wanted > MEMORY_FREE_BYTES ? body_claim(message, 2 * known, &unused)
                                                   : BW_OK;
    if (code == BW_OK)
        code = body_reserve(message, room, &unused);
    if (code == BW_TOO_LARGE)
        socket_close(socket, SOCKET_TOO_LARGE, "the message is too large");
    else if (code != BW_OK && !socket->is_starved)
        socket->starved_ms = clock_boot_ms();
    socket->is_starved = code == BW_UNAVAILABLE;
    return code == BW_OK;
}

/* Whether the socket may go on reading before the other sockets are served. A peer that sends
 * faster than this loop reads would occupy the loop forever, and each ping causes a pong that is
 * sent only after the turn. Data that came with the handshake is read at once, since epoll does not
 * report it. */
static bool has_turn(const struct socket *socket)
{
    return socket->extra_used < socket->extra_length ||
           (socket->turn_bytes < TURN_BYTES && socket->turn_frames < TURN_FRAMES);
}

static ssize_t socket_receive(wslay_event_context_ptr frames, uint8_t *bytes, size_t room,
                              int flags, void *context)
{
    struct socket *socket = context;
    (void)flags;
    bool may_read = !socket->filter.is_oversized && has_turn(socket) && has_room(socket, room);
    ssize_t length = may_read ? read_bytes(socket, bytes, room) : 0;
    if (length > 0)
        length = (ssize_t)frame_filter_feed(&socket->filter, bytes, (size_t)length,
                                            message_limit(socket));
    if (length > 0)
        return length;
    wslay_event_set_error(frames, length == 0 ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t socket_transmit(wslay_event_context_ptr frames, const uint8_t *bytes, size_t length,
                               int flags, void *context)
{
    struct socket *socket = context;
    int more = (flags & WSLAY_MSG_MORE) != 0 ? MSG_MORE : 0;
    ssize_t sent = send(socket->fd, bytes, length, MSG_NOSIGNAL | more);
    if (sent >= 0)
        return sent;
    bool is_full = errno == EAGAIN || errno == EINTR;
    socket->is_lost = socket->is_lost || !is_full;
    wslay_event_set_error(frames, is_full ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

/* ---- Messages ---- */

/* A frame begins. The filter has checked the limit of the message before. */
static void begin_frame(wslay_event_context_ptr frames,
                        const struct wslay_event_on_frame_recv_start_arg *frame, void *context)
{
    struct socket *socket = context;
    struct body *message = &socket->message;
    (void)frames;
    socket->turn_frames++;
    socket->is_control = wslay_is_ctrl_frame(frame->opcode);
    if (socket->is_control || socket->state != SOCKET_OPEN)
        return;
    socket->message_known = message->length + (size_t)frame->payload_length;
    if (socket->has_message)
        return;
    socket->has_message = true;
    socket->message_deadline_ms = clock_boot_ms() + socket->sockets->settings.request_timeout_ms;
    message->expected = frame->fin ? frame->payload_length : 0;
    memory_hold_begin(&message->hold, socket->sockets->settings.memory,
                      socket->is_trusted ? MEMORY_SOCKET : MEMORY_CLIENT, "");
}

/* A part of a message counts as a heartbeat of its sender, even if the message is long. */
static void note_progress(struct socket *socket, size_t length)
{
    const struct sockets_settings *settings = &socket->sockets->settings;
    int64_t now_ms = clock_boot_ms(), most_ms = now_ms + settings->request_timeout_ms;
    int64_t until_ms = socket->message_deadline_ms +
                       request_timeout_earned(socket->message.length, length);
    socket->message_deadline_ms = until_ms < most_ms ? until_ms : most_ms;
    socket->seen_ms = now_ms;
    if (now_ms - socket->notified_ms < settings->ping_every_ms / 4)
        return;
    socket->notified_ms = now_ms;
    settings->seen(socket, settings->context);
}

static void socket_take_part(wslay_event_context_ptr frames,
                             const struct wslay_event_on_frame_recv_chunk_arg *part, void *context)
{
    struct socket *socket = context;
    struct bw_error error;
    (void)frames;
    if (socket->is_control || socket->state != SOCKET_OPEN || !socket->has_message ||
        part->data_length == 0)
        return;
    note_progress(socket, part->data_length);
    if (body_append(&socket->message, (const char *)part->data, part->data_length,
                    message_limit(socket), &error) != BW_OK)
        socket_close(socket, SOCKET_TRY_AGAIN, error.message);
}

static void hand_message_on(struct socket *socket)
{
    const struct sockets_settings *settings = &socket->sockets->settings;
    struct body message = socket->message;
    socket->message = (struct body){.bytes = NULL};
    socket->has_message = false;
    settings->message(socket, &message, settings->context);
    body_clear(&message);
}

static void socket_take_message(wslay_event_context_ptr frames,
                                const struct wslay_event_on_msg_recv_arg *message, void *context)
{
    struct socket *socket = context;
    const struct sockets_settings *settings = &socket->sockets->settings;
    (void)frames;
    socket->seen_ms = clock_boot_ms();
    if (socket->state != SOCKET_OPEN || socket->has_ended)
        return;
    if (message->opcode == WSLAY_CONNECTION_CLOSE) {
        socket_end(socket);
        return;
    }
    settings->seen(socket, settings->context);
    if (message->opcode == WSLAY_TEXT_FRAME || message->opcode == WSLAY_BINARY_FRAME)
        hand_message_on(socket);
}

static bool start_frames(struct socket *socket)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = socket_receive,
        .send_callback = socket_transmit,
        .on_frame_recv_start_callback = begin_frame,
        .on_frame_recv_chunk_callback = socket_take_part,
        .on_msg_recv_callback = socket_take_message,
    };
    if (wslay_event_context_server_init(&socket->frames, &callbacks, socket) != 0)
        return false;
    wslay_event_config_set_max_recv_msg_length(socket->frames,
                                               UINT64_MAX); /* the filter enforces the limit */
    /* Messages are assembled in socket->message. */
    wslay_event_config_set_no_buffering(socket->frames, 1);
    return true;
}

/* Handles an invalid frame. wslay expects the caller to send the close frame. */
static void refuse_frame(struct socket *socket)
{
    static const uint8_t protocol_error[] = {0x88, 0x02, 0x03, 0xEA};
    (void)!send(socket->fd, protocol_error, sizeof protocol_error, MSG_NOSIGNAL | MSG_DONTWAIT);
    socket_linger(socket);
}

/* Sends what is queued, and updates the state. Called after anything that may have changed what is
 * left to be sent or read. */
static void socket_continue(struct socket *socket)
{
    wslay_event_context_ptr frames = socket->frames;
    if (socket->state == SOCKET_GONE || socket->state == SOCKET_LINGERING)
        return;
    if (!socket->is_lost && wslay_event_want_write(frames) && wslay_event_send(frames) != 0)
        socket->is_lost = true;
    if (socket->is_lost || wslay_event_get_queued_msg_count(frames) > QUEUED_MESSAGES_MAX) {
        socket_leave(socket);
        return;
    }
    bool is_closed = !wslay_event_want_read(frames) || wslay_event_get_close_received(frames) ||
                     (socket->state == SOCKET_CLOSING && socket->filter.skipper.has_closed);
    if (!wslay_event_want_write(frames) && is_closed) {
        socket_linger(socket);
        return;
    }
    socket_watch(socket, wslay_event_want_write(frames) != 0);
}

/* Reports an oversized message, once its beginning has arrived or PREFIX_WAIT_MS have passed. */
static void report_oversize(struct socket *socket)
{
    const struct frame_filter *filter = &socket->filter;
    const struct sockets_settings *settings = &socket->sockets->settings;
    if (socket->is_oversize_reported || socket->state != SOCKET_OPEN)
        return;
    socket->is_oversize_reported = true;
    settings->oversized(socket, filter->prefix != NULL ? filter->prefix : "", filter->prefix_length,
                        settings->context);
}

/* Drops the rest of an oversized message, and the data after it, up to the close frame. */
static void skip_frames(struct socket *socket)
{
    uint8_t bytes[4096];
    int rounds = 0;
    ssize_t length = read_bytes(socket, bytes, sizeof bytes);
    while (length > 0 && !socket->filter.skipper.has_closed) {
        frame_filter_feed(&socket->filter, bytes, (size_t)length, 0);
        length = ++rounds < DROP_ROUNDS ? read_bytes(socket, bytes, sizeof bytes) : 0;
    }
    if (socket->oversized_ms == 0)
        socket->oversized_ms = clock_boot_ms();
    body_clear(&socket->message); /* frames of the message that were received before */
    socket->has_message = false;
    if (!socket->is_trusted || frame_filter_has_prefix(&socket->filter))
        report_oversize(socket);
    socket_continue(socket);
}

static void read_frames(struct socket *socket)
{
    socket->turn_bytes = socket->turn_frames = 0;
    if (socket->filter.is_oversized) {
        skip_frames(socket);
        return;
    }
    int result = wslay_event_want_read(socket->frames) ? wslay_event_recv(socket->frames) : 0;
    if (socket->filter.is_oversized && !socket->is_lost && socket->state == SOCKET_OPEN) {
        skip_frames(socket);
        return;
    }
    if (result == 0 || socket->is_lost) {
        socket_continue(socket);
        return;
    }
    refuse_frame(socket);
}

/* ---- Refused and closing sockets ---- */

static void drop_bytes(struct socket *socket)
{
    uint8_t bytes[4096];
    int rounds = 0;
    ssize_t length = read_bytes(socket, bytes, sizeof bytes);
    while (length > 0) {
        if (socket->state == SOCKET_REFUSED &&
            frame_discard_feed(&socket->skipper, bytes, (size_t)length)) {
            socket_linger(socket);
            return;
        }
        length = ++rounds < DROP_ROUNDS ? read_bytes(socket, bytes, sizeof bytes) : 0;
    }
    if (length < 0)
        socket_leave(socket);
    else
        socket_watch(socket, false);
}

/* Sends the refusal's close frame, without wslay. */
static void socket_refuse(struct socket *socket)
{
    uint8_t frame[128] = {0x88};
    size_t length = strnlen(socket->refusal, REFUSAL_MOST);
    frame[1] = (uint8_t)(2 + length);
    frame[2] = SOCKET_POLICY >> 8;
    frame[3] = SOCKET_POLICY & 0xFF;
    memcpy(frame + 4, socket->refusal, length);
    (void)!send(socket->fd, frame, 4 + length, MSG_NOSIGNAL | MSG_DONTWAIT);
    socket->state = SOCKET_REFUSED;
    socket->has_ended = true;
    socket->deadline_ms = clock_boot_ms() + CLOSE_WAIT_MS;
    drop_bytes(socket);
}

/* ---- Called by the loop ---- */

struct socket *socket_new(struct sockets *sockets, const struct socket_offer *offer)
{
    struct socket *socket = bw_alloc(sizeof *socket);
    socket->sockets = sockets;
    socket->handle = offer->handle;
    socket->fd = offer->fd;
    socket->refusal = offer->refusal != NULL ? bw_copy(offer->refusal) : NULL;
    socket->seen_ms = socket->pinged_ms = socket->opened_ms = clock_boot_ms();
    snprintf(socket->name, sizeof socket->name, "%s", offer->name);
    if (offer->extra_length == 0)
        return socket;
    socket->extra = bw_alloc(offer->extra_length);
    memcpy(socket->extra, offer->extra, offer->extra_length);
    socket->extra_length = offer->extra_length;
    return socket;
}

void socket_begin(struct socket *socket)
{
    struct sockets *sockets = socket->sockets;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = socket};
    int on = 1;
    socket->watched = event.events;
    fcntl(socket->fd, F_SETFL, fcntl(socket->fd, F_GETFL) | O_NONBLOCK);
    setsockopt(socket->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    socket->number = ++sockets->last_number;
    HASH_ADD(hh, sockets->sockets, number, sizeof socket->number, socket);
    bool is_watched = epoll_ctl(sockets->epoll_fd, EPOLL_CTL_ADD, socket->fd, &event) == 0;
    if (is_watched && socket->refusal != NULL && !sockets->is_shut) {
        socket_refuse(socket);
        return;
    }
    if (!is_watched || sockets->is_shut || !start_frames(socket)) {
        socket->has_ended = true;
        socket_leave(socket);
        return;
    }
    sockets->settings.opened(socket, &socket->data, sockets->settings.context);
    read_frames(socket); /* data that came with the handshake */
}

void socket_ready(struct socket *socket, uint32_t events)
{
    if (socket->state == SOCKET_GONE)
        return;
    if (is_unread(socket) && (events & (EPOLLHUP | EPOLLERR)) != 0)
        socket_leave(socket);
    else if (socket->state == SOCKET_LINGERING || socket->state == SOCKET_REFUSED)
        drop_bytes(socket);
    else if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0)
        read_frames(socket);
    else
        socket_continue(socket);
}

static void socket_ping(struct socket *socket, int64_t now_ms)
{
    static const struct wslay_event_msg message = {.opcode = WSLAY_PING};
    socket->pinged_ms = now_ms;
    if (wslay_event_queue_msg(socket->frames, &message) == 0)
        socket_continue(socket);
}

/* Checks the deadline of the message that is being received, and retries a starved socket. False:
 * the socket is not open any more. */
static bool sweep_message(struct socket *socket, int64_t now_ms)
{
    const struct sockets_settings *settings = &socket->sockets->settings;
    if (!socket->has_message)
        return true;
    if (!socket->is_starved && now_ms >= socket->message_deadline_ms)
        socket_close(socket, SOCKET_POLICY, "the message was not received within the time limit");
    else if (socket->is_starved && now_ms >= socket->starved_ms + STARVED_MS)
        socket_close(socket, SOCKET_TRY_AGAIN, "too many large messages are in flight");
    if (!socket->is_starved)
        return socket->state == SOCKET_OPEN;
    socket->seen_ms = now_ms; /* data of a starved socket is not read, so silence means nothing */
    socket->message_deadline_ms = now_ms + settings->request_timeout_ms;
    settings->seen(socket, settings->context);
    read_frames(socket);
    return socket->state == SOCKET_OPEN;
}

void socket_sweep(struct socket *socket, int64_t now_ms)
{
    int64_t every_ms = socket->sockets->settings.ping_every_ms;
    int64_t silent_ms = now_ms - socket->seen_ms;
    if (socket->state != SOCKET_OPEN) {
        if (now_ms >= socket->deadline_ms)
            socket_leave(socket);
        return;
    }
    if (socket->oversized_ms != 0) {
        if (now_ms - socket->oversized_ms > OVERSIZE_WAIT_MS)
            socket_leave(socket);
        else if (now_ms - socket->oversized_ms > PREFIX_WAIT_MS)
            report_oversize(socket);
        return;
    }
    if (!sweep_message(socket, now_ms))
        return;
    if (silent_ms > SILENCES * every_ms && silent_ms > CLOSE_WAIT_MS)
        socket_leave(socket);
    else if (!socket->is_trusted && now_ms - socket->opened_ms > STRANGER_MS)
        socket_close(socket, SOCKET_POLICY, "no worker has registered on this websocket");
    else if (silent_ms >= every_ms && now_ms - socket->pinged_ms >= every_ms)
        socket_ping(socket, now_ms);
}

void socket_drop(struct socket *socket)
{
    socket_leave(socket);
}

void socket_free(struct socket *socket)
{
    if (socket->frames != NULL)
        wslay_event_context_free(socket->frames);
    frame_filter_clear(&socket->filter);
    body_clear(&socket->message);
    free(socket->extra);
    free(socket->refusal);
    free(socket);
}

/* ---- Called by the callbacks ---- */

uint64_t socket_number(const struct socket *socket)
{
    return socket->number;
}

const char *socket_name(const struct socket *socket)
{
    return socket->name;
}

void *socket_data(const struct socket *socket)
{
    return socket->data;
}

void socket_trust(struct socket *socket)
{
    socket->is_trusted = true;
}

/* Only queues the message, since this may be called from wslay's callback. The loop sends it. */
void socket_send(struct socket *socket, const char *text, size_t length)
{
    const struct wslay_event_msg message = {
        .opcode = WSLAY_TEXT_FRAME, .msg = (const uint8_t *)text, .msg_length = length};
    if (socket->state == SOCKET_OPEN && wslay_event_queue_msg(socket->frames, &message) == 0)
        socket_watch(socket, true);
}

void socket_close(struct socket *socket, unsigned code, const char *reason)
{
    if (socket->state != SOCKET_OPEN)
        return;
    socket_end(socket);
    body_clear(&socket->message);
    socket->has_message = socket->is_starved = false;
    socket->state = SOCKET_CLOSING;
    socket->deadline_ms = clock_boot_ms() + CLOSE_WAIT_MS;
    /* Queued messages are sent first, since wslay would send the close frame before them. */
    if (wslay_event_send(socket->frames) != 0)
        socket->is_lost = true;
    wslay_event_queue_close(socket->frames, (uint16_t)code, (const uint8_t *)reason,
                            strlen(reason));
    socket_watch(socket, true);
}
