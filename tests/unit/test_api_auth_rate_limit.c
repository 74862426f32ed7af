#include "api/auth/auth_rate_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>

enum { MOST = 100 };

/* Fails `count` times, each time with another token. */
static void guess(struct auth_rate_limit *limit, const char *address, int count, int64_t now_ms)
{
    char token[32];
    for (int i = 0; i < count; i++) {
        snprintf(token, sizeof token, "%08d-guess", i);
        auth_rate_limit_note(limit, address, token, now_ms);
    }
}

static void address_with_too_many_failures_is_limited(void **state)
{
    (void)state;
    struct auth_rate_limit *limit = auth_rate_limit_new(MOST);
    guess(limit, "192.0.2.1", MOST - 1, 1000);
    assert_int_equal(auth_rate_limit_left(limit, "192.0.2.1", "another", 1000), 0);
    guess(limit, "192.0.2.1", 1, 1000);
    assert_int_equal(auth_rate_limit_left(limit, "192.0.2.1", "another", 1000), FAILURE_WINDOW_MS);
    assert_int_equal(auth_rate_limit_left(limit, "192.0.2.1", NULL, 1000), FAILURE_WINDOW_MS);
    assert_int_equal(auth_rate_limit_left(limit, "192.0.2.2", "another", 1000), 0);
    auth_rate_limit_free(limit);
}

static void remaining_time_decreases_to_zero(void **state)
{
    (void)state;
    struct auth_rate_limit *limit = auth_rate_limit_new(MOST);
    guess(limit, "192.0.2.1", MOST, 1000);
    assert_int_equal(auth_rate_limit_left(limit, "192.0.2.1", "x", 41000), 20000);
    assert_int_equal(auth_rate_limit_left(limit, "192.0.2.1", "x", 1000 + FAILURE_WINDOW_MS - 1),
                     1);
    assert_int_equal(auth_rate_limit_left(limit, "192.0.2.1", "x", 1000 + FAILURE_WINDOW_MS), 0);
    guess(limit, "192.0.2.1", MOST - 1, 1000 + FAILURE_WINDOW_MS);
    assert_int_equal(auth_rate_limit_left(limit, "192.0.2.1", "x", 1000 + FAILURE_WINDOW_MS), 0);
    auth_rate_limit_free(limit);
}

static void one_token_guessed_from_many_addresses_is_limited_too(void **state)
{
    (void)state;
    struct auth_rate_limit *limit = auth_rate_limit_new(MOST);
    char address[32], token[32];
    for (int i = 0; i < MOST; i++) {
        assert_int_equal(auth_rate_limit_left(limit, "192.0.2.1", "theprefix-x", 1000), 0);
        snprintf(address, sizeof address, "198.51.100.%d", i);
        snprintf(token, sizeof token, "theprefix-%d", i);
        auth_rate_limit_note(limit, address, token, 1000);
    }
    assert_true(auth_rate_limit_left(limit, "192.0.2.1", "theprefix-x", 1000) > 0);
    assert_int_equal(auth_rate_limit_left(limit, "192.0.2.1", "another", 1000), 0);
    auth_rate_limit_free(limit);
}

static void flood_of_other_addresses_does_not_reset_a_limited_one(void **state)
{
    (void)state;
    struct auth_rate_limit *limit = auth_rate_limit_new(MOST);
    char address[32];
    guess(limit, "192.0.2.1", MOST, 1000);
    for (int i = 0; i < 20000; i++) {
        snprintf(address, sizeof address, "flood-%d", i);
        auth_rate_limit_note(limit, address, address, 1000);
    }
    assert_true(auth_rate_limit_left(limit, "192.0.2.1", "x", 1000) > 0);
    auth_rate_limit_free(limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_with_too_many_failures_is_limited),
        cmocka_unit_test(remaining_time_decreases_to_zero),
        cmocka_unit_test(one_token_guessed_from_many_addresses_is_limited_too),
        cmocka_unit_test(flood_of_other_addresses_does_not_reset_a_limited_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
