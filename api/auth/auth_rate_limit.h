/*
 * auth_rate_limit: counts wrong credentials, by client address (as api/http/client_network.h groups
 * them) and by the first characters of the credential, to limit the rate of guesses. Only failures
 * are counted. A source over the limit stays over it until FAILURE_WINDOW_MS after its first
 * failure. The table is bounded: the entry with the fewest failures is replaced first. Safe from
 * any thread.
 */
#ifndef API_AUTH_AUTH_RATE_LIMIT_H
#define API_AUTH_AUTH_RATE_LIMIT_H

#include <stdint.h>

struct auth_rate_limit;

enum { AUTH_RATE_LIMIT = 100, FAILURE_WINDOW_MS = 60000 };

/* Returns a new table, never NULL. `most`: failures of a source that are allowed within a
 * window. */
struct auth_rate_limit *auth_rate_limit_new(unsigned most);
void auth_rate_limit_free(struct auth_rate_limit *limit); /* NULL is allowed */

/* Counts a failure of this address and of the first characters of `token` (NULL: of the address
 * alone). `now_ms`: clock_boot_ms. */
void auth_rate_limit_note(struct auth_rate_limit *limit, const char *address, const char *token,
                          int64_t now_ms);

/* The number of milliseconds for which this address or these first characters stay over the limit;
 * 0: they are not over it. `now_ms`: clock_boot_ms. Takes no lock while no source is over the
 * limit. */
int64_t auth_rate_limit_left(struct auth_rate_limit *limit, const char *address, const char *token,
                             int64_t now_ms);

#endif
