/*
 * server: one listening port, from the sockets to dispatch and back. It admits requests by their
 * headers, gathers their bodies, gives each to dispatch as an exchange, puts the connections of
 * those that wait to sleep, and writes the answers.
 *
 * It stands on ulfius, whose instance listens and writes the answers; what ulfius can't do, answer
 * later and refuse early, is done in front of it: its call of MHD_start_daemon ends in this module
 * (see server.c), so that our handler hears of a request first.
 *
 * Threads: one that accepts connections, a pool that serves them by epoll and never waits, one that
 * notices clients that have gone, one that sees refused clients off, and one that ends those that
 * drip. All of the functions are safe from any thread; open and close are for main.
 */
#ifndef API_HTTP_SERVER_H
#define API_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/http/connection_table.h"
#include "api/http/route.h"

struct server;

struct http_server_settings {
    struct api *api;                   /* handed to the handlers; borrowed */
    const struct route *routes;        /* borrowed */
    const struct route *course_routes; /* those of the course protocol; NULL: none */
    struct sockets *sockets;           /* takes upgraded connections; NULL: no route upgrades */
    const char *cors_origin;           /* who may read answers of these in a browser; "*": all */
    const char *address;               /* numeric, IPv4 or IPv6 */
    uint16_t port;                     /* 0: any that is free */
    int threads;                       /* 0: HTTP_SERVER_THREADS */
    size_t max_body_bytes;             /* more is refused with 413; some routes take less */
    struct memory_budget *memory;      /* for bodies; borrowed; NULL: one of its own */
    unsigned max_connections; /* 0: HTTP_SERVER_CONNECTIONS; see api/http/connection_table.h */
    unsigned max_connections_per_address; /* unproven ones; 0: a share of these */
    int64_t request_timeout_ms;           /* 0: HTTP_SERVER_REQUEST_MS; see request_timeout.h */
    bool refuses_names; /* routes for anybody don't answer a Host that is a name, but localhost:
                           common/base/host_name.h */
    const char *name;   /* in logs; NULL: "front" */
    /* Called once for each answered request, just before its answer is sent, from a thread of the
     * HTTP server; may be NULL. */
    void (*finished)(const struct request *request, int status, void *context);
    void *context;
};

enum {
    HTTP_SERVER_THREADS = 16,
    HTTP_SERVER_CONNECTIONS = 32768,
    HTTP_SERVER_REQUEST_MS = 30000,
    HTTP_SERVER_BEGINNING_MS = 1000, /* for the beginning of a result that is far too long */
    HTTP_SERVER_CONNECTION_BYTES = 8 *
                                   1024, /* of memory, for all that wait too: headers must fit */
    HTTP_SERVER_IDLE_S =
        60 /* then a connection on which nothing moves is closed, unless its request waits here */
};

/* Once, by main, before any other thread: json_memory_settle, for a process in which ulfius makes
 * jansson take its memory from wherever orcania does. */
void http_server_settle_memory(void);

/* Listens. BW_BAD_REQUEST: the port can't be opened, in a sentence that begins with its number;
 * BW_INTERNAL: the address is none, or the server can't be started; the sentence says
 * why. */
enum bw_code http_server_open(const struct http_server_settings *settings, struct server **server,
                              struct bw_error *error) BW_CHECKED;

/* Where it listens. */
uint16_t http_server_port(const struct server *server);

/* Of its connections: api/http/connection_table.h. */
void http_server_count_connections(struct server *server, struct connection_counts *counts);

/* No new connections from now on. Those that are open are served, and closed after their next
 * answer. */
void http_server_stop_accepting(struct server *server);

/* Requests whose headers are in and whose answer is not out. */
size_t http_server_in_flight(const struct server *server);

/* Connections that are websockets. */
size_t http_server_upgraded(const struct server *server);

/* Ends everything. Every exchange must have been answered, and every websocket be closed: it waits
 * some seconds for that. False, with an error in the log: they are not, and the HTTP server is left
 * as it is, since the server's threads go on. Then nothing that they use may be freed, and the
 * process can only exit. NULL is fine. */
bool http_server_close(struct server *server);

#endif
