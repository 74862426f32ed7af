/*
 * connection_internal: the state of websockets, for loop.c (all websockets: sockets_*) and
 * connection.c (one websocket: socket_*), which together implement server.h. All functions but
 * socket_new run on the loop's thread.
 *
 * States: OPEN: messages are exchanged. CLOSING: our close frame is queued or sent, and the peer's
 * is expected. REFUSED: the same for a socket that was refused. LINGERING: nothing more is sent,
 * and received data is dropped until the peer has closed. GONE: the socket is to be freed.
 */
#ifndef API_WEBSOCKET_CONNECTION_INTERNAL_H
#define API_WEBSOCKET_CONNECTION_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <uthash.h>
#include <wslay/wslay.h>

#include "api/websocket/frame_filter.h"
#include "api/websocket/discard.h"
#include "api/websocket/server.h"

struct posted;

struct sockets {
    struct sockets_settings settings;
    int epoll_fd, wake_fd;
    pthread_t thread;
    atomic_size_t count;
    atomic_bool is_over;
    pthread_mutex_t mutex; /* guards the list of posted functions */
    struct posted *head, **tail;
    /* for the loop's thread alone: */
    struct socket *sockets; /* hash table by number */
    struct socket *dead;    /* to be freed at the end of the loop's turn */
    uint64_t last_number;
    int64_t swept_ms;
    bool is_shut;
};

enum socket_state { SOCKET_OPEN, SOCKET_CLOSING, SOCKET_REFUSED, SOCKET_LINGERING, SOCKET_GONE };

struct socket {
    struct sockets *sockets;
    uint64_t number; /* key */
    enum socket_state state;
    bool has_ended;   /* `ended` was called, or is not to be called */
    bool is_lost;     /* the peer has closed, or the connection broke */
    uint32_t watched; /* events that are registered with epoll */
    char name[WORKER_ID_SIZE];
    void *data;
    struct MHD_UpgradeResponseHandle *handle;
    int fd;
    char *extra; /* own: bytes that were read before the upgrade */
    size_t extra_length, extra_used;
    wslay_event_context_ptr frames; /* wslay's context; NULL: the socket is refused */
    char *refusal;       /* own: the reason of the refusal; NULL: the socket is accepted */
    struct body message; /* the message that is being received */
    bool has_message;    /* a message is being received */
    bool is_control;     /* the frame that is being read is a control frame */
    bool is_starved;     /* no memory for the rest of the message, so nothing is read */
    size_t turn_bytes, turn_frames; /* read since epoll reported data */
    size_t discarded;               /* bytes read and dropped */
    size_t message_known; /* the message's length, as far as its frames have declared it */
    int64_t starved_ms;   /* clock_boot_ms since when the socket is starved */
    int64_t message_deadline_ms, notified_ms;
    struct frame_discard skipper; /* for a refused socket */
    struct frame_filter filter;
    int64_t oversized_ms; /* clock_boot_ms since when a message that is too large is being received;
                             0: none is */
    bool is_oversize_reported;
    int64_t deadline_ms; /* for closing or lingering */
    int64_t seen_ms, pinged_ms, opened_ms;
    bool is_trusted;
    struct socket *next_dead;
    UT_hash_handle hh;
};

/* Returns a new socket, never NULL; `offer` is copied. From any thread. */
struct socket *socket_new(struct sockets *sockets, const struct socket_offer *offer);

/* Registers the socket with epoll, and calls `opened`. */
void socket_begin(struct socket *socket);

/* Handles events of the socket's descriptor. */
void socket_ready(struct socket *socket, uint32_t events);

/* Handles deadlines, pings and missing pongs. `now_ms`: clock_boot_ms. */
void socket_sweep(struct socket *socket, int64_t now_ms);

/* Closes the socket at once, in any state, without a close frame. */
void socket_drop(struct socket *socket);

/* Frees a socket that is GONE. */
void socket_free(struct socket *socket);

#endif
