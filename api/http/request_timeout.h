/*
 * request_timeout: limits the time that a client has to send a request. A request has the
 * configured time from its first line on, and earns more as the parts of its body arrive: one
 * second per REQUEST_TIMEOUT_BYTES, or, if that is more, per 1/REQUEST_TIMEOUT_PART of the bytes
 * that have arrived before. The remaining time never exceeds the configured time. So a large result
 * over a slow line is accepted, while a client that sends a few bytes at a time is not; the more
 * memory its body holds, the faster a client must send. When the time is over, the connection is
 * closed, with 408 if a request had begun. While very many requests are unfinished the time is
 * short, so that slow clients can't occupy all connections.
 *
 * One thread. The functions that a request calls take no lock. Caller: the HTTP server.
 */
#ifndef API_HTTP_REQUEST_TIMEOUT_H
#define API_HTTP_REQUEST_TIMEOUT_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct timeout;
struct timed_request; /* the state of one connection */

enum {
    REQUEST_TIMEOUT_BYTES = 1024,    /* bytes of a body that earn it another second */
    REQUEST_TIMEOUT_PART = 256,      /* the same, as a fraction of the received bytes */
    REQUEST_TIMEOUT_SHORT_MS = 5000, /* time while more than `many` are unfinished */
    REQUEST_TIMEOUT_IDLE_MS = 60000  /* additional time between two requests of a connection */
};

struct request_timeout_settings {
    int64_t request_ms; /* for a request, without the time that its body earns */
    size_t many;        /* number of unfinished requests above which the time is short */
    const char *name;   /* in logs; borrowed */
    /* Sends the client of `fd` a refusal, since its time is over; must not wait. `owner`: as in
     * request_timeout_add; it exists, but another thread may be serving it. */
    void (*refuse)(int fd, void *owner);
};

/* Creates *timeout, and starts the thread. `settings` are copied. BW_INTERNAL: no thread. */
enum bw_code request_timeout_open(const struct request_timeout_settings *settings,
                                  struct timeout **timeout, struct bw_error *error) BW_CHECKED;

/* No connection may be left. NULL is allowed. */
void request_timeout_close(struct timeout *timeout);

/* Closes the connections whose time is over as of `now_ms` (clock_boot_ms). Returns their number.
 * Called by the thread each second; otherwise for tests. */
size_t request_timeout_sweep(struct timeout *timeout, int64_t now_ms);

/* Adds a connection, until request_timeout_remove, which must be called before its descriptor is
 * closed. Both take the mutex. Never NULL. */
struct timed_request *request_timeout_add(struct timeout *timeout, int fd, void *owner);
void request_timeout_remove(struct timeout *timeout, struct timed_request *timed_request);

/* ---- For one connection, on the thread that serves it; with NULL they do nothing ---- */

/* The milliseconds that `bytes` earn a body of which `received` bytes arrived before. Pure. */
int64_t request_timeout_earned(uint64_t received, size_t bytes);

/* A request's first line was received. */
void timed_request_begin(struct timed_request *timed_request);
/* A part of its body was received. */
void timed_request_receive(struct timed_request *timed_request, size_t bytes);
/* Limits the remaining time to `wait_ms`, plus the time that later parts earn. */
void timed_request_limit(struct timed_request *timed_request, int64_t wait_ms);
/* Pauses the time until it is resumed; then the same time remains. */
void timed_request_pause(struct timed_request *timed_request);
void timed_request_resume(struct timed_request *timed_request);
/* The request is complete: there is no limit any more. */
void timed_request_finish(struct timed_request *timed_request);
/* The request is answered, and the next one may begin. */
void timed_request_rest(struct timed_request *timed_request);

#endif
