/*
 * auth: who may call. Holds the tokens of this replica as salted hashes, compares in constant time,
 * and slows down those who guess. A right token always passes. Opened by main, asked by dispatch.
 * Safe from any thread; never waits, but for auth_learn.
 *
 * Client endpoints are open while the public port is bound to loopback, or with
 * --anonymous-clients; else they take the client token, and without one they are closed. The
 * cluster token is given, or made at the first start, shown once, and its hash kept in the
 * database. The internal token is given, or agreed upon in the database, for one machine. Beside
 * each of the three a second one may be valid, so that tokens can be replaced without a stop.
 */
#ifndef API_AUTH_H
#define API_AUTH_H

#include "api/exchange.h"
#include "api/options.h"
#include "common/store/setting_store.h"

struct auth_keys;

/* Takes the tokens that are given, and logs who may call. `settings` is borrowed until auth_close.
 * Does not wait: tokens that are not given are learned by auth_learn, and until then whatever must
 * be compared with them is BW_UNAVAILABLE. */
enum bw_code auth_open(const struct api_options *options, struct setting_store *settings,
                       struct auth_keys **keys, struct bw_error *error) BW_CHECKED;

/* Learns from the database the tokens that were not given; a cluster token that is made is shown.
 * For main's thread alone, while others judge. BW_UNAVAILABLE: it could not, try again;
 * BW_INTERNAL: what is kept there can't be read. */
enum bw_code auth_learn(struct auth_keys *keys, struct bw_error *error) BW_CHECKED;
void auth_close(struct auth_keys *keys); /* NULL is fine */

/* May this request use the client endpoints? BW_OK, BW_UNAUTHORIZED, BW_TOO_MANY. */
enum bw_code auth_client(struct auth_keys *keys, const struct exchange *exchange,
                         struct bw_error *error) BW_CHECKED;

/* May a grader at this address register with this token (NULL: it gave none)? BW_OK,
 * BW_BAD_REQUEST, BW_TOO_MANY. */
enum bw_code auth_cluster(struct auth_keys *keys, const char *token, const char *address,
                          struct bw_error *error) BW_CHECKED;

/* The token of a request of the course protocol: "Authorization: Bearer TOKEN", the word, one
 * space, one token. Borrowed from the request. BW_OK, BW_UNAUTHORIZED. */
enum bw_code auth_course_token(const struct exchange *exchange, const char **token,
                               struct bw_error *error) BW_CHECKED;

/* Is it the cluster token? BW_OK, BW_UNAUTHORIZED, BW_TOO_MANY. */
enum bw_code auth_course_cluster(struct auth_keys *keys, const char *token, const char *address,
                                 struct bw_error *error) BW_CHECKED;

/* Notes a token that was wrong. BW_UNAUTHORIZED with `sentence`, or BW_TOO_MANY. */
enum bw_code auth_refuse_token(struct auth_keys *keys, const char *address, const char *token,
                               const char *sentence, struct bw_error *error) BW_CHECKED;

/* Does this request come from the scheduler? BW_OK, BW_UNAUTHORIZED. */
enum bw_code auth_internal(struct auth_keys *keys, const struct exchange *exchange,
                           struct bw_error *error) BW_CHECKED;

#endif
