/*
 * server: an HTTP server: one listening port, from the sockets to dispatch and back. It admits
 * requests by their headers, receives their bodies, gives each to dispatch as an exchange, suspends
 * the connections of requests that wait, and writes the answers.
 *
 * It is built on ulfius, whose instance runs libmicrohttpd and writes the answers. Ulfius can
 * neither answer later nor refuse early; ulfius_shim.c says how the HTTP server does both.
 *
 * Threads: one that accepts connections; a pool that serves them by epoll and never waits; one that
 * notices clients that have disconnected (disconnect_watch); one for refused clients
 * (lingering_close); one that ends slow requests (request_timeout). All functions are safe from any
 * thread; open and close are for main.
 */
#ifndef API_HTTP_SERVER_H
#define API_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/http/connection_table.h"
#include "api/http/wire_protocol.h"

struct request;
struct server;

struct http_server_settings {
    struct api *api; /* passed to the handlers; borrowed */
    /* The protocols that are served, in the order of precedence; ends with NULL; borrowed. */
    const struct wire_protocol *const *protocols;
    /* The protocols whose forms a refusal of an unknown path has, the last one first; ends with
     * NULL; borrowed. NULL: `protocols`. */
    const struct wire_protocol *const *forms;
    const struct http_hooks *hooks; /* borrowed; NULL: see api/http/wire_protocol.h */
    const char *cors_origin;        /* origin whose pages may read answers of protocols with
                                       is_for_browsers; "*": any */
    const char *address;            /* numeric, IPv4 or IPv6 */
    uint16_t port;                  /* 0: any free port */
    int threads;                    /* 0: HTTP_SERVER_THREADS */
    size_t max_body_bytes; /* limit of a body; longer ones are refused with 413; some routes have a
                              lower limit */
    uint64_t max_file_bytes;      /* the same for bodies of routes with BODY_FILE */
    struct memory_budget *memory; /* for bodies; borrowed; NULL: the server creates one */
    unsigned max_connections;     /* 0: HTTP_SERVER_CONNECTIONS; see api/http/connection_table.h */
    unsigned max_connections_per_address; /* unproven ones; 0: a share */
    int64_t request_timeout_ms;           /* 0: HTTP_SERVER_REQUEST_MS; see request_timeout.h */
    bool refuses_names; /* routes with AUTH_NONE refuse a Host that is a name other than localhost:
                           common/base/host_name.h */
    const char *name;   /* in logs; NULL: "server" */
    /* Called once for each answered request, just before its answer is sent, from a thread of the
     * HTTP server; may be NULL. */
    void (*finished)(const struct request *request, int status, void *context);
    void *context;
};

enum {
    HTTP_SERVER_THREADS = 16,
    HTTP_SERVER_CONNECTIONS = 32768,
    HTTP_SERVER_REQUEST_MS = 30000,
    HTTP_SERVER_BEGINNING_MS = 1000, /* time for the beginning of a result that is far too long */
    HTTP_SERVER_CONNECTION_BYTES = 8 * 1024, /* libmicrohttpd's, per connection; headers must fit */
    /* An idle connection is closed after this time, unless its request waits here. */
    HTTP_SERVER_IDLE_S = 60
};

/* Calls json_memory_install, and sets the same functions for orcania, since ulfius makes jansson
 * use orcania's. Called once, by main, before any other thread. */
void http_server_install_memory(void);

/* Creates *server, and begins to listen. `settings` are copied. BW_BAD_REQUEST: the port can't be
 * opened; the sentence begins with its number. BW_INTERNAL: the address is invalid, or the server
 * can't be started; the sentence says why. */
enum bw_code http_server_open(const struct http_server_settings *settings, struct server **server,
                              struct bw_error *error) BW_CHECKED;

/* The port on which the server listens. For tests. */
uint16_t http_server_port(const struct server *server);

/* Fills the counts of its connections: api/http/connection_table.h. */
void http_server_count_connections(struct server *server, struct connection_counts *counts);

/* Accepts no connections from now on. Open connections are served, and closed after their next
 * answer. */
void http_server_stop_accepting(struct server *server);

/* The number of requests whose headers were received and whose answer is not sent. */
size_t http_server_in_flight(const struct server *server);

/* The number of connections that are websockets. */
size_t http_server_upgraded(const struct server *server);

/* Stops the server and frees it. All exchanges must have been answered, and all websockets closed;
 * waits some seconds for that. False, with an error in the log: some are left. Then the server is
 * not freed, since its threads are running: the caller must not free anything that these use, and
 * can only exit. NULL is allowed. */
bool http_server_close(struct server *server);

#endif
