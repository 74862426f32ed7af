/*
 * status_server: a small HTTP server for read-only pages: GET and HEAD of a few paths, without
 * request bodies.
 *
 * One thread serves all connections and never blocks on one. A connection carries one request; it
 * is answered and closed. A request must be complete within STATUS_REQUEST_MS. At the limit of
 * connections a new one replaces the oldest, so idle connections can't lock out others. Every
 * request is answered with valid HTTP; refusals are JSON. On a loopback address a Host that is a
 * name other than localhost is refused with 403: a web page whose name was rebound (DNS rebinding)
 * must not read the answers. Every answer has an X-Request-Id, and a line in the log: at level
 * debug unless it is a refusal.
 */
#ifndef SCHEDULER_IO_STATUS_SERVER_H
#define SCHEDULER_IO_STATUS_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

enum { STATUS_REQUEST_MS = 5000, STATUS_CONNECTIONS = 128, STATUS_CONNECTIONS_LEAST = 16 };

struct status_answer {
    int status;        /* 200, 404, 405 or 503 */
    const char *type;  /* of the body; static */
    const char *allow; /* the header of 405; static; NULL: none */
    const char *error; /* sentence of a refusal, from which the server makes the body; static */
    char *body;        /* without `error`; the server frees it */
};

/* Answers a request to `path`. Called on the server's thread; must not block. `method` may be any
 * text; for HEAD the server sends the answer without its body. */
typedef struct status_answer status_answer_function(void *context, const char *method,
                                                    const char *path);

struct status_server;

/* Listens on address:port and starts the thread, for at most `most` connections (STATUS_CONNECTIONS
 * or fewer). BW_BAD_REQUEST: the port can't be opened; the sentence names `flag`. BW_INTERNAL: the
 * thread could not be started. */
enum bw_code status_server_open(const char *flag, const char *address, uint16_t port, size_t most,
                                status_answer_function *answer, void *context,
                                struct status_server **server, struct bw_error *error) BW_CHECKED;

/* Ends the thread and closes all connections. NULL is allowed. */
void status_server_close(struct status_server *server);

#endif
