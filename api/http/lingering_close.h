/*
 * lingering_close: keeps the connections of clients that were refused while they were still
 * sending, and reads away some of what they send, until they have closed or three seconds have
 * passed. Without it the answer could be overtaken by a reset and never be seen. One thread.
 * Callers: the HTTP server. Safe from any thread.
 */
#ifndef API_HTTP_LINGERING_CLOSE_H
#define API_HTTP_LINGERING_CLOSE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct lingering_close;

/* `most` are kept at a time. */
enum bw_code lingering_close_open(size_t most, struct lingering_close **lingering_close,
                                  struct bw_error *error) BW_CHECKED;
void lingering_close_close(struct lingering_close *lingering_close); /* NULL is fine */

/* Keeps a duplicate of `fd`, whose owner may close it at any time. `announced` is how many bytes
 * the client has said will come: up to 16 MiB are read away, else (or if it has not said, 0) 1 MiB.
 * Nothing happens if as many are kept already as may be. */
void lingering_close_take(struct lingering_close *lingering_close, int fd, uint64_t announced);

#endif
