/*
 * sockets: the websocket server of this replica. One thread with one epoll set owns all
 * connections. This module implements the framing (by wslay), the closing handshake, the pings and
 * the limits. The callbacks in its settings, which all run on its thread, interpret the messages.
 *
 * Messages are counted in the memory budget, and allocated as they arrive, independent of their
 * declared length. A long message waits, with its socket unread, until there is memory for all of
 * it and for its parsed form, so that every message that was started can be completed. A socket
 * whose peer sends a message too slowly is closed.
 *
 * At most 1 MiB or 256 frames of each socket are read before the other sockets are served, so that
 * a fast sender can't occupy the loop. A socket whose peer does not read is dropped when 100
 * messages, including pongs, are queued for it.
 *
 * Closing: the side that begins waits for the other's close frame. The server reads and drops data
 * that still arrives, for at most two seconds; then the server closes the TCP connection first. The
 * dropped data is limited to 1 MiB; for a trusted socket to four messages of the maximum size, but
 * at least 16 MiB. When the limit is reached nothing more is read until the socket is closed.
 *
 * Callers: the HTTP server hands over upgraded connections; any thread posts functions to be run on
 * the loop's thread. A `struct socket` may be used only on that thread; other threads refer to a
 * socket by its number.
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
    SOCKET_GOING_AWAY = 1001,
    SOCKET_PROTOCOL_ERROR = 1002,
    SOCKET_POLICY = 1008,
    SOCKET_TOO_LARGE = 1009,
    SOCKET_INTERNAL_ERROR = 1011,
    SOCKET_TRY_AGAIN = 1013
};

/* Limit of a message of an untrusted socket, in bytes. */
enum { SOCKET_STRANGER_BYTES = 4096 };

struct sockets_settings {
    size_t max_message_bytes;     /* for trusted sockets; others: SOCKET_STRANGER_BYTES */
    struct memory_budget *memory; /* for messages, from their first byte; borrowed */
    int64_t request_timeout_ms;   /* for a message, plus the time that its parts add:
                                     api/http/request_timeout.h */
    int64_t ping_every_ms;        /* a socket that has sent nothing for this long is pinged */
    /* The callbacks below run on the loop's thread, and must not wait.
     *
     * A socket is open. *data belongs to the callbacks, and is kept with the socket. */
    void (*opened)(struct socket *socket, void **data, void *context);
    /* A message is complete. The callback may take the body; then it must zero *message. */
    void (*message)(struct socket *socket, struct body *message, void *context);
    /* A message over the limit is being received. It is dropped except for its beginning, which may
     * be empty. The callback must call socket_close with SOCKET_TOO_LARGE, now or within 20 s. */
    void (*oversized)(struct socket *socket, const char *prefix, size_t length, void *context);
    /* The peer is alive: a ping, a pong, a message or, from time to time, a part of a message has
     * arrived. */
    void (*seen)(struct socket *socket, void *context);
    /* The socket has ended. Called once, also after socket_close. */
    void (*ended)(struct socket *socket, void *context);
    void *context;
};

/* Creates *sockets, and starts the thread. `settings` are copied. BW_INTERNAL: no thread or no
 * descriptor. */
enum bw_code sockets_open(const struct sockets_settings *settings, struct sockets **sockets,
                          struct bw_error *error) BW_CHECKED;

/* Accepts no more sockets, and begins to close all with 1001; each has some seconds for that. Does
 * not wait: the caller polls sockets_count. */
void sockets_shut(struct sockets *sockets);

/* Calls sockets_shut if that was not done, drops the sockets that are still open after three
 * seconds, and ends the thread. Waits. NULL is allowed. */
void sockets_close(struct sockets *sockets);

/* An upgraded connection. `extra` (copied): bytes that were read before the upgrade. With a
 * `refusal` (copied; at most 123 bytes of it are sent) the connection only gets a close frame with
 * it, and none of the callbacks is called. */
struct socket_offer {
    struct MHD_UpgradeResponseHandle *handle;
    int fd;
    const char *name; /* copied */
    const char *extra;
    size_t extra_length;
    const char *refusal; /* NULL: accepted */
};
/* Takes the connection, in any case. From any thread; does not wait. */
void sockets_take(struct sockets *sockets, const struct socket_offer *offer);

/* Runs function(argument) on the loop's thread, in order. With `reads_first`, only after all data
 * that had reached the sockets before has been read. Functions that are posted after the start of
 * sockets_close are run by it. From any thread. */
void sockets_post(struct sockets *sockets, bool reads_first, void (*function)(void *argument),
                  void *argument);

/* The number of connections that are not closed yet. From any thread. */
size_t sockets_count(struct sockets *sockets);

/* ---- On the loop's thread ---- */

/* The socket of this number, borrowed until it ends. NULL: it has ended. */
struct socket *sockets_find(struct sockets *sockets, uint64_t number);

uint64_t socket_number(const struct socket *socket);
const char *socket_name(const struct socket *socket);
void *socket_data(const struct socket *socket);

/* Allows the socket to send messages up to max_message_bytes from now on. */
void socket_trust(struct socket *socket);

/* Queues a text message (copied). Ignored if the socket is closing. */
void socket_send(struct socket *socket, const char *text, size_t length);

/* Begins to close the socket; `ended` is called before this returns. `reason` (copied): at most 123
 * bytes. Ignored if the socket is closing. */
void socket_close(struct socket *socket, unsigned code, const char *reason);

#endif
