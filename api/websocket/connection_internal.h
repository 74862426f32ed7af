/*
 * socket_internal: one websocket, for sockets.c and socket.c alone. All of it runs on the loop's
 * thread, but for socket_new.
 *
 * OPEN: messages come and go. CLOSING: our close frame is on its way or sent, the peer's is waited
 * for. REFUSED: the same for one that was never let in. LINGERING: nothing more is sent, what comes
 * is dropped until the peer has closed. GONE: to be freed.
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
    pthread_mutex_t mutex; /* guards the list of what was posted */
    struct posted *head, **tail;
    /* the loop's thread alone */
    struct socket *sockets; /* by number */
    struct socket *dead;    /* to be freed at the end of the round */
    uint64_t last_number;
    int64_t swept_ms;
    bool is_shut;
};

enum socket_state { SOCKET_OPEN, SOCKET_CLOSING, SOCKET_REFUSED, SOCKET_LINGERING, SOCKET_GONE };

struct socket {
    struct sockets *sockets;
    uint64_t number; /* key */
    enum socket_state state;
    bool has_ended;   /* `ended` was called, or is not owed */
    bool is_lost;     /* the peer has gone, or the connection broke */
    uint32_t watched; /* events that epoll looks for */
    char name[WORKER_ID_SIZE];
    void *data;
    struct MHD_UpgradeResponseHandle *handle;
    int fd;
    char *extra; /* own: bytes that were read before the upgrade */
    size_t extra_length, extra_used;
    wslay_event_context_ptr frames; /* NULL: refused */
    char *refusal;                  /* own; NULL: welcome */
    struct body message;            /* the one that arrives */
    bool has_message;               /* some of it has come */
    bool is_control;                /* the frame that is being read is none of a message */
    bool is_starved;                /* there is no room for more of the message: nothing is read */
    size_t turn_bytes, turn_frames; /* read since epoll said that there is something */
    size_t discarded;               /* bytes read that nobody wants */
    size_t message_known;           /* its length, as far as its frames have said */
    int64_t starved_ms;             /* since when it is starved, while it is */
    int64_t message_deadline_ms, told_ms;
    struct frame_discard skipper; /* of one that is refused */
    struct frame_filter filter;
    int64_t oversized_ms; /* since when a message too large is coming; 0: none is */
    bool is_oversize_told;
    int64_t deadline_ms; /* of closing or lingering */
    int64_t heard_ms, pinged_ms, opened_ms;
    bool is_trusted;
    struct socket *next_dead;
    UT_hash_handle hh;
};

/* From any thread. */
struct socket *socket_new(struct sockets *sockets, const struct socket_offer *offer);

/* Enters it into the loop. */
void socket_begin(struct socket *socket);

/* Its descriptor has something to be done. */
void socket_ready(struct socket *socket, uint32_t events);

/* Deadlines, pings, silence. */
void socket_sweep(struct socket *socket, int64_t now_ms);

/* Ends it whatever it waits for. */
void socket_drop(struct socket *socket);

void socket_free(struct socket *socket);

#endif
