/*
 * sockets: the websockets of this replica: one thread, one epoll set, every connection its own. It
 * does the framing (by wslay), the closing handshake, the pings and the limits; what the messages
 * mean is the business of the callbacks in its settings, which all run on its thread.
 *
 * Messages are counted in the memory budget, and allocated as they come, whatever length they claim
 * to have. A long one waits, its socket unread, until there is room for all of it and for what is
 * parsed of it: so what has begun can end. Who takes too long for one is closed.
 *
 * Of each socket a MiB or 256 frames are read before the others get their turn, so that nobody who
 * sends fast keeps the loop. Who does not read its pongs is dropped once a hundred wait.
 *
 * Closing: whoever begins, the other's close frame is waited for, reading and dropping what still
 * comes, two seconds at most; then the server closes TCP, first. What is dropped has a limit: a
 * MiB; of a trusted socket four messages, 16 MiB at least. Behind that nothing is read until it is
 * closed.
 *
 * Callers: the HTTP server hands over upgraded connections; any thread posts functions to be run on
 * the loop's thread. A `struct socket` may be touched there alone; elsewhere it is known by its
 * number.
 */
#ifndef API_WEBSOCKET_SERVER_H
#define API_WEBSOCKET_SERVER_H

#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/http/body.h"
#include "common/base/error.h"
#include "common/domain/job.h"

struct sockets;
struct socket;

enum {
    SOCKET_NORMAL = 1000,
    SOCKET_GOING_AWAY = 1001,
    SOCKET_PROTOCOL_ERROR = 1002,
    SOCKET_POLICY = 1008,
    SOCKET_TOO_LARGE = 1009,
    SOCKET_INTERNAL_ERROR = 1011,
    SOCKET_TRY_AGAIN = 1013
};

/* How long a message may be of a socket that is not trusted. */
enum { SOCKET_STRANGER_BYTES = 4096 };

struct sockets_settings {
    size_t max_message_bytes;     /* of those that are trusted; until then little */
    struct memory_budget *memory; /* for messages, from their first byte; borrowed */
    int64_t request_timeout_ms;   /* for a message, plus what its parts earn:
                                     api/http/request_timeout.h */
    int64_t ping_every_ms;        /* one that was not heard for so long is pinged */
    /* *data is the callbacks' own, kept with the socket. */
    void (*opened)(struct socket *socket, void **data, void *context);
    /* A message is whole. It may be taken: then *message is to be left all zero. */
    void (*message)(struct socket *socket, struct body *message, void *context);
    /* A message over the limit is coming, and is thrown away but for its beginning, which may be
     * empty: socket_close is owed, now or later, with SOCKET_TOO_LARGE. */
    void (*oversized)(struct socket *socket, const char *prefix, size_t length, void *context);
    /* A ping, a pong, a message or, now and then, a part of one. */
    void (*heard)(struct socket *socket, void *context);
    /* It will say nothing more, and hear nothing more; called once, also after socket_close. */
    void (*ended)(struct socket *socket, void *context);
    void *context;
};

/* BW_INTERNAL: no thread. */
enum bw_code sockets_open(const struct sockets_settings *settings, struct sockets **sockets,
                          struct bw_error *error) BW_CHECKED;

/* Takes no more, and begins to close all with 1001; each has some seconds for that. Does not wait:
 * see sockets_count. */
void sockets_shut(struct sockets *sockets);

/* Shuts, if that was not done, drops those that are still there after three seconds, and ends the
 * thread. NULL is fine. */
void sockets_close(struct sockets *sockets);

/* An upgraded connection. `extra` is copied: bytes that were read already. With a `refusal`
 * (copied; 123 bytes of it are sent at most) nothing is kept for it but the frame that says so, and
 * none of the callbacks is called. */
struct socket_offer {
    struct MHD_UpgradeResponseHandle *handle;
    int fd;
    const char *name; /* copied */
    const char *extra;
    size_t extra_length;
    const char *refusal; /* NULL: welcome */
};
void sockets_take(struct sockets *sockets, const struct socket_offer *offer);

/* Runs function(argument) on the loop's thread, in order. With `reads_first` only once all that had
 * reached the sockets before has been read. After sockets_close has begun it is run there. */
void sockets_post(struct sockets *sockets, bool reads_first, void (*function)(void *argument),
                  void *argument);

size_t sockets_count(struct sockets *sockets);

/* ---- On the loop's thread ---- */

/* NULL: it has ended. */
struct socket *sockets_find(struct sockets *sockets, uint64_t number);

uint64_t socket_number(const struct socket *socket);
const char *socket_name(const struct socket *socket);
void *socket_data(const struct socket *socket);

/* It may send long messages from now on. */
void socket_trust(struct socket *socket);

/* Sends a text message. */
void socket_send(struct socket *socket, const char *text, size_t length);

/* Begins to close it; `ended` is called before this returns. */
void socket_close(struct socket *socket, unsigned code, const char *reason);

#endif
