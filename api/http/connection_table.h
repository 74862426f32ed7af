/*
 * connection_table: the open connections of an HTTP server, and which of them is closed to make
 * room when a new one comes.
 *
 * A connection is of one of three kinds, by its last request: that of a worker (a known worker id,
 * the cluster token, the scheduler), that of a client (a token that is right), or unproven. Only
 * those on which no request is being handled are closed to make room, the one first on which
 * nothing has happened for longest: unproven ones before those of clients (of which an eighth is
 * spared, for newcomers). Those of workers are closed only if one worker has more than
 * CONNECTION_WORKER_MOST, the ones that it has had for longest first: one id can't fill the table.
 * Unproven ones have a limit of their own, and each address has one for its unproven ones, so that
 * room is left for those who are known, and a newcomer always gets the time to become known.
 *
 * Callers: the acceptor (add, cancel, wait), the HTTP server (the rest). Safe from any thread. The
 * functions of a connection are for the thread that serves it, connection_prove and
 * connection_prove_worker for whoever handles its request; all of them do nothing with NULL. They
 * lock the table; on a worker's connection they do so only when another sender is proved.
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
    CONNECTION_CLOSING_MAX = 64, /* closed to make room and not gone yet: then accepting waits */
    CONNECTION_WORKER_MOST = 16  /* of one worker, that are never closed to make room */
};

struct connection_limits {
    size_t most;        /* connections */
    size_t per_address; /* unproven ones of one address; 0: half of those of all addresses */
};

struct connection_counts {
    size_t by_kind[CONNECTION_KINDS];
    uint64_t evicted; /* closed to make room */
    uint64_t refused; /* closed at once: there was nothing to close instead */
    uint64_t pauses;  /* waits for want of descriptors or memory */
};

/* NULL: memory is short. */
struct connection_table *connection_table_new(const struct connection_limits *limits);
void connection_table_free(
    struct connection_table *table); /* no connection is left; NULL is fine */

/* Enters a connection from `address`, which may close another one. NULL: there is no room; the
 * caller closes the descriptor. */
struct connection *connection_table_add(struct connection_table *table, int fd,
                                        const struct sockaddr *address);

/* The one of this descriptor that was entered last: the server has taken it. From now on it may be
 * closed to make room. NULL: it is not known. */
struct connection *connection_table_start(struct connection_table *table, int fd);

/* The server has not taken it, and has closed the descriptor. */
void connection_table_cancel(struct connection_table *table, int fd);

/* The server gives up the connection. Before its descriptor is closed. */
void connection_table_remove(struct connection_table *table, struct connection *connection);

/* Closes one to make room, whatever the limits say. False: there is none. */
bool connection_table_evict(struct connection_table *table);

/* Waits until not too many are being closed; or, if `is_short` (of descriptors), until one is
 * gone. At most `wait_ms`. */
void connection_table_wait(struct connection_table *table, bool is_short, int wait_ms);

/* Shuts all of them down: the server then closes them. */
void connection_table_shut(struct connection_table *table);

size_t connection_table_open(struct connection_table *table);
void connection_table_count(struct connection_table *table, struct connection_counts *counts);

/* ---- One connection ---- */

void connection_begin(struct connection *connection);   /* a request's first line is in */
void connection_hold(struct connection *connection);    /* it is whole and is being handled */
void connection_release(struct connection *connection); /* its answer is being sent */
void connection_rest(struct connection *connection);    /* it is over: another may come */

/* The request at hand is of somebody of this kind. */
void connection_prove(struct connection *connection, enum connection_kind kind);

/* It is of a worker, and of which: its id, copied. */
void connection_prove_worker(struct connection *connection, const char *id);

/* What the HTTP server keeps for it. */
struct connection_parts {
    struct server *server;
    struct timed_request *timed_request; /* NULL: memory was short */
    pthread_mutex_t mutex; /* guards what follows, and what a refusal tells of it: the thread that
                              ends slow requests reads that as well */
    struct exchange *exchange; /* its request; NULL: none */
};
struct connection_parts *connection_parts(struct connection *connection);

#endif
