/*
 * exchange_internal: the state of an exchange, for the HTTP server, exchange.c, dispatch and the
 * wire protocols' checks.
 *
 * The HTTP server creates and frees an exchange, on its threads. It is read (READING) and given to
 * dispatch (HANDLED). If dispatch did not answer it at once, its connection is suspended
 * (SUSPENDED) until an answer wakes it (ANSWERED). `state` synchronises the threads: the answering
 * thread writes the answer first and the state last. Only if the state was SUSPENDED, it has to
 * resume the connection; from then on the exchange may be freed at any moment.
 *
 * While it is read, the exchange may be given to dispatch in the same way for a look-up of its
 * sender, which ends in SENDER_FOUND; then the HTTP server goes on reading, or refuses it.
 */
#ifndef API_HTTP_EXCHANGE_INTERNAL_H
#define API_HTTP_EXCHANGE_INTERNAL_H

#include <microhttpd.h>
#include <stdatomic.h>

#include "api/http/body.h"
#include "api/http/connection_table.h"
#include "api/http/exchange.h"
#include "api/http/disconnect_watch.h"
#include "api/http/wire_protocol.h"
#include "api/http/route.h"
#include "api/http/spool.h"
#include "common/base/json_seek.h"

enum exchange_state {
    EXCHANGE_READING,
    EXCHANGE_HANDLED,
    EXCHANGE_SUSPENDED,
    EXCHANGE_SENDER_FOUND,
    EXCHANGE_ANSWERED
};

/* The data that all exchanges of an HTTP server share. */
struct exchange_host {
    struct api *api;
    struct disconnect_watch *watch;
    const struct wire_protocol *const
        *protocols; /* the protocols that are served; ends with NULL */
    const struct wire_protocol *const
        *forms;                     /* the forms of refusals of unknown paths; ends with NULL */
    const struct http_hooks *hooks; /* NULL: see wire_protocol.h */
    const char *cors_origin;        /* for answers of protocols with is_for_browsers; NULL: none */
    atomic_size_t answering;        /* threads inside exchange_wake */
    struct spool_places spools;
};

struct answer_header {
    const char *name;
    char value[EXCHANGE_HEADER_SIZE];
};

struct answer {
    int status;
    char *body; /* own; NULL: empty */
    size_t body_length;
    const char *type;
    int retry_after_s;                              /* 0: no such header */
    bool asks_for_token;                            /* WWW-Authenticate */
    bool closes;                                    /* Connection: close */
    struct answer_header headers[EXCHANGE_HEADERS]; /* other headers, unless it is a refusal */
    unsigned header_count;
    struct exchange_stream made; /* instead of a body; owns the stream until its response is made */
    const char *cors;            /* Access-Control-Allow-Origin, static; NULL: no such header */
    char *allow;                 /* own; NULL: no such header */
    char *refusal;               /* own: the text of request.refusal */
    struct memory_hold hold;     /* counts the body until the client has it */
};

/* The sender, by the headers. Filled by protocol->admit. */
struct sender {
    enum sender_token token;          /* which kind of token it has shown */
    char token_name[TOKEN_NAME_SIZE]; /* "": the token has no name, or there is none */
    enum memory_pool pool;            /* the pool of the request's memory */
    enum connection_kind kind;
    const char *worker; /* the worker's id; NULL: not known; borrowed */
};

struct exchange {
    struct request request;
    struct exchange_host *host;
    struct MHD_Connection *connection;
    int fd;              /* the connection's */
    char *path;          /* own: the text that request.parts point into; NULL: none */
    struct body body;    /* request.body points into it */
    struct spool *spool; /* own: the body of a route with BODY_FILE; else NULL */
    bool is_oversized;   /* a result over the limit of a body: only its beginning is stored */
    bool is_beyond; /* so far over the limit that only the beginning is awaited, for a short time */
    struct json_seek *seek; /* own: the search in such a body; NULL: not begun */
    uint64_t received;      /* bytes of the body so far, stored or not */
    int64_t notified_ms;    /* clock_boot_ms of the last notification that the sender is alive */
    _Atomic enum exchange_state state;
    bool is_begun;                 /* its headers were received: it counts as in flight */
    bool is_admitted;              /* dispatch_admit has accepted it */
    bool is_early;                 /* refused before its body's end: its connection is closed */
    bool is_given;                 /* given to dispatch, and not taken back yet */
    size_t searched;               /* bytes of the body that were searched for the sender */
    bool is_named;                 /* a result whose query or body names its sender: `worker` */
    struct json_seek *sender_seek; /* own: the search for it; NULL: not begun */
    enum bw_code sender_code;      /* in SENDER_FOUND: the outcome of the look-up */
    struct sender sender;
    bool is_known; /* its sender is a registered worker: `worker` */
    char worker[WORKER_ID_SIZE];
    bool is_watched;
    bool is_carried_out; /* exchange_carried_out was called */
    bool is_recorded;    /* http_hooks.record was called */
    bool is_upgraded;    /* its connection has become a websocket */
    bool is_stream_watched;
    char *socket_refusal; /* own: why the websocket is closed at once; NULL: it is not */
    struct answer answer;
    struct connection *peer; /* api/http/connection_table.h; NULL: out of memory */
    const char *sent_uri;    /* the URI in libmicrohttpd's buffer, where its bytes change later */
    bool is_line_read;       /* libmicrohttpd has parsed the first line */
    void *ulfius;            /* ulfius's data of the request; NULL until it is answered */
    char uri[];              /* the URI as it was sent */
};

/* Writes a socket's numeric address; an IPv4-mapped IPv6 address as IPv4. */
void exchange_show_address(const struct sockaddr *from, char address[EXCHANGE_ADDRESS_SIZE]);

/* Returns a new exchange, READING. NULL: out of memory. */
struct exchange *exchange_new(struct exchange_host *host, struct MHD_Connection *connection,
                              const char *uri);

/* Gives the exchange back to the HTTP server, in state ANSWERED or SENDER_FOUND. It must not be
 * touched afterwards. */
void exchange_wake(struct exchange *exchange, enum exchange_state state);

/* Records that the sender is of this kind, after a check of its credential. Before the answer. */
void exchange_prove(struct exchange *exchange, enum connection_kind kind);

/* Records that the sender is the worker with this id. */
void exchange_prove_worker(struct exchange *exchange, const char *id);

/* Frees the exchange, but not its body, which the caller clears afterwards. NULL is allowed. */
void exchange_free(struct exchange *exchange);

#endif
