#include "api/failure_limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>

/* Fails `count` times, each time with another token; the last answer. */
static bool guess(struct failure_limit *limit, const char *address, int count, int64_t now_ms)
{
    bool is_within = true;
    char token[32];
    for (int i = 0; i < count; i++) {
        snprintf(token, sizeof token, "%08d-guess", i);
        is_within = failure_limit_note(limit, address, token, now_ms);
    }
    return is_within;
}

static void address_that_fails_too_often_is_told_so(void **state)
{
    (void)state;
    struct failure_limit *limit = failure_limit_new();
    assert_true(guess(limit, "192.0.2.1", FAILURE_LIMIT, 1000));
    assert_false(guess(limit, "192.0.2.1", 1, 1000));
    assert_true(guess(limit, "192.0.2.2", 1, 1000));
    failure_limit_free(limit);
}

static void window_passes(void **state)
{
    (void)state;
    struct failure_limit *limit = failure_limit_new();
    guess(limit, "192.0.2.1", FAILURE_LIMIT, 1000);
    assert_false(guess(limit, "192.0.2.1", 1, 1000 + FAILURE_WINDOW_MS - 1));
    assert_true(guess(limit, "192.0.2.1", FAILURE_LIMIT, 1000 + FAILURE_WINDOW_MS));
    assert_false(guess(limit, "192.0.2.1", 1, 1000 + FAILURE_WINDOW_MS));
    failure_limit_free(limit);
}

static void one_token_guessed_from_many_addresses_is_limited_too(void **state)
{
    (void)state;
    struct failure_limit *limit = failure_limit_new();
    char address[32], token[32];
    bool is_within = true;
    for (int i = 0; i <= FAILURE_LIMIT; i++) {
        assert_true(is_within);
        snprintf(address, sizeof address, "198.51.100.%d", i);
        snprintf(token, sizeof token, "theprefix-%d", i);
        is_within = failure_limit_note(limit, address, token, 1000);
    }
    assert_false(is_within);
    failure_limit_free(limit);
}

static void flood_of_others_does_not_free_who_failed_often(void **state)
{
    (void)state;
    struct failure_limit *limit = failure_limit_new();
    char address[32];
    guess(limit, "192.0.2.1", FAILURE_LIMIT + 1, 1000);
    for (int i = 0; i < 20000; i++) {
        snprintf(address, sizeof address, "flood-%d", i);
        failure_limit_note(limit, address, address, 1000);
    }
    assert_false(guess(limit, "192.0.2.1", 1, 1000));
    failure_limit_free(limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(address_that_fails_too_often_is_told_so),
        cmocka_unit_test(window_passes),
        cmocka_unit_test(one_token_guessed_from_many_addresses_is_limited_too),
        cmocka_unit_test(flood_of_others_does_not_free_who_failed_often),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
