/* Compiles api/auth.c against a fake request and fake settings, so it is not named test_api_auth:
 * those link the real ones. */
#define exchange_header fake_exchange_header
#define exchange_request fake_exchange_request
#define setting_store_agree fake_setting_store_agree

#include "api/auth.c"
#include "api/failure_limit.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <unistd.h>

struct exchange {
    const char *authorization;
    struct request request;
};

const char *fake_exchange_header(const struct exchange *exchange, const char *name)
{
    return strcasecmp(name, "authorization") == 0 ? exchange->authorization : NULL;
}

const struct request *fake_exchange_request(const struct exchange *exchange)
{
    return &exchange->request;
}

static struct {
    bool is_away;
    unsigned asked;
    char cluster[SETTING_SIZE], internal[SETTING_SIZE];
} fake_settings;

enum bw_code fake_setting_store_agree(struct setting_store *store, const char *name,
                                      const char *proposed, char value[SETTING_SIZE], bool *is_new,
                                      struct bw_error *error)
{
    (void)store;
    char *kept = strcmp(name, "cluster_token") == 0 ? fake_settings.cluster
                                                    : fake_settings.internal;
    fake_settings.asked++;
    if (fake_settings.is_away)
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

static struct auth_keys *open_keys(struct api_options options)
{
    struct auth_keys *keys = NULL;
    assert_int_equal(auth_open(&options, NULL, &keys, &error), BW_OK);
    assert_int_equal(auth_learn(keys, &error), BW_OK);
    return keys;
}

static struct exchange from(const char *address, const char *authorization)
{
    struct exchange exchange = {.authorization = authorization};
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
    return 0;
}

static void clients_are_let_in_on_loopback(void **state)
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

static void without_a_token_nobody_is_let_in_beyond_loopback(void **state)
{
    (void)state;
    struct auth_keys *keys = open_keys(given("0.0.0.0", NULL));
    assert_int_equal(ask_client(keys, NULL), BW_UNAUTHORIZED);
    assert_non_null(strstr(error.message, "--anonymous-clients"));
    assert_int_equal(ask_client(keys, "Bearer "), BW_UNAUTHORIZED);
    assert_int_equal(ask_client(keys, "Bearer x"), BW_UNAUTHORIZED);
    auth_close(keys);
}

static void anonymous_clients_are_let_in_if_the_operator_says_so(void **state)
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
    assert_int_equal(auth_cluster(keys, "the-cluster-token", "192.0.2.1", &error), BW_OK);
    assert_int_equal(auth_cluster(keys, "the-internal-token", "192.0.2.1", &error), BW_BAD_REQUEST);
    assert_string_equal(error.message, "the cluster token is wrong");
    assert_int_equal(auth_cluster(keys, "", "192.0.2.1", &error), BW_BAD_REQUEST);
    assert_int_equal(auth_cluster(keys, NULL, "192.0.2.1", &error), BW_BAD_REQUEST);
    assert_string_equal(error.message, "argument 'token' is missing");
    auth_close(keys);
}

static void guessers_are_slowed_down_and_the_right_token_still_passes(void **state)
{
    (void)state;
    struct auth_keys *keys = open_keys(given("0.0.0.0", "the-client-token"));
    char token[32];
    unsigned too_many = 0;
    for (int i = 0; i < 1000; i++) {
        snprintf(token, sizeof token, "guess-%d", i);
        too_many += auth_cluster(keys, token, "192.0.2.1", &error) == BW_TOO_MANY;
    }
    assert_int_equal(too_many, 1000 - FAILURE_LIMIT);
    assert_int_equal(auth_cluster(keys, "the-cluster-token", "192.0.2.1", &error), BW_OK);
    assert_int_equal(ask_client(keys, "Bearer wrong"), BW_TOO_MANY);
    assert_int_equal(ask_client(keys, "Bearer the-client-token"), BW_OK);
    assert_int_equal(auth_cluster(keys, NULL, "192.0.2.1", &error), BW_BAD_REQUEST);
    auth_close(keys);
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
    assert_int_equal(auth_cluster(keys, "the-cluster-token", "192.0.2.1", &error), BW_OK);
    assert_int_equal(auth_cluster(keys, "second-cluster", "192.0.2.1", &error), BW_OK);
    assert_int_equal(auth_cluster(keys, "second-client", "192.0.2.1", &error), BW_BAD_REQUEST);
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

static void database_is_not_asked_for_tokens_that_are_given(void **state)
{
    (void)state;
    fake_settings.is_away = true;
    auth_close(open_keys(given("127.0.0.1", NULL)));
    assert_int_equal(fake_settings.asked, 0);
}

/* What opening `keys` without a cluster token prints. */
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

static void made_cluster_token_is_shown_once_and_kept_as_a_hash(void **state)
{
    (void)state;
    struct auth_keys *first, *second;
    const char *text = printed_by_opening(&first), *token = strrchr(text, ' ');
    assert_non_null(token);
    char made[MADE_TOKEN_SIZE];
    snprintf(made, sizeof made, "%s", token + 1);
    assert_int_equal(strlen(made), MADE_TOKEN_SIZE - 1);
    assert_null(strstr(fake_settings.cluster, made));
    assert_int_equal(auth_cluster(first, made, "192.0.2.1", &error), BW_OK);
    assert_string_equal(printed_by_opening(&second), "");
    assert_int_equal(auth_cluster(second, made, "192.0.2.1", &error), BW_OK);
    auth_close(first);
    auth_close(second);
}

static void tokens_that_the_database_keeps_must_be_there_and_readable(void **state)
{
    (void)state;
    struct api_options options = given("127.0.0.1", NULL);
    struct auth_keys *keys = NULL;
    options.cluster_token = NULL;
    snprintf(fake_settings.cluster, sizeof fake_settings.cluster, "not a hash");
    assert_int_equal(auth_open(&options, NULL, &keys, &error), BW_OK);
    assert_int_equal(auth_learn(keys, &error), BW_INTERNAL);
    fake_settings.is_away = true;
    assert_int_equal(auth_learn(keys, &error), BW_UNAVAILABLE);
    auth_close(keys);
    options = given("127.0.0.1", NULL);
    options.internal_token = NULL;
    assert_int_equal(auth_open(&options, NULL, &keys, &error), BW_OK);
    assert_int_equal(auth_learn(keys, &error), BW_UNAVAILABLE);
    auth_close(keys);
}

static void until_a_token_is_learned_what_needs_it_is_unavailable_and_nothing_else(void **state)
{
    (void)state;
    struct api_options options = given("192.0.2.7", "the-client-token");
    struct auth_keys *keys = NULL;
    struct exchange right = from("127.0.0.1", "Bearer the-internal-token");
    struct exchange client = from("127.0.0.1", "Bearer the-client-token");
    options.cluster_token = NULL;
    assert_int_equal(auth_open(&options, NULL, &keys, &error), BW_OK);
    assert_int_equal(auth_cluster(keys, "anything", "127.0.0.1", &error), BW_UNAVAILABLE);
    assert_int_equal(auth_course_cluster(keys, "anything", "127.0.0.1", &error), BW_UNAVAILABLE);
    assert_int_equal(auth_internal(keys, &right, &error), BW_OK);
    assert_int_equal(auth_client(keys, &client, &error), BW_OK);
    auth_close(keys);
    options = given("192.0.2.7", "the-client-token");
    options.internal_token = NULL;
    assert_int_equal(auth_open(&options, NULL, &keys, &error), BW_OK);
    assert_int_equal(auth_internal(keys, &right, &error), BW_UNAVAILABLE);
    assert_int_equal(auth_cluster(keys, "the-cluster-token", "127.0.0.1", &error), BW_OK);
    auth_close(keys);
}

static void internal_token_is_agreed_upon_if_none_is_given(void **state)
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
        cmocka_unit_test_setup(clients_are_let_in_on_loopback, reset),
        cmocka_unit_test_setup(beyond_loopback_clients_need_the_token, reset),
        cmocka_unit_test_setup(without_a_token_nobody_is_let_in_beyond_loopback, reset),
        cmocka_unit_test_setup(anonymous_clients_are_let_in_if_the_operator_says_so, reset),
        cmocka_unit_test_setup(only_the_cluster_token_registers, reset),
        cmocka_unit_test_setup(guessers_are_slowed_down_and_the_right_token_still_passes, reset),
        cmocka_unit_test_setup(callbacks_need_the_internal_token, reset),
        cmocka_unit_test_setup(second_tokens_are_valid_besides, reset),
        cmocka_unit_test_setup(second_client_token_alone_opens_nothing, reset),
        cmocka_unit_test_setup(database_is_not_asked_for_tokens_that_are_given, reset),
        cmocka_unit_test_setup(made_cluster_token_is_shown_once_and_kept_as_a_hash, reset),
        cmocka_unit_test_setup(tokens_that_the_database_keeps_must_be_there_and_readable, reset),
        cmocka_unit_test_setup(
            until_a_token_is_learned_what_needs_it_is_unavailable_and_nothing_else, reset),
        cmocka_unit_test_setup(internal_token_is_agreed_upon_if_none_is_given, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
