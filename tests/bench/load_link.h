/*
 * link: one non-blocking kept-alive HTTP/1.1 connection, one request at a time; after an answer
 * 101, a websocket. For one thread; the loop calls link_ready. `answered` is called for each
 * answer, and for each message of a websocket with status 200.
 */
#ifndef BENCH_LOAD_LINK_H
#define BENCH_LOAD_LINK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct link;

/* The server for requests. */
struct target {
    struct sockaddr_in address;
    char host[64]; /* as in the header Host */
};

struct answer {
    int status; /* 0: the connection was lost */
    const char *body;
    size_t length; /* without the terminating NUL */
};

struct link {
    int fd, epoll;
    const struct target *target;
    void (*answered)(struct link *link, const struct answer *answer);
    void *owner;
    char *in, *out;
    size_t in_length, in_room, out_length, out_room, out_sent;
    bool wants_write, is_waiting; /* a websocket always waits */
    bool is_socket;
    const char *bearer; /* sent with every request, if set */
    int64_t sent_ns;    /* when the current request was sent */
};

/* Parses http://A.B.C.D:PORT. False: another form. */
bool target_parse(const char *url, struct target *target);

void link_init(struct link *link, int epoll, const struct target *target,
               void (*answered)(struct link *link, const struct answer *answer), void *owner);
void link_close(struct link *link);

/* Sends a request, and connects first if needed; `body` may be NULL. */
void link_send(struct link *link, const char *method, const char *path, const char *body,
               size_t length);

/* Requests a websocket; the answer is 101. */
void link_upgrade(struct link *link, const char *path);

enum frame_kind { FRAME_TEXT = 1, FRAME_PING = 9 };

/* Sends a frame of less than 64 KiB over a websocket. */
void link_send_frame(struct link *link, enum frame_kind kind, const char *text, size_t length);

/* Handles the epoll events of its socket. */
void link_ready(struct link *link, uint32_t events);

#endif
