/*
 * farewell: keeps the connections of clients that were refused while they were still sending, and
 * reads away what they send, until they have closed or three seconds have passed. Without it the
 * answer could be overtaken by a reset and never be seen. One thread. Callers: the front. Safe from
 * any thread.
 */
#ifndef API_FAREWELL_H
#define API_FAREWELL_H

#include "common/error.h"

struct farewell;

enum bw_code farewell_open(struct farewell **farewell, struct bw_error *error) BW_CHECKED;
void farewell_close(struct farewell *farewell); /* NULL is fine */

/* Keeps a duplicate of `fd`, whose owner may close it at any time. Nothing happens if thousands are
 * kept already. */
void farewell_take(struct farewell *farewell, int fd);

#endif
