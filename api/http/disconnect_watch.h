/*
 * disconnect_watch: reports that the client of a waiting exchange, or of an event stream, has
 * closed or reset its connection. A suspended connection is in no other epoll set. One thread with
 * one epoll set. Callers: exchange.c and the HTTP server. Safe from any thread.
 */
#ifndef API_HTTP_DISCONNECT_WATCH_H
#define API_HTTP_DISCONNECT_WATCH_H

#include <stdint.h>

#include "common/base/error.h"

struct exchange;
struct disconnect_watch;

/* BW_INTERNAL: no thread or no descriptor. */
enum bw_code disconnect_watch_open(struct disconnect_watch **watch, struct bw_error *error)
    BW_CHECKED;

/* Ends the thread. Nothing may be watched any more. NULL is allowed. */
void disconnect_watch_close(struct disconnect_watch *watch);

/* Watches `fd`: `gone` is called once, on the watch's thread, when the peer has closed or reset it,
 * unless the exchange is removed before. `number`: the exchange's. */
void disconnect_watch_add(struct disconnect_watch *watch, uint64_t number, int fd,
                          struct exchange *exchange,
                          void (*gone)(struct exchange *exchange, void *context), void *context);

/* After this, `gone` is not running for this exchange and will not be called: a call in progress is
 * waited for, unless this is called from `gone` itself. */
void disconnect_watch_remove(struct disconnect_watch *watch, uint64_t number);

#endif
