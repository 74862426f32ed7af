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

enum { HEAD_SIZE = 1024, FIRST_ROOM = 1024 };

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
    link->wants_write = false;
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

/* The request is over, without an answer. */
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

/* On this machine a connection is there at once, or refused. */
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
            return; /* the end is read next */
        link->out_sent += (size_t)sent;
    }
    if (link->wants_write)
        watch(link, EPOLL_CTL_MOD, false);
}

void link_send(struct link *link, const char *method, const char *path, const char *body,
               size_t length)
{
    reserve(&link->out, &link->out_room, HEAD_SIZE + length);
    int head = snprintf(link->out, HEAD_SIZE, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path,
                        link->target->host);
    if (body != NULL || strcmp(method, "POST") == 0)
        head += snprintf(link->out + head, HEAD_SIZE - (size_t)head,
                         "Content-Type: application/json\r\nContent-Length: %zu\r\n", length);
    head += snprintf(link->out + head, HEAD_SIZE - (size_t)head, "\r\n");
    if (length > 0)
        memcpy(link->out + head, body, length);
    link->out_length = (size_t)head + length;
    link->out_sent = link->in_length = 0;
    link->is_waiting = true;
    link->sent_ns = now_ns();
    if (link->fd < 0 && !open_socket(link)) {
        lose(link);
        return;
    }
    flush_out(link);
}

/* The value of Content-Length, 0 without one. */
static size_t content_length(const char *head)
{
    static const char name[] = "\r\ncontent-length:";
    const char *at = strcasestr(head, name);
    return at == NULL ? 0 : strtoul(at + sizeof name - 1, NULL, 10);
}

/* Hands on what is complete. */
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
    link->is_waiting = false;
    link->answered(link, &answer);
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
