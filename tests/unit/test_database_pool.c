#include "common/db/database_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/db/database.h"
#include "common/db/database_mask.h"

static void password_with_an_at_sign_is_refused_without_being_shown(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "mongodb://someone:p@canary@127.0.0.1:1/?replicaSet=rs0",
        "mongodb://someone:p@canary,canary@127.0.0.1:1",
        "mongodb+srv://someone:p@canary@example.edu/",
        "mongodb://someone:p@canary/canary@127.0.0.1:1/",
        "mongodb://someone:p/canary@canary@127.0.0.1:1/",
    };
    struct bw_error error;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_null(database_uri_read(bad[i], &error));
        assert_non_null(strstr(error.message, "%40"));
        assert_null(strstr(error.message, "canary"));
    }
}

static void other_passwords_that_are_not_encoded_are_not_shown_either(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "mongodb://someone:p?canary@127.0.0.1:1/",     "mongodb://someone:p?canary=x@127.0.0.1:1/",
        "mongodb://someone:p/canary@127.0.0.1:1/",     "mongodb://someone:p:canary@127.0.0.1:1/",
        "mongodb://someone:p/c?canary=1@127.0.0.1:1/", "mongodb://someone:p%canary@127.0.0.1:1/",
    };
    struct bw_error error = {""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        mongoc_uri_t *uri = database_uri_read(bad[i], &error);
        assert_null(strstr(error.message, "canary"));
        if (uri != NULL)
            mongoc_uri_destroy(uri);
    }
}

static void encoded_password_and_at_sign_in_an_option_are_accepted(void **state)
{
    (void)state;
    static const char *const good[] = {
        "mongodb://someone:p%40ss@127.0.0.1:1/?replicaSet=rs0",
        "mongodb://127.0.0.1:1,127.0.0.1:2/?replicaSet=rs0&appName=a@b",
    };
    struct bw_error error;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        mongoc_uri_t *uri = database_uri_read(good[i], &error);
        assert_non_null(uri);
        mongoc_uri_destroy(uri);
    }
    assert_null(database_uri_read("mongodb://127.0.0.1:1/?replicaZet=rs0", &error));
    assert_non_null(strstr(error.message, "replicaZet"));
}

static void messages_are_masked_up_to_each_at_sign(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"Failed to resolve ss@127.0.0.1", "Failed to resolve **@127.0.0.1"},
        {"[Failed: 'pass@a'] [pa@ss@b:1]", "[Failed: '***@a'] [**@**@b:1]"},
        {"can't reach mongodb://user:p%40ss@h/x", "can't reach mongodb://***@h/x"},
        {"nothing to hide", "nothing to hide"},
        {"@", "@"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char text[100];
        snprintf(text, sizeof text, "%s", pairs[i][0]);
        assert_string_equal(database_mask(text), pairs[i][1]);
    }
}

/* The options of a pool that is opened for `text`; *retries: retryWrites and retryReads. */
static void pool_retries(const char *text, bool retries[2])
{
    const struct database_bounds bounds = {.selection_ms = 1, .connect_ms = 1, .pool_size = 1};
    struct bw_error error;
    mongoc_uri_t *uri = database_uri_read(text, &error);
    assert_non_null(uri);
    mongoc_client_pool_t *pool = database_pool_open(uri, &bounds, "test", &error);
    assert_non_null(pool);
    mongoc_client_t *client = mongoc_client_pool_pop(pool);
    const mongoc_uri_t *used = mongoc_client_get_uri(client);
    retries[0] = mongoc_uri_get_option_as_bool(used, MONGOC_URI_RETRYWRITES, !retries[0]);
    retries[1] = mongoc_uri_get_option_as_bool(used, MONGOC_URI_RETRYREADS, !retries[1]);
    mongoc_client_pool_push(pool, client);
    mongoc_client_pool_destroy(pool);
    mongoc_uri_destroy(uri);
}

static void retries_are_on_unless_the_uri_disables_them(void **state)
{
    (void)state;
    bool retries[2] = {false, false};
    pool_retries("mongodb://127.0.0.1:1/", retries);
    assert_true(retries[0] && retries[1]);
    pool_retries("mongodb://127.0.0.1:1/?retryWrites=false", retries);
    assert_true(!retries[0] && retries[1]);
    pool_retries("mongodb://127.0.0.1:1/?retryReads=false", retries);
    assert_true(retries[0] && !retries[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(password_with_an_at_sign_is_refused_without_being_shown),
        cmocka_unit_test(other_passwords_that_are_not_encoded_are_not_shown_either),
        cmocka_unit_test(encoded_password_and_at_sign_in_an_option_are_accepted),
        cmocka_unit_test(messages_are_masked_up_to_each_at_sign),
        cmocka_unit_test(retries_are_on_unless_the_uri_disables_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
