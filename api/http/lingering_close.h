/*
 * lingering_close: keeps the connections of clients that were refused while they were still
 * sending, and reads and drops some of what they send, until they have closed or three seconds have
 * passed. Otherwise a reset could overtake the answer, and the client would never read it. One
 * thread. Caller: the HTTP server. Safe from any thread.
 */
#ifndef API_HTTP_LINGERING_CLOSE_H
#define API_HTTP_LINGERING_CLOSE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct lingering_close;

/* The number of connections that a port with `connections` keeps in this way: a share, with bounds.
 * Pure. */
enum { LINGERING_LEAST = 16, LINGERING_MOST = 4096 };
size_t lingering_close_room(size_t connections);

/* Creates *lingering_close, and starts the thread. At most `most` connections are kept at a time.
 * BW_INTERNAL: no thread or no descriptor. */
enum bw_code lingering_close_open(size_t most, struct lingering_close **lingering_close,
                                  struct bw_error *error) BW_CHECKED;
/* Closes all kept connections, and ends the thread. NULL is allowed. */
void lingering_close_close(struct lingering_close *lingering_close);

/* Keeps a duplicate of `fd`, whose owner may close it at any time. `declared`: the bytes that the
 * client has announced; 0: unknown. If they are at most 16 MiB, as many are read, otherwise 1 MiB.
 * Ignored if `most` connections are kept already. */
void lingering_close_take(struct lingering_close *lingering_close, int fd, uint64_t declared);

#endif
