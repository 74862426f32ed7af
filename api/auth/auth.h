/*
 * auth: who may call. Holds the tokens of this replica as salted hashes, compares in constant time,
 * and slows down those who guess. Opened by main, asked by dispatch. Safe from any thread; never
 * waits, but for auth_learn.
 *
 * Client endpoints are open while the public port is bound to loopback, or with
 * --anonymous-clients: then only to requests for names that are served, and from no foreign web
 * page (api/http/host_check.h), unless they carry the client token. Else they take the client
 * token, and without one they are closed. The cluster token is given, or made at the first start,
 * shown once, and its hash kept in the database. The internal token is given, or agreed upon in the
 * database, for one machine. Beside each of the three a second one may be valid, so that tokens can
 * be replaced without a stop.
 *
 * After AUTH_RATE_LIMIT wrong tokens within a minute from an address, or with the same beginning,
 * nothing of that address or beginning is judged any more until the minute has passed: the answer
 * is 429 at once, on every port. Only tokens that this replica knows to be good
 * (api/auth/known_tokens.h) are judged all the same, so that nobody is locked out by a neighbour.
 */
#ifndef API_AUTH_AUTH_H
#define API_AUTH_AUTH_H

#include "api/api.h"
#include "api/http/exchange.h"
#include "api/auth/run_key.h"

struct auth_keys;

/* Takes the tokens that are given, and logs who may call. Uses options, setting_store, run_store,
 * known_tokens and metrics of `api`, which are borrowed until auth_close. Does not wait: tokens
 * that are not given are learned by auth_learn, and until then whatever must be compared with them
 * is BW_UNAVAILABLE. */
enum bw_code auth_open(const struct api *api, struct auth_keys **keys, struct bw_error *error)
    BW_CHECKED;

/* Learns from the database the tokens that were not given, and the key of run ids; a cluster token
 * that is made is shown. For main's thread alone, while others judge. BW_UNAVAILABLE: it could not,
 * try again; BW_INTERNAL: what is kept there can't be read. */
enum bw_code auth_learn(struct auth_keys *keys, struct bw_error *error) BW_CHECKED;
void auth_close(struct auth_keys *keys); /* NULL is fine */

/* Below, BW_TOO_MANY comes with a sentence that says for how long, and sets the answer's
 * Retry-After to the same. */

/* May this request use the client endpoints? BW_OK, BW_UNAUTHORIZED, BW_FORBIDDEN, BW_TOO_MANY. */
enum bw_code auth_client(struct auth_keys *keys, struct exchange *exchange, struct bw_error *error)
    BW_CHECKED;

/* Does this request carry the client token? For endpoints that are open all the same, after
 * auth_client: a wrong token is not counted there, since it opens nothing. */
bool auth_has_client_token(const struct auth_keys *keys, const struct exchange *exchange);

/* May a grader register with this token (NULL: it gave none)? BW_OK, BW_BAD_REQUEST, BW_TOO_MANY.
 */
enum bw_code auth_cluster(struct auth_keys *keys, struct exchange *exchange, const char *token,
                          struct bw_error *error) BW_CHECKED;

/* The token of a request of the course protocol: "Authorization: Bearer TOKEN", the word in any
 * case, one space, one token. Borrowed from the request. BW_OK, BW_UNAUTHORIZED. */
enum bw_code auth_course_token(const struct exchange *exchange, const char **token,
                               struct bw_error *error) BW_CHECKED;

/* Is it the cluster token? BW_OK, BW_UNAUTHORIZED, BW_TOO_MANY. */
enum bw_code auth_course_cluster(struct auth_keys *keys, struct exchange *exchange,
                                 const char *token, struct bw_error *error) BW_CHECKED;

/* For tokens that are compared elsewhere: may this one be judged? Then one of the two below must
 * follow. BW_OK, BW_TOO_MANY. */
enum bw_code auth_admit_token(struct auth_keys *keys, struct exchange *exchange, const char *token,
                              struct bw_error *error) BW_CHECKED;

/* It was good. */
void auth_accept_token(struct auth_keys *keys, const char *token);

/* It was wrong: BW_UNAUTHORIZED with `sentence`. */
enum bw_code auth_refuse_token(struct auth_keys *keys, const struct exchange *exchange,
                               const char *token, const char *sentence, struct bw_error *error)
    BW_CHECKED;

/* Does this request come from the scheduler? BW_OK, BW_UNAUTHORIZED, BW_TOO_MANY. */
enum bw_code auth_internal(struct auth_keys *keys, struct exchange *exchange,
                           struct bw_error *error) BW_CHECKED;

/* With which ids of runs are made. NULL: not learned yet. */
const struct run_key *auth_run_key(const struct auth_keys *keys);

#endif
