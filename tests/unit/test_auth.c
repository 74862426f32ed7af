/* Compiles api/auth/auth.c against a fake request and fake settings, so it is not named
 * test_api_auth: those link the real ones. */
#define exchange_header fake_exchange_header
#define exchange_request fake_exchange_request
#define exchange_local_address fake_exchange_local_address
#define exchange_retry_after fake_exchange_retry_after
#define setting_store_agree fake_setting_store_agree
#define run_store_has_any fake_run_store_has_any
#define clock_boot_ms fake_clock_boot_ms

#include "api/auth/auth.c"
#include "api/auth/auth_rate_limit.c"
#include "api/http/client_network.c"
#include "api/http/host_check.c"
#include "api/auth/known_tokens.c"
#include "api/auth/run_key.c"
/* last: its names would hide those of the others */
#include "api/metrics.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <unistd.h>

struct exchange {
    const char *authorization, *host, *origin;
    int retry_after_s;
    struct request request;
};

static int64_t now_ms;

int64_t fake_clock_boot_ms(void)
{
    return now_ms;
}

const char *fake_exchange_header(const struct exchange *exchange, const char *name)
{
    if (strcasecmp(name, "host") == 0)
        return exchange->host;
    if (strcasecmp(name, "origin") == 0)
        return exchange->origin;
    return strcasecmp(name, "authorization") == 0 ? exchange->authorization : NULL;
}

void fake_exchange_local_address(const struct exchange *exchange,
                                 char address[EXCHANGE_ADDRESS_SIZE])
{
    (void)exchange;
    snprintf(address, EXCHANGE_ADDRESS_SIZE, "198.51.100.9");
}

void fake_exchange_retry_after(struct exchange *exchange, int seconds)
{
    exchange->retry_after_s = seconds;
}

const struct request *fake_exchange_request(const struct exchange *exchange)
{
    return &exchange->request;
}

static struct {
    bool is_unavailable;
    unsigned asked;
    bool has_runs;
    char cluster[SETTING_SIZE], internal[SETTING_SIZE], run_key[SETTING_SIZE];
} fake_settings;

enum bw_code fake_run_store_has_any(struct run_store *store, bool *has_any, struct bw_error *error)
{
    (void)store;
    *has_any = fake_settings.has_runs;
    return fake_settings.is_unavailable ? bw_fail(error, BW_UNAVAILABLE, "away") : BW_OK;
}

enum bw_code fake_setting_store_agree(struct setting_store *store, const char *name,
                                      const char *proposed, char value[SETTING_SIZE], bool *is_new,
                                      struct bw_error *error)
{
    (void)store;
    char *kept = strcmp(name, "cluster_token") == 0 ? fake_settings.cluster
                                                    : fake_settings.internal;
    if (strcmp(name, "run_key") == 0)
        kept = fake_settings.run_key;
    else
        fake_settings.asked++;
    if (fake_settings.is_unavailable)
        return bw_fail(error, BW_UNAVAILABLE, "away");
    *is_new = kept[0] == '\0';
    if (*is_new)
        snprintf(kept, SETTING_SIZE, "%s", proposed);
    snprintf(value, SETTING_SIZE, "%s", kept);
    return BW_OK;
}

static struct bw_error error;

static struct api_options given(const char *address, const char *client_token)
{
    return (struct api_options){.bind_address = address,
                                .client_token = client_token,
                                .cluster_token = "the-cluster-token",
                                .internal_token = "the-internal-token"};
}

static struct api api;

static enum bw_code try_to_open(const struct api_options *options, struct auth_keys **keys)
{
    struct auth_keys *opened = NULL;
    api.options = options;
    assert_int_equal(auth_open(&api, &opened, &error), BW_OK);
    enum bw_code code = auth_learn(opened, &error);
    if (code == BW_OK)
        *keys = opened;
    else
        auth_close(opened);
    return code;
}

static struct auth_keys *open_keys(struct api_options options)
{
    struct auth_keys *keys = NULL;
    assert_int_equal(try_to_open(&options, &keys), BW_OK);
    return keys;
}

static int64_t checked(void)
{
    return metric_read(api.metrics, API_TOKENS_CHECKED);
}

static struct exchange from(const char *address, const char *authorization)
{
    struct exchange exchange = {.authorization = authorization, .host = "localhost:1470"};
    snprintf(exchange.request.address, sizeof exchange.request.address, "%s", address);
    return exchange;
}

static enum bw_code ask_client(struct auth_keys *keys, const char *authorization)
{
    struct exchange exchange = from("192.0.2.1", authorization);
    return auth_client(keys, &exchange, &error);
}

static int reset(void **state)
{
    (void)state;
    memset(&fake_settings, 0, sizeof fake_settings);
    metrics_free(api.metrics);
    known_tokens_free(api.known_tokens);
    api.metrics = api_metrics_new();
    api.known_tokens = known_tokens_new();
    now_ms = 1000000;
    return 0;
}

static enum bw_code register_from(struct auth_keys *keys, const char *token, const char *address)
{
    struct exchange exchange = from(address, NULL);
    return auth_cluster(keys, &exchange, token, &error);
}

static void clients_need_no_token_on_loopback(void **state)
{
    (void)state;
    static const char *const loopback[] = {"127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"};
    for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++) {
        struct auth_keys *keys = open_keys(given(loopback[i], "the-client-token"));
        assert_int_equal(ask_client(keys, NULL), BW_OK);
        assert_int_equal(ask_client(keys, "Bearer wrong"), BW_OK);
        auth_close(keys);
    }
}

static void beyond_loopback_clients_need_the_token(void **state)
{
    (void)state;
    static const char *const refused[] = {NULL,
                                          "",
                                          "Bearer",
                                          "Bearer ",
                                          "Bearer wrong",
                                          "Basic the-client-token",
                                          "the-client-token",
                                          "Bearerthe-client-token",
                                          "Bearer the-client-tokenx",
                                          "Bearer the-cluster-token"};
    static const char *const beyond[] = {"0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1"};
    for (size_t k = 0; k < sizeof beyond / sizeof *beyond; k++) {
        struct auth_keys *keys = open_keys(given(beyond[k], "the-client-token"));
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
            assert_int_equal(ask_client(keys, refused[i]), BW_UNAUTHORIZED);
        assert_int_equal(ask_client(keys, "Bearer the-client-token"), BW_OK);
        assert_int_equal(ask_client(keys, "bearer   the-client-token"), BW_OK);
        auth_close(keys);
    }
}

static void without_a_token_clients_beyond_loopback_are_refused(void **state)
{
    (void)state;
    struct auth_keys *keys = open_keys(given("0.0.0.0", NULL));
    assert_int_equal(ask_client(keys, NULL), BW_UNAUTHORIZED);
    assert_non_null(strstr(error.message, "--anonymous-clients"));
    assert_int_equal(ask_client(keys, "Bearer "), BW_UNAUTHORIZED);
    assert_int_equal(ask_client(keys, "Bearer x"), BW_UNAUTHORIZED);
    auth_close(keys);
}

static void anonymous_clients_are_allowed_by_the_flag(void **state)
{
    (void)state;
    struct api_options options = given("0.0.0.0", NULL);
    options.anonymous_clients = true;
    struct auth_keys *keys = open_keys(options);
    assert_int_equal(ask_client(keys, NULL), BW_OK);
    auth_close(keys);
}

static void only_the_cluster_token_registers(void **state)
{
    (void)state;
    struct auth_keys *keys = open_keys(given("127.0.0.1", NULL));
    assert_int_equal(register_from(keys, "the-cluster-token", "192.0.2.1"), BW_OK);
    assert_int_equal(register_from(keys, "the-internal-token", "192.0.2.1"), BW_BAD_REQUEST);
    assert_string_equal(error.message, "the cluster token is wrong");
    assert_int_equal(register_from(keys, "", "192.0.2.1"), BW_BAD_REQUEST);
    assert_int_equal(register_from(keys, NULL, "192.0.2.1"), BW_BAD_REQUEST);
    assert_string_equal(error.message, "argument 'token' is missing");
    auth_close(keys);
}

/* Uses up the limit of an address. */
static void guess_from(struct auth_keys *keys, const char *address)
{
    char token[32];
    for (int i = 0; i < AUTH_RATE_LIMIT; i++) {
        snprintf(token, sizeof token, "%d-guess", 1000 + i);
        assert_int_equal(register_from(keys, token, address), BW_BAD_REQUEST);
    }
}

static void after_too_many_wrong_tokens_none_is_checked(void **state)
{
    (void)state;
    struct auth_keys *keys = open_keys(given("0.0.0.0", "the-client-token"));
    struct exchange course = from("192.0.2.1", NULL), callback = from("192.0.2.1", "Bearer wrong"),
                    guess = from("192.0.2.1", NULL);
    guess_from(keys, "192.0.2.1");
    assert_int_equal(checked(), AUTH_RATE_LIMIT);
    now_ms += 18500;
    assert_int_equal(auth_cluster(keys, &guess, "yet-another", &error), BW_TOO_MANY);
    assert_string_equal(error.message, "too many wrong tokens: try again in 42 seconds");
    assert_int_equal(guess.retry_after_s, 42);
    assert_int_equal(ask_client(keys, "Bearer wrong"), BW_TOO_MANY);
    assert_int_equal(auth_cluster_bearer(keys, &course, "wrong", &error), BW_TOO_MANY);
    assert_int_equal(auth_admit_token(keys, &course, "wrong", &error), BW_TOO_MANY);
    assert_int_equal(auth_internal(keys, &callback, &error), BW_TOO_MANY);
    assert_int_equal(checked(), AUTH_RATE_LIMIT);
    assert_int_equal(metric_read(api.metrics, API_CREDENTIALS_UNJUDGED), 5);
    assert_int_equal(register_from(keys, "wrong", "192.0.2.2"), BW_BAD_REQUEST);
    auth_close(keys);
}

static void tokens_known_in_clear_pass_during_guessing(void **state)
{
    (void)state;
    struct auth_keys *keys = open_keys(given("0.0.0.0", "the-client-token"));
    struct exchange callback = from("192.0.2.1", "Bearer the-internal-token");
    guess_from(keys, "192.0.2.1");
    assert_int_equal(register_from(keys, "the-cluster-token", "192.0.2.1"), BW_OK);
    assert_int_equal(ask_client(keys, "Bearer the-client-token"), BW_OK);
    assert_int_equal(auth_internal(keys, &callback, &error), BW_OK);
    assert_int_equal(register_from(keys, NULL, "192.0.2.1"), BW_BAD_REQUEST);
    assert_int_equal(ask_client(keys, "Bearer the-cluster-token"), BW_UNAUTHORIZED);
    auth_close(keys);
}

/* The keys of a replica that knows only the hash of a token that another replica made. */
static struct auth_keys *open_with_hash_of(const char *token)
{
    struct token_hash hash;
    struct api_options options = given("0.0.0.0", NULL);
    options.cluster_token = NULL;
    token_hash_make(token, &hash);
    token_hash_format(&hash, fake_settings.cluster);
    return open_keys(options);
}

static void unseen_valid_token_is_limited_until_the_window_ends(void **state)
{
    (void)state;
    struct auth_keys *keys = open_with_hash_of("good");
    guess_from(keys, "192.0.2.1");
    assert_int_equal(register_from(keys, "good", "192.0.2.1"), BW_TOO_MANY);
    now_ms += FAILURE_WINDOW_MS;
    assert_int_equal(register_from(keys, "good", "192.0.2.1"), BW_OK);
    auth_close(keys);
}

static void token_that_has_passed_once_passes_during_guessing(void **state)
{
    (void)state;
    struct auth_keys *keys = open_with_hash_of("good");
    assert_int_equal(register_from(keys, "good", "192.0.2.1"), BW_OK);
    guess_from(keys, "192.0.2.1");
    assert_int_equal(register_from(keys, "good", "192.0.2.1"), BW_OK);
    assert_int_equal(register_from(keys, "bad", "192.0.2.1"), BW_TOO_MANY);
    auth_close(keys);
}

static enum bw_code ask_page(struct auth_keys *keys, const char *host, const char *origin,
                             const char *authorization)
{
    struct exchange exchange = from("127.0.0.1", authorization);
    exchange.host = host;
    exchange.origin = origin;
    return auth_client(keys, &exchange, &error);
}

static void open_endpoints_serve_only_their_own_host_names(void **state)
{
    (void)state;
    struct api_options options = given("127.0.0.1", NULL);
    options.allowed_hosts = "grading.example.edu";
    struct auth_keys *keys = open_keys(options);
    assert_int_equal(ask_page(keys, "127.0.0.1:1470", NULL, NULL), BW_OK);
    assert_int_equal(ask_page(keys, "localhost:1470", "http://localhost:1470", NULL), BW_OK);
    assert_int_equal(ask_page(keys, "198.51.100.9:1470", NULL, NULL), BW_OK);
    assert_int_equal(ask_page(keys, "GRADING.example.edu", "https://grading.example.edu", NULL),
                     BW_OK);
    assert_int_equal(ask_page(keys, NULL, NULL, NULL), BW_FORBIDDEN);
    assert_non_null(strstr(error.message, "'Host'"));
    assert_int_equal(ask_page(keys, "", NULL, NULL), BW_FORBIDDEN);
    assert_int_equal(ask_page(keys, "evil.example:1470", NULL, NULL), BW_FORBIDDEN);
    assert_non_null(strstr(error.message, "--allowed-host"));
    assert_int_equal(ask_page(keys, "localhost", "http://evil.example", NULL), BW_FORBIDDEN);
    assert_non_null(strstr(error.message, "--allowed-host"));
    assert_int_equal(ask_page(keys, "localhost", "null", NULL), BW_FORBIDDEN);
    assert_int_equal(ask_page(keys, "localhost", "", NULL), BW_FORBIDDEN);
    auth_close(keys);
    options = given("0.0.0.0", NULL);
    options.anonymous_clients = true;
    keys = open_keys(options);
    assert_int_equal(ask_page(keys, "evil.example", NULL, NULL), BW_FORBIDDEN);
    assert_int_equal(ask_page(keys, "evil.example", NULL, "Bearer x"), BW_FORBIDDEN);
    auth_close(keys);
}

static void client_token_works_with_any_host_name(void **state)
{
    (void)state;
    struct auth_keys *keys = open_keys(given("127.0.0.1", "the-client-token"));
    assert_int_equal(ask_page(keys, "evil.example", NULL, "Bearer the-client-token"), BW_OK);
    assert_int_equal(ask_page(keys, "evil.example", NULL, "Bearer wrong"), BW_FORBIDDEN);
    assert_int_equal(ask_page(keys, "localhost", NULL, "Bearer wrong"), BW_OK);
    assert_int_equal(ask_page(keys, NULL, NULL, "Bearer the-client-token"), BW_OK);
    auth_close(keys);
    keys = open_keys(given("0.0.0.0", "the-client-token"));
    assert_int_equal(ask_page(keys, "any.example", "http://any.example", "Bearer the-client-token"),
                     BW_OK);
    auth_close(keys);
}

static void client_is_identified_by_a_valid_token(void **state)
{
    (void)state;
    struct auth_keys *keys = open_keys(given("127.0.0.1", "the-client-token"));
    static const char *const wrong[] = {NULL,           "",        "Bearer",
                                        "Bearer wrong", "Basic x", "Bearer the-client-token-x"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct exchange exchange = from("192.0.2.1", wrong[i]);
        assert_int_equal(auth_client(keys, &exchange, &error), BW_OK);
        assert_false(auth_has_client_token(keys, &exchange));
    }
    struct exchange client = from("192.0.2.1", "bearer the-client-token");
    assert_true(auth_has_client_token(keys, &client));
    auth_close(keys);
    keys = open_keys(given("127.0.0.1", NULL));
    assert_false(auth_has_client_token(keys, &client));
    auth_close(keys);
}

static void scheme_may_be_written_in_any_case(void **state)
{
    (void)state;
    static const char *const headers[] = {"Bearer abc", "bearer abc", "BEARER abc"};
    static const char *const bad[] = {NULL,         "",          "bearer", "bearer ",
                                      "bearer a b", "bearer  a", "a"};
    const char *token;
    for (size_t i = 0; i < sizeof headers / sizeof *headers; i++) {
        struct exchange exchange = from("192.0.2.1", headers[i]);
        assert_int_equal(auth_bearer_token(&exchange, &token, &error), BW_OK);
        assert_string_equal(token, "abc");
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct exchange exchange = from("192.0.2.1", bad[i]);
        assert_int_equal(auth_bearer_token(&exchange, &token, &error), BW_UNAUTHORIZED);
    }
}

static void ids_from_keys_are_equal_at_every_replica_and_differ_between_clusters(void **state)
{
    (void)state;
    char one[RUN_ID_SIZE], other[RUN_ID_SIZE], plain[RUN_ID_SIZE];
    struct auth_keys *first = open_keys(given("127.0.0.1", NULL)),
                     *second = open_keys(given("127.0.0.1", NULL));
    run_key_id(auth_run_key(first), "cs101", "night-1", one);
    run_key_id(auth_run_key(second), "cs101", "night-1", other);
    run_key_plain_id("cs101", "night-1", plain);
    assert_string_equal(one, other);
    assert_true(is_hex_id(one, RUN_ID_LENGTH));
    assert_string_not_equal(one, plain);
    assert_false(auth_run_key(first)->has_plain);
    auth_close(first);
    auth_close(second);
    fake_settings.run_key[0] = '\0';
    fake_settings.has_runs = true;
    first = open_keys(given("127.0.0.1", NULL));
    run_key_id(auth_run_key(first), "cs101", "night-1", other);
    assert_string_not_equal(one, other);
    assert_true(auth_run_key(first)->has_plain);
    fake_settings.has_runs = false;
    second = open_keys(given("127.0.0.1", NULL));
    assert_true(auth_run_key(second)->has_plain);
    auth_close(first);
    auth_close(second);
}

static void key_of_run_ids_must_be_readable(void **state)
{
    (void)state;
    struct api_options options = given("127.0.0.1", NULL);
    struct auth_keys *keys = NULL;
    snprintf(fake_settings.run_key, sizeof fake_settings.run_key, "not a key");
    assert_int_equal(try_to_open(&options, &keys), BW_INTERNAL);
    assert_null(keys);
}

static void callbacks_need_the_internal_token(void **state)
{
    (void)state;
    struct auth_keys *keys = open_keys(given("127.0.0.1", NULL));
    struct exchange right = from("127.0.0.1", "Bearer the-internal-token"),
                    none = from("127.0.0.1", NULL),
                    other = from("127.0.0.1", "Bearer the-cluster-token");
    assert_int_equal(auth_internal(keys, &right, &error), BW_OK);
    assert_int_equal(auth_internal(keys, &none, &error), BW_UNAUTHORIZED);
    assert_int_equal(auth_internal(keys, &other, &error), BW_UNAUTHORIZED);
    auth_close(keys);
}

static void second_tokens_are_valid_besides(void **state)
{
    (void)state;
    struct api_options options = given("0.0.0.0", "the-client-token");
    options.second_client_token = "second-client";
    options.second_cluster_token = "second-cluster";
    options.second_internal_token = "second-internal";
    struct auth_keys *keys = open_keys(options);
    struct exchange current = from("192.0.2.1", "Bearer the-internal-token"),
                    second = from("192.0.2.1", "Bearer second-internal"),
                    other = from("192.0.2.1", "Bearer second-cluster");
    assert_int_equal(ask_client(keys, "Bearer the-client-token"), BW_OK);
    assert_int_equal(ask_client(keys, "Bearer second-client"), BW_OK);
    assert_int_equal(ask_client(keys, "Bearer second-cluster"), BW_UNAUTHORIZED);
    assert_int_equal(register_from(keys, "the-cluster-token", "192.0.2.1"), BW_OK);
    assert_int_equal(register_from(keys, "second-cluster", "192.0.2.1"), BW_OK);
    assert_int_equal(register_from(keys, "second-client", "192.0.2.1"), BW_BAD_REQUEST);
    assert_int_equal(auth_internal(keys, &current, &error), BW_OK);
    assert_int_equal(auth_internal(keys, &second, &error), BW_OK);
    assert_int_equal(auth_internal(keys, &other, &error), BW_UNAUTHORIZED);
    auth_close(keys);
}

static void second_client_token_alone_opens_nothing(void **state)
{
    (void)state;
    struct api_options options = given("0.0.0.0", NULL);
    options.second_client_token = "second-client";
    struct auth_keys *keys = open_keys(options);
    assert_int_equal(ask_client(keys, "Bearer second-client"), BW_UNAUTHORIZED);
    auth_close(keys);
}

static void configured_tokens_are_not_read_from_the_database(void **state)
{
    (void)state;
    auth_close(open_keys(given("127.0.0.1", NULL)));
    assert_int_equal(fake_settings.asked, 0);
}

/* The text that is printed when `keys` are opened without a cluster token. */
static const char *printed_by_opening(struct auth_keys **keys)
{
    static char text[1024];
    struct api_options options = given("127.0.0.1", NULL);
    options.cluster_token = NULL;
    int ends[2], kept = dup(STDOUT_FILENO);
    assert_int_equal(pipe(ends), 0);
    fflush(stdout);
    dup2(ends[1], STDOUT_FILENO);
    *keys = open_keys(options);
    dup2(kept, STDOUT_FILENO);
    close(kept);
    close(ends[1]);
    ssize_t length = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    text[length < 0 ? 0 : length] = '\0';
    return text;
}

static void generated_cluster_token_is_printed_once_and_stored_as_a_hash(void **state)
{
    (void)state;
    struct auth_keys *first, *second;
    const char *text = printed_by_opening(&first), *token = strrchr(text, ' ');
    assert_non_null(token);
    char made[MADE_TOKEN_SIZE];
    snprintf(made, sizeof made, "%s", token + 1);
    assert_int_equal(strlen(made), MADE_TOKEN_SIZE - 1);
    assert_null(strstr(fake_settings.cluster, made));
    assert_int_equal(register_from(first, made, "192.0.2.1"), BW_OK);
    assert_string_equal(printed_by_opening(&second), "");
    assert_int_equal(register_from(second, made, "192.0.2.1"), BW_OK);
    auth_close(first);
    auth_close(second);
}

static void stored_tokens_must_exist_and_be_valid(void **state)
{
    (void)state;
    struct api_options options = given("127.0.0.1", NULL);
    struct auth_keys *keys = NULL;
    options.cluster_token = NULL;
    snprintf(fake_settings.cluster, sizeof fake_settings.cluster, "not a hash");
    assert_int_equal(try_to_open(&options, &keys), BW_INTERNAL);
    fake_settings.is_unavailable = true;
    assert_int_equal(try_to_open(&options, &keys), BW_UNAVAILABLE);
    options = given("127.0.0.1", NULL);
    options.internal_token = NULL;
    assert_int_equal(try_to_open(&options, &keys), BW_UNAVAILABLE);
    assert_null(keys);
}

static void until_a_token_is_read_only_its_users_are_unavailable(void **state)
{
    (void)state;
    struct api_options options = given("192.0.2.7", "the-client-token");
    struct auth_keys *keys = NULL;
    struct exchange right = from("127.0.0.1", "Bearer the-internal-token");
    struct exchange client = from("127.0.0.1", "Bearer the-client-token");
    options.cluster_token = NULL;
    api.options = &options;
    assert_int_equal(auth_open(&api, &keys, &error), BW_OK);
    assert_int_equal(auth_cluster(keys, &right, "anything", &error), BW_UNAVAILABLE);
    assert_int_equal(auth_cluster_bearer(keys, &right, "anything", &error), BW_UNAVAILABLE);
    assert_int_equal(auth_internal(keys, &right, &error), BW_OK);
    assert_int_equal(auth_client(keys, &client, &error), BW_OK);
    assert_null(auth_run_key(keys));
    auth_close(keys);
    options = given("192.0.2.7", "the-client-token");
    options.internal_token = NULL;
    assert_int_equal(auth_open(&api, &keys, &error), BW_OK);
    assert_int_equal(auth_internal(keys, &right, &error), BW_UNAVAILABLE);
    assert_int_equal(auth_cluster(keys, &right, "the-cluster-token", &error), BW_OK);
    auth_close(keys);
}

static void internal_token_is_generated_and_shared_if_none_is_given(void **state)
{
    (void)state;
    struct api_options options = given("127.0.0.1", NULL);
    options.internal_token = NULL;
    struct auth_keys *keys = open_keys(options);
    char header[SETTING_SIZE + 8];
    snprintf(header, sizeof header, "Bearer %s", fake_settings.internal);
    struct exchange right = from("127.0.0.1", header);
    assert_int_equal(auth_internal(keys, &right, &error), BW_OK);
    auth_close(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(clients_need_no_token_on_loopback, reset),
        cmocka_unit_test_setup(beyond_loopback_clients_need_the_token, reset),
        cmocka_unit_test_setup(without_a_token_clients_beyond_loopback_are_refused, reset),
        cmocka_unit_test_setup(anonymous_clients_are_allowed_by_the_flag, reset),
        cmocka_unit_test_setup(only_the_cluster_token_registers, reset),
        cmocka_unit_test_setup(after_too_many_wrong_tokens_none_is_checked, reset),
        cmocka_unit_test_setup(tokens_known_in_clear_pass_during_guessing, reset),
        cmocka_unit_test_setup(unseen_valid_token_is_limited_until_the_window_ends, reset),
        cmocka_unit_test_setup(token_that_has_passed_once_passes_during_guessing, reset),
        cmocka_unit_test_setup(open_endpoints_serve_only_their_own_host_names, reset),
        cmocka_unit_test_setup(client_token_works_with_any_host_name, reset),
        cmocka_unit_test_setup(client_is_identified_by_a_valid_token, reset),
        cmocka_unit_test_setup(scheme_may_be_written_in_any_case, reset),
        cmocka_unit_test_setup(ids_from_keys_are_equal_at_every_replica_and_differ_between_clusters,
                               reset),
        cmocka_unit_test_setup(key_of_run_ids_must_be_readable, reset),
        cmocka_unit_test_setup(callbacks_need_the_internal_token, reset),
        cmocka_unit_test_setup(second_tokens_are_valid_besides, reset),
        cmocka_unit_test_setup(second_client_token_alone_opens_nothing, reset),
        cmocka_unit_test_setup(configured_tokens_are_not_read_from_the_database, reset),
        cmocka_unit_test_setup(generated_cluster_token_is_printed_once_and_stored_as_a_hash, reset),
        cmocka_unit_test_setup(stored_tokens_must_exist_and_be_valid, reset),
        cmocka_unit_test_setup(until_a_token_is_read_only_its_users_are_unavailable, reset),
        cmocka_unit_test_setup(internal_token_is_generated_and_shared_if_none_is_given, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
