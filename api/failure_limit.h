/*
 * failure_limit: how often a wrong token was shown lately, by client address and by the token's
 * first characters: so that guessing is slow. Only failures are counted, and whoever has a right
 * token is never asked here. Bounded: what failed least is forgotten first. Safe from any thread.
 */
#ifndef API_FAILURE_LIMIT_H
#define API_FAILURE_LIMIT_H

#include <stdbool.h>
#include <stdint.h>

struct failure_limit;

enum { FAILURE_LIMIT = 100, FAILURE_WINDOW_MS = 60000 };

/* Never NULL. */
struct failure_limit *failure_limit_new(void);
void failure_limit_free(struct failure_limit *limit); /* NULL is fine */

/* Counts a failure. False: this address, or these first characters, have failed more than
 * FAILURE_LIMIT times within a window that began at most FAILURE_WINDOW_MS before `now_ms`
 * (clock_boot_ms). */
bool failure_limit_note(struct failure_limit *limit, const char *address, const char *token,
                        int64_t now_ms);

#endif
