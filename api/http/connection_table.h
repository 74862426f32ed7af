/*
 * connection_table: the open connections of an HTTP server. It decides which connection is closed
 * to make room for a new one.
 *
 * A connection has one of three kinds, by its last request: worker (a known worker id, the cluster
 * token, the scheduler), client (a valid token), or unproven. Only connections on which no request
 * is being handled are closed to make room, the longest idle one first: unproven ones before those
 * of clients, except for an eighth of all connections that is left to unproven ones, for newcomers.
 * A connection of a worker is closed only if this worker has more than CONNECTION_WORKER_MOST, the
 * oldest one first, so that one id can't fill the table. The unproven connections have a limit in
 * all, and one per address. So there is room for known senders, and a new connection has time to
 * send a request.
 *
 * Callers: the acceptor (add, cancel, wait), the HTTP server (the others). Safe from any thread.
 * The functions of one connection are for the thread that serves it; connection_prove and
 * connection_prove_worker for the thread that handles its request. They all accept NULL and do
 * nothing. They lock the table, but on a worker's connection only when another sender is proved.
 */
#ifndef API_HTTP_CONNECTION_TABLE_H
#define API_HTTP_CONNECTION_TABLE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct connection_table;
struct connection;
struct exchange;
struct server;
struct timed_request;

enum connection_kind {
    CONNECTION_UNPROVEN,
    CONNECTION_CLIENT,
    CONNECTION_WORKER,
    CONNECTION_KINDS
};

enum {
    CONNECTION_CLOSING_MAX = 64, /* connections being closed, from which on accepting waits */
    CONNECTION_WORKER_MOST = 16  /* connections of one worker that are never closed to make room */
};

struct connection_limits {
    size_t most;        /* connections */
    size_t per_address; /* unproven connections of one address; 0: half of all unproven ones */
};

struct connection_counts {
    size_t by_kind[CONNECTION_KINDS];
    uint64_t evicted; /* closed to make room */
    uint64_t refused; /* closed at once, since no other could be closed */
    uint64_t pauses;  /* pauses since descriptors or memory had run out */
};

/* Returns a new table, never NULL. `limits` are copied. */
struct connection_table *connection_table_new(const struct connection_limits *limits);
/* All connections must be closed. NULL is allowed. */
void connection_table_free(struct connection_table *table);

/* Adds a connection from `address`, which may close another one. Borrowed until
 * connection_table_remove. NULL: there is no room, and the caller closes the descriptor. */
struct connection *connection_table_add(struct connection_table *table, int fd,
                                        const struct sockaddr *address);

/* libmicrohttpd has taken the connection that was last added with this descriptor. From now on it
 * may be closed to make room. NULL: it is not known. */
struct connection *connection_table_start(struct connection_table *table, int fd);

/* libmicrohttpd has not taken the connection, and has closed the descriptor. */
void connection_table_cancel(struct connection_table *table, int fd);

/* libmicrohttpd is about to close the connection. Called before its descriptor is closed. */
void connection_table_remove(struct connection_table *table, struct connection *connection);

/* Closes a connection, regardless of the limits. False: none can be closed. */
bool connection_table_evict(struct connection_table *table);

/* Waits until fewer than CONNECTION_CLOSING_MAX connections are being closed, and, if `is_short`
 * (of descriptors or memory), until one is closed. At most `wait_ms`. */
void connection_table_wait(struct connection_table *table, bool is_short, int wait_ms);

/* Shuts down the sockets of all connections; libmicrohttpd then closes them. */
void connection_table_shut(struct connection_table *table);

/* The number of connections. */
size_t connection_table_open(struct connection_table *table);
void connection_table_count(struct connection_table *table, struct connection_counts *counts);

/* ---- One connection ---- */

/* A request's first line was received. */
void connection_begin(struct connection *connection);
/* The request is complete and is being handled. */
void connection_hold(struct connection *connection);
/* The answer is being sent. */
void connection_release(struct connection *connection);
/* The request is over: the connection is idle. */
void connection_rest(struct connection *connection);

/* The sender of the current request is of this kind. */
void connection_prove(struct connection *connection, enum connection_kind kind);

/* The sender of the current request is the worker with this id (copied). */
void connection_prove_worker(struct connection *connection, const char *id);

/* The data that the HTTP server keeps for a connection. */
struct connection_parts {
    struct server *server;
    struct timed_request *timed_request;
    pthread_mutex_t mutex; /* guards what follows, and the members of the exchange that a refusal
                              uses, since the thread that ends slow requests reads them */
    struct exchange *exchange; /* the current request; NULL: none */
};
/* Borrowed until connection_table_remove. NULL for NULL. */
struct connection_parts *connection_parts(struct connection *connection);

#endif
