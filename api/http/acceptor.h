/*
 * acceptor: accepts connections from a listening socket while the connection table has room for
 * them, and gives them to the HTTP server. When descriptors or memory run out, it pauses until a
 * connection is closed, at most 100 ms, instead of retrying at once. One thread. Caller: the HTTP
 * server. acceptor_open and acceptor_close are for one thread.
 */
#ifndef API_HTTP_ACCEPTOR_H
#define API_HTTP_ACCEPTOR_H

#include <sys/socket.h>

#include "api/http/connection_table.h"
#include "common/base/error.h"

struct acceptor;

struct acceptor_settings {
    int listener;                   /* non-blocking; the acceptor closes it */
    struct connection_table *table; /* borrowed */
    const char *name;               /* in logs; borrowed */
    /* Takes the descriptor, in any case. Called on the acceptor's thread. */
    void (*take)(int fd, const struct sockaddr *address, socklen_t length, void *context);
    void *context;
};

/* Creates *acceptor, and starts the thread. `settings` are copied. BW_INTERNAL: no thread or no
 * descriptor; then the caller still owns the listener. */
enum bw_code acceptor_open(const struct acceptor_settings *settings, struct acceptor **acceptor,
                           struct bw_error *error) BW_CHECKED;

/* Ends the thread and closes the listener. After this, `take` is not running and is not called any
 * more. NULL is allowed. */
void acceptor_close(struct acceptor *acceptor);

#endif
