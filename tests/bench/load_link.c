#include "tests/bench/load_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tests/bench/samples.h"

enum {
    HEAD_SIZE = 1024,
    FIRST_ROOM = 1024,
    FRAME_HEAD = 8,
    FRAME_FINAL = 0x80,
    FRAME_MASKED = 0x80
};

bool target_parse(const char *url, struct target *target)
{
    unsigned port = 0;
    char address[32];
    memset(target, 0, sizeof *target);
    if (sscanf(url, "http://%31[0-9.]:%u", address, &port) != 2 || port > 65535)
        return false;
    target->address.sin_family = AF_INET;
    target->address.sin_port = htons((uint16_t)port);
    snprintf(target->host, sizeof target->host, "%s:%u", address, port);
    return inet_pton(AF_INET, address, &target->address.sin_addr) == 1;
}

void link_init(struct link *link, int epoll, const struct target *target,
               void (*answered)(struct link *link, const struct answer *answer), void *owner)
{
    memset(link, 0, sizeof *link);
    link->fd = -1;
    link->epoll = epoll;
    link->target = target;
    link->answered = answered;
    link->owner = owner;
}

static void disconnect(struct link *link)
{
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    link->in_length = link->out_length = link->out_sent = 0;
    link->wants_write = link->is_socket = false;
}

void link_close(struct link *link)
{
    disconnect(link);
    free(link->in);
    free(link->out);
    link->in = link->out = NULL;
    link->in_room = link->out_room = 0;
}

static void reserve(char **buffer, size_t *room, size_t wanted)
{
    if (wanted <= *room)
        return;
    *room = wanted < FIRST_ROOM ? FIRST_ROOM : wanted * 2;
    *buffer = realloc(*buffer, *room);
    if (*buffer == NULL)
        abort();
}

/* Ends the request without an answer. */
static void lose(struct link *link)
{
    bool was_waiting = link->is_waiting;
    const struct answer lost = {.status = 0, .body = "", .length = 0};
    disconnect(link);
    link->is_waiting = false;
    if (was_waiting)
        link->answered(link, &lost);
}

static void watch(struct link *link, int operation, bool wants_write)
{
    struct epoll_event event = {.events = EPOLLIN | (wants_write ? EPOLLOUT : 0), .data.ptr = link};
    link->wants_write = wants_write;
    epoll_ctl(link->epoll, operation, link->fd, &event);
}

/* Connects; on the local machine that succeeds or fails at once. */
static bool open_socket(struct link *link)
{
    const int one = 1;
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        return false;
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    const struct sockaddr_in *address = &link->target->address;
    if (connect(link->fd, (const struct sockaddr *)address, sizeof *address) != 0) {
        disconnect(link);
        return false;
    }
    watch(link, EPOLL_CTL_ADD, false);
    return true;
}

static void flush_out(struct link *link)
{
    while (link->out_sent < link->out_length) {
        ssize_t sent = send(link->fd, link->out + link->out_sent, link->out_length - link->out_sent,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
            if (!link->wants_write)
                watch(link, EPOLL_CTL_MOD, true);
            return;
        }
        if (sent < 0)
            return; /* the next read returns the end */
        link->out_sent += (size_t)sent;
    }
    if (link->wants_write)
        watch(link, EPOLL_CTL_MOD, false);
}

static void send_request(struct link *link, size_t length)
{
    link->out_length = length;
    link->out_sent = link->in_length = 0;
    link->is_waiting = true;
    link->sent_ns = now_ns();
    if (link->fd < 0 && !open_socket(link)) {
        lose(link);
        return;
    }
    flush_out(link);
}

static int write_head(struct link *link, const char *method, const char *path)
{
    int head = snprintf(link->out, HEAD_SIZE, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path,
                        link->target->host);
    if (link->bearer != NULL)
        head += snprintf(link->out + head, HEAD_SIZE - (size_t)head, "Authorization: Bearer %s\r\n",
                         link->bearer);
    return head;
}

void link_send(struct link *link, const char *method, const char *path, const char *body,
               size_t length)
{
    reserve(&link->out, &link->out_room, HEAD_SIZE + length);
    int head = write_head(link, method, path);
    if (body != NULL || strcmp(method, "POST") == 0)
        head += snprintf(link->out + head, HEAD_SIZE - (size_t)head,
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n", length);
    head += snprintf(link->out + head, HEAD_SIZE - (size_t)head, "\r\n");
    if (length > 0)
        memcpy(link->out + head, body, length);
    send_request(link, (size_t)head + length);
}

void link_upgrade(struct link *link, const char *path)
{
    reserve(&link->out, &link->out_room, HEAD_SIZE);
    int head = write_head(link, "GET", path);
    head += snprintf(link->out + head, HEAD_SIZE - (size_t)head,
                     "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                     "Sec-WebSocket-Key: YmVuY2gtbG9hZC1ncmFkZQ==\r\n\r\n");
    send_request(link, (size_t)head);
}

/* The mask is 0, so the payload is unchanged. */
void link_send_frame(struct link *link, enum frame_kind kind, const char *text, size_t length)
{
    if (link->fd < 0)
        return; /* its loss was reported already */
    if (link->out_sent == link->out_length)
        link->out_sent = link->out_length = 0;
    reserve(&link->out, &link->out_room, link->out_length + FRAME_HEAD + length);
    unsigned char *at = (unsigned char *)link->out + link->out_length;
    *at++ = (unsigned char)(FRAME_FINAL | kind);
    if (length < 126) {
        *at++ = (unsigned char)(FRAME_MASKED | length);
    } else {
        *at++ = FRAME_MASKED | 126;
        *at++ = (unsigned char)(length >> 8);
        *at++ = (unsigned char)length;
    }
    memset(at, 0, 4);
    memcpy(at + 4, text, length);
    link->out_length = (size_t)(at + 4 + length - (unsigned char *)link->out);
    flush_out(link);
}

/* The value of Content-Length, 0 without one. */
static size_t content_length(const char *head)
{
    static const char name[] = "\r\ncontent-length:";
    const char *at = strcasestr(head, name);
    return at == NULL ? 0 : strtoul(at + sizeof name - 1, NULL, 10);
}

/* Passes a complete answer on. */
static void read_answer(struct link *link)
{
    link->in[link->in_length] = '\0';
    char *end = strstr(link->in, "\r\n\r\n");
    if (end == NULL || !link->is_waiting)
        return;
    end[2] = '\0';
    size_t head = (size_t)(end + 4 - link->in), length = content_length(link->in);
    if (link->in_length < head + length) {
        end[2] = '\r';
        return;
    }
    const struct answer answer = {.status = (int)strtol(link->in + sizeof "HTTP/1.1", NULL, 10),
                                  .body = link->in + head,
                                  .length = length};
    link->is_socket = link->is_waiting = answer.status == 101;
    if (link->is_socket)
        link->in_length = 0;
    link->answered(link, &answer);
}

/* Parses a frame of the server. Returns its total length; 0: incomplete. */
static size_t parse_frame(const unsigned char *in, size_t there, size_t *head, size_t *length)
{
    if (there < 2)
        return 0;
    *head = in[1] < 126 ? 2 : in[1] == 126 ? 4 : 10;
    *length = in[1];
    if (there < *head)
        return 0;
    if (*head > 2)
        *length = 0;
    for (size_t i = 2; i < *head; i++)
        *length = *length << 8 | in[i];
    return there < *head + *length ? 0 : *head + *length;
}

/* Passes the messages on; ignores pongs; ends after a close frame. */
static void read_frames(struct link *link)
{
    size_t at = 0, head, length, whole;
    for (;;) {
        unsigned char *frame = (unsigned char *)link->in + at;
        whole = parse_frame(frame, link->in_length - at, &head, &length);
        if (whole == 0)
            break;
        char *end = (char *)frame + whole, kept = *end;
        const struct answer answer = {
            .status = 200, .body = (char *)frame + head, .length = length};
        *end = '\0';
        if ((frame[0] & 0x0f) == FRAME_TEXT)
            link->answered(link, &answer);
        *end = kept;
        at += whole;
    }
    memmove(link->in, link->in + at, link->in_length - at);
    link->in_length -= at;
}

static void take_in(struct link *link)
{
    for (;;) {
        reserve(&link->in, &link->in_room, link->in_length + FIRST_ROOM);
        size_t room = link->in_room - link->in_length - 1;
        ssize_t got = recv(link->fd, link->in + link->in_length, room, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            break;
        if (got <= 0) {
            lose(link);
            return;
        }
        link->in_length += (size_t)got;
        if ((size_t)got < room)
            break;
    }
    if (link->is_socket)
        read_frames(link);
    else
        read_answer(link);
}

void link_ready(struct link *link, uint32_t events)
{
    if (link->fd < 0)
        return;
    if (events & EPOLLOUT)
        flush_out(link);
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        take_in(link);
}
