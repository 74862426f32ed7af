/*
 * auth: authorizes requests. It holds the tokens of this replica as salted hashes, compares in
 * constant time, and limits the rate of guesses. Opened by service, called by dispatch. Safe from
 * any thread; only auth_learn waits.
 *
 * Client endpoints are open if the public port is bound to loopback, or with --anonymous-clients.
 * Open endpoints serve only requests for allowed host names, and none from foreign web pages
 * (api/http/host_check.h), unless the request has the client token. Otherwise client endpoints
 * require the client token; without one they are closed. The cluster token is configured, or
 * created at the first start, shown once, and its hash stored in the database. The internal token
 * is configured, or agreed upon in the database, for one machine. For each of the three a second
 * one may be valid, so that tokens can be replaced without downtime.
 *
 * After AUTH_RATE_LIMIT wrong tokens within a minute from an address, or with the same beginning,
 * no token of that address or with that beginning is checked until the minute has passed: the
 * answer is 429 at once, on every port. Only tokens that this replica knows to be valid
 * (api/auth/known_tokens.h) are still checked, so that a caller can't lock out others behind the
 * same address.
 */
#ifndef API_AUTH_AUTH_H
#define API_AUTH_AUTH_H

#include "api/api.h"
#include "api/http/exchange.h"
#include "api/auth/run_key.h"

struct auth_keys;

/* Takes the configured tokens, and logs which callers are authorized. Borrows options,
 * setting_store, run_store, known_tokens and metrics of `api` until auth_close. Does not wait:
 * auth_learn reads the tokens that are not configured; until then, checks against these return
 * BW_UNAVAILABLE. On BW_OK *keys is new. */
enum bw_code auth_open(const struct api *api, struct auth_keys **keys, struct bw_error *error)
    BW_CHECKED;

/* Reads from the database the tokens that are not configured, and the key of run ids; shows a new
 * cluster token. Only for main's thread, while other threads check tokens. BW_UNAVAILABLE: the
 * database can't be reached, so the caller repeats it; BW_INTERNAL: the stored values can't be
 * read. */
enum bw_code auth_learn(struct auth_keys *keys, struct bw_error *error) BW_CHECKED;
void auth_close(struct auth_keys *keys); /* NULL is allowed */

/* In the functions below, BW_TOO_MANY comes with a sentence that has the remaining time, and sets
 * the answer's Retry-After to the same time. */

/* Whether this request may use the client endpoints. BW_OK, BW_UNAUTHORIZED, BW_FORBIDDEN,
 * BW_TOO_MANY. */
enum bw_code auth_client(struct auth_keys *keys, struct exchange *exchange, struct bw_error *error)
    BW_CHECKED;

/* Whether this request has the client token. For open endpoints, after auth_client. A wrong token
 * is not counted as a failure here, since a right one would authorize nothing more. */
bool auth_has_client_token(const struct auth_keys *keys, const struct exchange *exchange);

/* The same, and which one of the two it is: the name of its option, "client-token" or
 * "second-client-token"; NULL: it has neither. Static. */
const char *auth_client_token_name(const struct auth_keys *keys, const struct exchange *exchange);

/* A fingerprint of the token of "Authorization: Bearer TOKEN": 12 hex digits that are the same on
 * each replica and after each start, from which the token can't be found. "": there is no token, or
 * auth_learn has not read the cluster's secret yet. */
enum { FINGERPRINT_SIZE = 13 };
void auth_token_fingerprint(const struct auth_keys *keys, const struct exchange *exchange,
                            char fingerprint[FINGERPRINT_SIZE]);

/* Whether a grader may register with this token (NULL: the request has none). BW_OK,
 * BW_BAD_REQUEST, BW_TOO_MANY. */
enum bw_code auth_cluster(struct auth_keys *keys, struct exchange *exchange, const char *token,
                          struct bw_error *error) BW_CHECKED;

/* The token of "Authorization: Bearer TOKEN", for protocols in which every request has one. The
 * scheme is case-insensitive and followed by exactly one space (auth_client allows more) and one
 * token. Borrowed from the request. BW_OK, BW_UNAUTHORIZED. */
enum bw_code auth_bearer_token(const struct exchange *exchange, const char **token,
                               struct bw_error *error) BW_CHECKED;

/* Whether this token is the cluster token. BW_OK, BW_UNAUTHORIZED, BW_TOO_MANY. */
enum bw_code auth_cluster_bearer(struct auth_keys *keys, struct exchange *exchange,
                                 const char *token, struct bw_error *error) BW_CHECKED;

/* For tokens that another module compares: whether this token may be checked. After BW_OK the
 * caller must call one of the two functions below. BW_OK, BW_TOO_MANY. */
enum bw_code auth_admit_token(struct auth_keys *keys, struct exchange *exchange, const char *token,
                              struct bw_error *error) BW_CHECKED;

/* Reports that the token was valid. */
void auth_accept_token(struct auth_keys *keys, const char *token);

/* Reports that the token was wrong. Returns BW_UNAUTHORIZED with `sentence`. */
enum bw_code auth_refuse_token(struct auth_keys *keys, const struct exchange *exchange,
                               const char *token, const char *sentence, struct bw_error *error)
    BW_CHECKED;

/* Whether this request comes from the scheduler. BW_OK, BW_UNAUTHORIZED, BW_TOO_MANY. */
enum bw_code auth_internal(struct auth_keys *keys, struct exchange *exchange,
                           struct bw_error *error) BW_CHECKED;

/* The key for ids of runs, borrowed until auth_close. NULL: auth_learn has not read it yet. */
const struct run_key *auth_run_key(const struct auth_keys *keys);

#endif
