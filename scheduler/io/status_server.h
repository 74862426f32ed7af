/*
 * status_server: HTTP for what only looks: GET and HEAD of a few paths, without bodies.
 *
 * One thread serves all connections and waits for none of them. Each connection is for one request:
 * it is answered and closed. A request must be there within STATUS_REQUEST_MS. When as many
 * connections are open as may be, a new one takes the place of the oldest, so that nobody who holds
 * connections keeps others out. Whatever is sent is answered by whole HTTP: refusals are JSON.
 * Every answer has an X-Request-Id, and a line in the log: at the level debug unless it refuses.
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
    const char *error; /* the sentence of a refusal; static; then the server writes the body */
    char *body;        /* else; the server frees it */
};

/* Answers a request to `path`; called on the server's thread, must not wait. `method` may be any:
 * to HEAD the server sends the answer without its body. */
typedef struct status_answer status_answer_function(void *context, const char *method,
                                                    const char *path);

struct status_server;

/* Listens. At most `most` connections, STATUS_CONNECTIONS or fewer. BW_BAD_REQUEST: the port can't
 * be opened there; the sentence names `flag`. BW_INTERNAL: no thread. */
enum bw_code status_server_open(const char *flag, const char *address, uint16_t port, size_t most,
                                status_answer_function *answer, void *context,
                                struct status_server **server, struct bw_error *error) BW_CHECKED;

/* Ends the thread and closes all connections. NULL is fine. */
void status_server_close(struct status_server *server);

#endif
