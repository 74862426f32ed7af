/*
 * acceptor: takes new connections from a listening socket, while the connection table has room for
 * them, and gives them to the server. When descriptors or memory run out it pauses until a
 * connection is gone, a tenth of a second at most, instead of trying again at once. One thread.
 * Callers: the HTTP server. Open and close are for one thread.
 */
#ifndef API_HTTP_ACCEPTOR_H
#define API_HTTP_ACCEPTOR_H

#include <sys/socket.h>

#include "api/http/connection_table.h"
#include "common/base/error.h"

struct acceptor;

struct acceptor_settings {
    int listener;                   /* non-blocking; the acceptor's to close */
    struct connection_table *table; /* borrowed */
    const char *name;               /* in logs; borrowed */
    /* Takes the descriptor in any case. On the acceptor's thread. */
    void (*take)(int fd, const struct sockaddr *address, socklen_t length, void *context);
    void *context;
};

/* BW_INTERNAL: no thread or no descriptor; then the listener is still the caller's. */
enum bw_code acceptor_open(const struct acceptor_settings *settings, struct acceptor **acceptor,
                           struct bw_error *error) BW_CHECKED;

/* Ends the thread and closes the listener: `take` is not running and is not called any more. NULL
 * is fine. */
void acceptor_close(struct acceptor *acceptor);

#endif
