/*
 * request_timeout: how long an HTTP server waits for a client to send a request. Its headers must
 * be in within the time that is allowed, and so must its body, plus what its parts earn as they
 * come: a second per REQUEST_TIMEOUT_BYTES, or per REQUEST_TIMEOUT_PART of what has come already if
 * that is more. A large result over a slow line is fine, a drip is not, and least of all behind
 * much that holds memory. Then the connection is ended, with 408 if a request had begun. While very
 * many are unfinished the time is short, so that those who drip can't keep others out.
 *
 * One thread; none of the functions that a request calls takes a lock. Callers: the HTTP server.
 */
#ifndef API_HTTP_REQUEST_TIMEOUT_H
#define API_HTTP_REQUEST_TIMEOUT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct timeout;
struct timed_request; /* a connection */

enum {
    REQUEST_TIMEOUT_BYTES = 1024,    /* of a body, that earn it another second */
    REQUEST_TIMEOUT_PART = 256,      /* the same, as a part of what has come: 64 KiB at 16 MiB */
    REQUEST_TIMEOUT_SHORT_MS = 5000, /* for each, while more than many are unfinished */
    REQUEST_TIMEOUT_IDLE_MS = 60000  /* more, between two requests of a connection */
};

struct request_timeout_settings {
    int64_t request_ms; /* for a request's headers, and for a body of no bytes */
    size_t many;        /* unfinished requests from which on the time is short */
    const char *name;   /* in logs; borrowed */
    /* Writes to the client of `fd` that its time is over; must not wait. `owner` is what was given
     * to request_timeout_add: it is there, but another thread may be serving it. */
    void (*refuse)(int fd, void *owner);
};

enum bw_code request_timeout_open(const struct request_timeout_settings *settings,
                                  struct timeout **timeout, struct bw_error *error) BW_CHECKED;

/* When no connection is left. NULL is fine. */
void request_timeout_close(struct timeout *timeout);

/* Ends those whose time is over as of `now_ms` (clock_boot_ms). Returns how many those were. The
 * thread does so each second; else for tests. */
size_t request_timeout_sweep(struct timeout *timeout, int64_t now_ms);

/* A connection has come, and is the server's until request_timeout_remove, which must come before
 * its descriptor is closed. Both lock. NULL: memory is short; it is waited for as the server does.
 */
struct timed_request *request_timeout_add(struct timeout *timeout, int fd, void *owner);
void request_timeout_remove(struct timeout *timeout, struct timed_request *timed_request);

/* ---- For one connection, on the thread that serves it; with NULL they do nothing ---- */

/* How many milliseconds `bytes` earn a body of which `received` have come before. */
int64_t request_timeout_earned(uint64_t received, size_t bytes);

void timed_request_begin(struct timed_request *timed_request); /* a request's first line is in */
void timed_request_receive(struct timed_request *timed_request,
                           size_t bytes); /* a part of its body came */
/* It has no more than `wait_ms` from now on, and what its parts earn. */
void timed_request_limit(struct timed_request *timed_request, int64_t wait_ms);
void timed_request_finish(struct timed_request *timed_request); /* it is whole: no limit any more */
void timed_request_rest(struct timed_request *timed_request); /* it is answered: another may come */

#endif
