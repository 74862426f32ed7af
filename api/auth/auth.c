#include "api/auth/auth.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/metrics.h"
#include "api/auth/auth_rate_limit.h"
#include "api/http/host_check.h"
#include "api/auth/known_tokens.h"
#include "api/options.h"
#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/host_name.h"
#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/secret.h"

enum { MADE_TOKEN_SIZE = 65, SHORT_TOKEN = 16 };

enum client_access {
    CLIENTS_ARE_LOCAL,
    CLIENTS_ARE_ANONYMOUS,
    CLIENTS_HAVE_TOKEN,
    CLIENTS_ARE_SHUT_OUT
};

/* A token, and a second valid one during a replacement. */
struct token_pair {
    atomic_bool is_known; /* set once, after `current`, which does not change afterwards */
    struct token_hash current, second;
    bool has_second;
};

struct auth_keys {
    struct setting_store *settings; /* borrowed, as are runs, known and metrics */
    struct run_store *runs;
    struct known_tokens *known;
    struct metrics *metrics;
    enum client_access clients;
    bool has_client_token;
    const char *allowed_hosts; /* of --allowed-host, borrowed; NULL: none */
    struct token_pair client, cluster, internal;
    atomic_bool has_run_key; /* set once, after `run_key`, which does not change afterwards */
    struct run_key run_key;
    struct auth_rate_limit *failures;
};

static void token_pair_set_second(struct token_pair *pair, const char *token)
{
    pair->has_second = token != NULL;
    if (token != NULL)
        token_hash_make(token, &pair->second);
}

static void token_pair_set(struct token_pair *pair, const char *token)
{
    token_hash_make(token, &pair->current);
    atomic_store(&pair->is_known, true);
}

static enum bw_code token_pair_wait(const struct token_pair *pair, struct bw_error *error)
{
    if (atomic_load(&pair->is_known))
        return BW_OK;
    return bw_fail(error, BW_UNAVAILABLE,
                   "this server is starting: it has not read its tokens from the database yet");
}

/* Compares with both tokens, in constant time. */
static bool token_pair_matches(const struct token_pair *pair, const char *token)
{
    bool is_current = token_hash_matches(&pair->current, token);
    bool is_second = pair->has_second && token_hash_matches(&pair->second, token);
    return is_current || is_second;
}

/* ---- Learning the tokens ---- */

static enum client_access choose_client_access(const struct api_options *options)
{
    if (address_is_loopback(options->bind_address))
        return CLIENTS_ARE_LOCAL;
    if (options->anonymous_clients)
        return CLIENTS_ARE_ANONYMOUS;
    return options->client_token != NULL ? CLIENTS_HAVE_TOKEN : CLIENTS_ARE_SHUT_OUT;
}

/* Logs who may use client endpoints. If they are open on a public address, the line names the
 * option that opened them. */
static void log_client_access(enum client_access access)
{
    static const struct {
        enum log_level level;
        const char *who;
    } rows[] = {
        [CLIENTS_ARE_LOCAL] = {LOG_LEVEL_INFO, "anyone: the public port is bound to loopback"},
        [CLIENTS_ARE_ANONYMOUS] = {LOG_LEVEL_WARNING, "anyone who reaches the public port"},
        [CLIENTS_HAVE_TOKEN] = {LOG_LEVEL_INFO, "those with the client token"},
        [CLIENTS_ARE_SHUT_OUT] = {LOG_LEVEL_WARNING,
                                  "nobody: the public port is bound beyond loopback; "
                                  "give --client-token, or --anonymous-clients"},
    };
    const char *who = rows[access].who;
    if (access == CLIENTS_ARE_ANONYMOUS)
        log_warning("access to client endpoints", log_text("who", who),
                    log_text("source", config_source("anonymous-clients")));
    else
        log_write(rows[access].level, "access to client endpoints",
                  LOG_FIELDS(log_text("who", who)));
}

static void warn_if_short(const char *option, const char *token)
{
    if (token != NULL && strlen(token) < SHORT_TOKEN)
        log_warning("a token is short: it can be guessed",
                    log_text("source", config_source(option)));
}

/* Prints the token on standard output, not to the log, since logs are stored and distributed. */
static void auth_print_token(const char *token)
{
    printf(
        "broadway-api: made a cluster token, with which graders register. It is shown this once: %s\n",
        token);
    fflush(stdout);
    log_event(LOG_LEVEL_INFO, "cluster token created, and printed on standard output");
}

/* Reads the cluster token's hash, which all replicas share. The first replica creates the token. */
static enum bw_code agree_on_cluster_token(struct setting_store *settings, struct token_hash *hash,
                                           struct bw_error *error)
{
    char token[MADE_TOKEN_SIZE], proposed[TOKEN_HASH_TEXT_SIZE], kept[SETTING_SIZE];
    bool is_new;
    secret_random_hex(token, sizeof token);
    token_hash_make(token, hash);
    token_hash_format(hash, proposed);
    enum bw_code code = setting_store_agree(settings, "cluster_token", proposed, kept, &is_new,
                                            error);
    if (code != BW_OK)
        return code;
    if (!token_hash_parse(kept, hash))
        return bw_fail(error, BW_INTERNAL,
                       "the cluster token's hash in the collection 'settings' can't be read");
    if (is_new)
        auth_print_token(token);
    else
        log_info(
            "cluster token was created at an earlier start",
            log_text(
                "for_a_new_one",
                "delete 'cluster_token' from the collection settings and start every replica again, "
                "or give --cluster-token"));
    return BW_OK;
}

static enum bw_code learn_cluster_token(struct auth_keys *keys, struct bw_error *error)
{
    if (atomic_load(&keys->cluster.is_known))
        return BW_OK;
    enum bw_code code = agree_on_cluster_token(keys->settings, &keys->cluster.current, error);
    if (code == BW_OK)
        atomic_store(&keys->cluster.is_known, true);
    return code;
}

static enum bw_code learn_internal_token(struct auth_keys *keys, struct bw_error *error)
{
    char proposed[MADE_TOKEN_SIZE], agreed[SETTING_SIZE];
    bool is_new;
    if (atomic_load(&keys->internal.is_known))
        return BW_OK;
    secret_random_hex(proposed, sizeof proposed);
    enum bw_code code = setting_store_agree(keys->settings, "internal_token", proposed, agreed,
                                            &is_new, error);
    if (code != BW_OK)
        return code;
    known_tokens_add(keys->known, agreed);
    token_pair_set(&keys->internal, agreed);
    return BW_OK;
}

static enum bw_code learn_run_key(struct auth_keys *keys, struct bw_error *error)
{
    if (atomic_load(&keys->has_run_key))
        return BW_OK;
    enum bw_code code = run_key_agree(keys->settings, keys->runs, &keys->run_key, error);
    if (code == BW_OK)
        atomic_store(&keys->has_run_key, true);
    return code;
}

/* Reads the cluster token last, so that a new one is printed only if everything else has
 * succeeded. */
enum bw_code auth_learn(struct auth_keys *keys, struct bw_error *error)
{
    enum bw_code code = learn_internal_token(keys, error);
    if (code == BW_OK)
        code = learn_run_key(keys, error);
    return code == BW_OK ? learn_cluster_token(keys, error) : code;
}

/* Adds the configured tokens to the known ones. */
static void auth_remember_tokens(struct auth_keys *keys, const struct api_options *options)
{
    const char *const given[] = {options->cluster_token,         options->client_token,
                                 options->internal_token,        options->second_cluster_token,
                                 options->second_internal_token, options->second_client_token};
    for (size_t i = 0; i < sizeof given / sizeof *given; i++)
        known_tokens_add(keys->known, given[i]);
}

static void auth_take_options(struct auth_keys *keys, const struct api_options *options)
{
    keys->clients = choose_client_access(options);
    keys->has_client_token = options->client_token != NULL;
    keys->allowed_hosts = options->allowed_hosts;
    if (options->internal_token != NULL)
        token_pair_set(&keys->internal, options->internal_token);
    if (options->cluster_token != NULL)
        token_pair_set(&keys->cluster, options->cluster_token);
    if (options->client_token != NULL)
        token_pair_set(&keys->client, options->client_token);
    token_pair_set_second(&keys->internal, options->second_internal_token);
    token_pair_set_second(&keys->cluster, options->second_cluster_token);
    token_pair_set_second(&keys->client, options->second_client_token);
    auth_remember_tokens(keys, options);
    warn_if_short("internal-token", options->internal_token);
    warn_if_short("cluster-token", options->cluster_token);
    warn_if_short("client-token", options->client_token);
    warn_if_short("second-internal-token", options->second_internal_token);
    warn_if_short("second-cluster-token", options->second_cluster_token);
    warn_if_short("second-client-token", options->second_client_token);
    log_client_access(keys->clients);
}

enum bw_code auth_open(const struct api *api, struct auth_keys **keys, struct bw_error *error)
{
    (void)error;
    struct auth_keys *opened = bw_alloc(sizeof *opened);
    opened->settings = api->setting_store;
    opened->runs = api->run_store;
    opened->known = api->known_tokens;
    opened->metrics = api->metrics;
    opened->failures = auth_rate_limit_new(AUTH_RATE_LIMIT);
    auth_take_options(opened, api->options);
    *keys = opened;
    return BW_OK;
}

void auth_close(struct auth_keys *keys)
{
    if (keys == NULL)
        return;
    auth_rate_limit_free(keys->failures);
    free(keys);
}

const struct run_key *auth_run_key(const struct auth_keys *keys)
{
    return atomic_load(&keys->has_run_key) ? &keys->run_key : NULL;
}

/* ---- Checking ---- */

/* The token of "Authorization: Bearer TOKEN", or NULL. */
static const char *auth_find_bearer(const struct exchange *exchange)
{
    static const char scheme[] = "Bearer";
    const char *header = exchange_header(exchange, "Authorization");
    size_t length = sizeof scheme - 1;
    if (header == NULL || strncasecmp(header, scheme, length) != 0 || header[length] != ' ')
        return NULL;
    header += length + strspn(header + length, " ");
    return header[0] == '\0' ? NULL : header;
}

/* Refuses with BW_TOO_MANY, with the same time in the sentence and in the answer's header. */
static enum bw_code auth_refuse_too_many(struct auth_keys *keys, struct exchange *exchange,
                                         int64_t left_ms, struct bw_error *error)
{
    int seconds = (int)((left_ms + 999) / 1000);
    metric_add(keys->metrics, API_CREDENTIALS_UNJUDGED, 1);
    exchange_retry_after(exchange, seconds);
    return bw_fail(error, BW_TOO_MANY, "too many wrong tokens: try again in %d seconds", seconds);
}

enum bw_code auth_admit_token(struct auth_keys *keys, struct exchange *exchange, const char *token,
                              struct bw_error *error)
{
    int64_t left_ms = auth_rate_limit_left(keys->failures, exchange_request(exchange)->address,
                                           token, clock_boot_ms());
    if (left_ms > 0 && !known_tokens_has(keys->known, token))
        return auth_refuse_too_many(keys, exchange, left_ms, error);
    metric_add(keys->metrics, API_TOKENS_CHECKED, 1);
    return BW_OK;
}

void auth_accept_token(struct auth_keys *keys, const char *token)
{
    known_tokens_add(keys->known, token);
}

/* Counts a wrong token, and returns `code` with `sentence`. */
static enum bw_code auth_refuse_wrong(struct auth_keys *keys, const struct exchange *exchange,
                                      const char *token, enum bw_code code, const char *sentence,
                                      struct bw_error *error)
{
    auth_rate_limit_note(keys->failures, exchange_request(exchange)->address, token,
                         clock_boot_ms());
    return bw_fail(error, code, "%s", sentence);
}

enum bw_code auth_refuse_token(struct auth_keys *keys, const struct exchange *exchange,
                               const char *token, const char *sentence, struct bw_error *error)
{
    return auth_refuse_wrong(keys, exchange, token, BW_UNAUTHORIZED, sentence, error);
}

/* Checks that `token` is one of the pair; otherwise `code` with a sentence, or BW_TOO_MANY. */
static enum bw_code auth_check_token(struct auth_keys *keys, struct exchange *exchange,
                                     const struct token_pair *pair, const char *token,
                                     enum bw_code code, const char *sentence,
                                     struct bw_error *error)
{
    enum bw_code admitted = token_pair_wait(pair, error);
    if (admitted == BW_OK)
        admitted = auth_admit_token(keys, exchange, token, error);
    if (admitted != BW_OK)
        return admitted;
    if (!token_pair_matches(pair, token))
        return auth_refuse_wrong(keys, exchange, token, code, sentence, error);
    auth_accept_token(keys, token);
    return BW_OK;
}

/* On an open client endpoint: checks that the host name is allowed and that the request is not from
 * a foreign web page. A request without a Host (HTTP/1.0) is refused. */
static enum bw_code auth_check_page(const struct auth_keys *keys, const struct exchange *exchange,
                                    struct bw_error *error)
{
    const char *host = exchange_header(exchange, "Host"),
               *origin = exchange_header(exchange, "Origin");
    char local[EXCHANGE_ADDRESS_SIZE], shown[120];
    exchange_local_address(exchange, local);
    if (host == NULL)
        return bw_fail(error, BW_FORBIDDEN,
                       "the header 'Host' is missing: a request without a token needs one");
    if (!host_is_served(host, keys->allowed_hosts, local))
        return bw_fail(error, BW_FORBIDDEN,
                       "the name '%s' is not allowed for clients without a token: the "
                       "operator can add names by --allowed-host",
                       text_show(host, shown, sizeof shown));
    if (origin != NULL && !origin_is_served(origin, keys->allowed_hosts, local))
        return bw_fail(error, BW_FORBIDDEN,
                       "web pages of the origin '%s' may not use this server without a token: "
                       "its operator can add hosts by --allowed-host",
                       text_show(origin, shown, sizeof shown));
    return BW_OK;
}

/* A request with the client token is served under any host name. */
static enum bw_code auth_check_origin(struct auth_keys *keys, struct exchange *exchange,
                                      struct bw_error *error)
{
    struct bw_error reason;
    const char *token = auth_find_bearer(exchange);
    enum bw_code code = auth_check_page(keys, exchange, &reason);
    if (code == BW_OK)
        return BW_OK;
    if (token == NULL || !keys->has_client_token)
        return bw_fail(error, code, "%s", reason.message);
    return auth_check_token(keys, exchange, &keys->client, token, code, reason.message, error);
}

enum bw_code auth_client(struct auth_keys *keys, struct exchange *exchange, struct bw_error *error)
{
    if (keys->clients == CLIENTS_ARE_LOCAL || keys->clients == CLIENTS_ARE_ANONYMOUS)
        return auth_check_origin(keys, exchange, error);
    if (keys->clients == CLIENTS_ARE_SHUT_OUT)
        return bw_fail(
            error, BW_UNAUTHORIZED,
            "client endpoints are disabled: the operator enables them with --client-token or --anonymous-clients");
    const char *token = auth_find_bearer(exchange);
    if (token == NULL)
        return bw_fail(error, BW_UNAUTHORIZED,
                       "the header 'Authorization: Bearer <client token>' is missing");
    return auth_check_token(keys, exchange, &keys->client, token, BW_UNAUTHORIZED,
                            "the client token is wrong", error);
}

const char *auth_client_token_name(const struct auth_keys *keys, const struct exchange *exchange)
{
    const char *token = keys->has_client_token ? auth_find_bearer(exchange) : NULL;
    if (token == NULL)
        return NULL;
    bool is_current = token_hash_matches(&keys->client.current, token);
    bool is_second = keys->client.has_second && token_hash_matches(&keys->client.second, token);
    if (is_current)
        return "client-token";
    return is_second ? "second-client-token" : NULL;
}

bool auth_has_client_token(const struct auth_keys *keys, const struct exchange *exchange)
{
    return auth_client_token_name(keys, exchange) != NULL;
}

void auth_token_fingerprint(const struct auth_keys *keys, const struct exchange *exchange,
                            char fingerprint[FINGERPRINT_SIZE])
{
    static const char purpose[] = "fingerprint of a token";
    char digest[SHA256_TEXT_SIZE];
    const char *token = auth_find_bearer(exchange);
    const struct run_key *key = auth_run_key(keys);
    fingerprint[0] = '\0';
    if (token == NULL || key == NULL)
        return;
    secret_keyed_digest(
        key->secret,
        (const struct digest_part[]){{purpose, sizeof purpose - 1}, {token, strlen(token)}}, 2,
        digest);
    snprintf(fingerprint, FINGERPRINT_SIZE, "%.*s", FINGERPRINT_SIZE - 1, digest);
}

enum bw_code auth_cluster(struct auth_keys *keys, struct exchange *exchange, const char *token,
                          struct bw_error *error)
{
    if (token == NULL)
        return bw_fail(error, BW_BAD_REQUEST, "argument 'token' is missing");
    return auth_check_token(keys, exchange, &keys->cluster, token, BW_BAD_REQUEST,
                            "the cluster token is wrong", error);
}

enum bw_code auth_bearer_token(const struct exchange *exchange, const char **token,
                               struct bw_error *error)
{
    const char *found = auth_find_bearer(exchange);
    if (found == NULL || found[-2] == ' ' || strpbrk(found, " \t") != NULL)
        return bw_fail(error, BW_UNAUTHORIZED, "invalid token format");
    *token = found;
    return BW_OK;
}

enum bw_code auth_cluster_bearer(struct auth_keys *keys, struct exchange *exchange,
                                 const char *token, struct bw_error *error)
{
    return auth_check_token(keys, exchange, &keys->cluster, token, BW_UNAUTHORIZED, "invalid token",
                            error);
}

enum bw_code auth_internal(struct auth_keys *keys, struct exchange *exchange,
                           struct bw_error *error)
{
    const char *token = auth_find_bearer(exchange);
    if (token == NULL)
        return bw_fail(error, BW_UNAUTHORIZED,
                       "the header 'Authorization: Bearer <internal token>' is missing");
    return auth_check_token(keys, exchange, &keys->internal, token, BW_UNAUTHORIZED,
                            "the internal token is wrong", error);
}
