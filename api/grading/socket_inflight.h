/*
 * socket_inflight: counts the operations of this replica's websockets in flight: results that are
 * not stored yet, and ends of sockets that are not recorded yet. The protocol has no
 * acknowledgement for them. A status request waits for those that began before it. Callers: the
 * course protocol. Safe from any thread.
 */
#ifndef API_GRADING_SOCKET_INFLIGHT_H
#define API_GRADING_SOCKET_INFLIGHT_H

#include <stdbool.h>
#include <stdint.h>

struct socket_inflight;

/* Returns a new object, never NULL. */
struct socket_inflight *socket_inflight_new(void);
void socket_inflight_free(struct socket_inflight *inflight); /* NULL is allowed */

/* Begins an operation. Returns the token for socket_inflight_end, which must be called once, from
 * any thread. */
int64_t socket_inflight_begin(struct socket_inflight *inflight);
void socket_inflight_end(struct socket_inflight *inflight, int64_t token);

/* Waits until all operations that began before this call have ended, `wait_ms` at most. Not for the
 * server's threads. */
void socket_inflight_wait(struct socket_inflight *inflight, int64_t wait_ms);

#endif
