/*
 * disconnect_watch: tells when the client of a waiting exchange, or of a stream of events, closes
 * or resets its connection. One thread, one epoll set: a suspended connection is in nobody else's.
 * Callers: exchange.c and the HTTP server. Safe from any thread.
 */
#ifndef API_HTTP_DISCONNECT_WATCH_H
#define API_HTTP_DISCONNECT_WATCH_H

#include <stdint.h>

#include "common/base/error.h"

struct exchange;
struct disconnect_watch;

enum bw_code disconnect_watch_open(struct disconnect_watch **watch, struct bw_error *error)
    BW_CHECKED;

/* Nothing may be watched any more. NULL is fine. */
void disconnect_watch_close(struct disconnect_watch *watch);

/* `gone` is called once, when the peer of `fd` goes, unless the exchange is removed before.
 * `number` is the exchange's. If memory is short the exchange is not watched: it will be answered
 * at its deadline. */
void disconnect_watch_add(struct disconnect_watch *watch, uint64_t number, int fd,
                          struct exchange *exchange,
                          void (*gone)(struct exchange *exchange, void *context), void *context);

/* After this, `gone` is not running for this exchange and will not be called: it is waited for,
 * unless it is `gone` that asks. */
void disconnect_watch_remove(struct disconnect_watch *watch, uint64_t number);

#endif
