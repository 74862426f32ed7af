/*
 * auth_rate_limit: how often something wrong was shown lately, by client address (as
 * api/http/client_network.h counts them) and by the first characters of what was shown: so that
 * guessing is slow. Only failures are counted. Whoever is over the limit stays so until the window
 * that its first failure began has passed. Bounded: what failed least is forgotten first. Safe from
 * any thread.
 */
#ifndef API_AUTH_AUTH_RATE_LIMIT_H
#define API_AUTH_AUTH_RATE_LIMIT_H

#include <stdint.h>

struct auth_rate_limit;

enum { AUTH_RATE_LIMIT = 100, FAILURE_WINDOW_MS = 60000 };

/* `most` failures are allowed within a window. Never NULL. */
struct auth_rate_limit *auth_rate_limit_new(unsigned most);
void auth_rate_limit_free(struct auth_rate_limit *limit); /* NULL is fine */

/* Counts a failure of this address and of the first characters of `token` (NULL: of the address
 * alone). `now_ms`: clock_boot_ms. */
void auth_rate_limit_note(struct auth_rate_limit *limit, const char *address, const char *token,
                          int64_t now_ms);

/* For how many milliseconds this address or these first characters are over the limit; 0: they are
 * not. Costs next to nothing while nobody is. */
int64_t auth_rate_limit_left(struct auth_rate_limit *limit, const char *address, const char *token,
                             int64_t now_ms);

#endif
