/*
 * known_tokens: the tokens that this replica knows to be valid, as keyed hashes: the configured
 * ones, and each that passed a check. While an address is over the limit of guesses, only tokens in
 * this table are still checked (api/auth/auth.h). The table itself authorizes nothing.
 *
 * The table is bounded: in a full set, the least recently used token is replaced. Only valid tokens
 * are added, so that callers without one can't displace any. Created by service, filled by auth and
 * course_config. Safe from any thread.
 */
#ifndef API_AUTH_KNOWN_TOKENS_H
#define API_AUTH_KNOWN_TOKENS_H

#include <stdbool.h>

struct known_tokens;

/* Returns a new table, never NULL. */
struct known_tokens *known_tokens_new(void);
void known_tokens_free(struct known_tokens *known); /* NULL is allowed */

/* Adds a token, and tests for one. `known` may be NULL: then nothing is stored. */
void known_tokens_add(struct known_tokens *known, const char *token);

bool known_tokens_has(struct known_tokens *known, const char *token);

#endif
