/*
 * farewell: keeps the connections of clients that were refused while they were still sending, and
 * reads away some of what they send, until they have closed or three seconds have passed. Without
 * it the answer could be overtaken by a reset and never be seen. One thread. Callers: the front.
 * Safe from any thread.
 */
#ifndef API_HTTP_LINGERING_CLOSE_H
#define API_HTTP_LINGERING_CLOSE_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"

struct farewell;

/* `most` are kept at a time. */
enum bw_code farewell_open(size_t most, struct farewell **farewell, struct bw_error *error)
    BW_CHECKED;
void farewell_close(struct farewell *farewell); /* NULL is fine */

/* Keeps a duplicate of `fd`, whose owner may close it at any time. `announced` is how many bytes
 * the client has said will come: up to 16 MiB are read away, else (or if it has not said, 0) 1 MiB.
 * Nothing happens if as many are kept already as may be. */
void farewell_take(struct farewell *farewell, int fd, uint64_t announced);

#endif
