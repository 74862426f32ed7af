/*
 * exchange_internal: the inside of an exchange, for the HTTP server, exchange.c and dispatch alone.
 *
 * An exchange is made and freed by the HTTP server, on the server's threads. It is read (READING),
 * given to dispatch (HANDLED), and, if that did not answer it at once, its connection sleeps
 * (SUSPENDED) until an answer wakes it (ANSWERED). `state` orders all of it: whoever answers writes
 * the answer first and the state last; only from SUSPENDED does the answer have to wake the
 * connection, and from there on the exchange may be freed at any moment.
 */
#ifndef API_HTTP_EXCHANGE_INTERNAL_H
#define API_HTTP_EXCHANGE_INTERNAL_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "api/http/body.h"
#include "api/http/connection_table.h"
#include "api/http/exchange.h"
#include "api/http/disconnect_watch.h"
#include "api/http/route.h"
#include "common/base/json_seek.h"

enum exchange_state { EXCHANGE_READING, EXCHANGE_HANDLED, EXCHANGE_SUSPENDED, EXCHANGE_ANSWERED };

/* What the exchanges of one HTTP server share. */
struct exchange_host {
    struct api *api;
    struct disconnect_watch *watch;
    const char *cors_origin; /* for answers of the course protocol; NULL: none */
    atomic_size_t answering; /* threads inside exchange_answer */
};

struct answer {
    int status;
    char *body; /* own; NULL: empty */
    const char *type;
    int retry_after_s;           /* 0: no such header */
    bool asks_for_token;         /* WWW-Authenticate */
    bool closes;                 /* Connection: close */
    bool tells_limits;           /* those of a grader, if the status is 200 */
    struct event_stream *stream; /* instead of a body; own until its response is made */
    struct answer_stream *parts; /* the same, of an answer that is sent while it is made */
    const char *cors;            /* Access-Control-Allow-Origin, static; NULL: no such header */
    char *allow;                 /* own; NULL: no such header */
    char *refusal;               /* own: request.refusal */
};

struct exchange {
    struct request request;
    struct exchange_host *host;
    struct MHD_Connection *connection;
    int fd;                 /* the connection's */
    char *path;             /* own: what request.parts point into; NULL: none */
    struct body body;       /* request.body is a view of it */
    bool is_oversized;      /* a result over the limit of a body: only its beginning is kept */
    bool is_beyond;         /* so far over it that only that is waited for, and not for long */
    struct json_seek *seek; /* own: over such a body; NULL: there is none */
    uint64_t received;      /* bytes of the body so far, kept or not */
    int64_t told_ms;        /* clock_boot_ms when the scheduler was last told that it arrives */
    _Atomic enum exchange_state state;
    bool is_begun;    /* its headers are in: it counts as in flight */
    bool is_admitted; /* by its headers: dispatch_admit */
    bool is_early;    /* refused before its body is read to the end: its connection is closed */
    bool is_given;    /* to dispatch, and not back yet */
    size_t looked;    /* bytes of the body in which the sender was looked for */
    bool has_client_token; /* the client token, which was compared and is right */
    bool is_known;         /* its sender is a registered worker: */
    char worker[WORKER_ID_SIZE];
    bool is_watched;
    bool is_upgraded;      /* its connection is a websocket's */
    int64_t stream_number; /* of the stream that it is answered by; 0: none */
    char *socket_refusal;  /* own: why that is closed at once; NULL: it is not */
    struct answer answer;
    struct connection *peer; /* api/http/connection_table.h; NULL: memory was short */
    const char *sent_uri;    /* where the server holds it; its bytes are changed there meanwhile */
    bool is_line_read;       /* the server is through with the first line */
    void *ulfius;            /* what ulfius keeps for the request; NULL until it is answered */
    char uri[];              /* as it was sent */
};

/* Writes a socket's address as a number; an IPv4 one in IPv6's clothes as IPv4. */
void exchange_show_address(const struct sockaddr *from, char address[EXCHANGE_ADDRESS_SIZE]);

/* NULL: memory is short. */
struct exchange *exchange_new(struct exchange_host *host, struct MHD_Connection *connection,
                              const char *uri);

/* Who sent it is known to be of this kind: for those who check it. Before the answer. */
void exchange_prove(struct exchange *exchange, enum connection_kind kind);

/* The same of a worker, by its id. */
void exchange_prove_worker(struct exchange *exchange, const char *id);

/* The body is cleared after it. NULL is fine. */
void exchange_free(struct exchange *exchange);

#endif
