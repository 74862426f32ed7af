/*
 * known_tokens: the tokens that this replica has seen to be good, as keyed hashes: those that were
 * given to it in clear, and each that has passed. While an address guesses too often, a token in
 * here may still be judged; nothing else from there is (api/auth/auth.h). That a token is in here
 * gives it no right.
 *
 * Bounded: in its set, the one longest unused makes room. Only good tokens come in, so that nobody
 * else can push one out. Made by main, filled by auth and course_config. Safe from any thread.
 */
#ifndef API_AUTH_KNOWN_TOKENS_H
#define API_AUTH_KNOWN_TOKENS_H

#include <stdbool.h>

struct known_tokens;

/* Never NULL. */
struct known_tokens *known_tokens_new(void);
void known_tokens_free(struct known_tokens *known); /* NULL is fine */

/* NULL is fine, for both: nothing is remembered. */
void known_tokens_add(struct known_tokens *known, const char *token);

bool known_tokens_has(struct known_tokens *known, const char *token);

#endif
