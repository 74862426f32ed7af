#include "api/auth/known_tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdint.h>
#include <stdio.h>

static void token_that_passed_is_remembered(void **state)
{
    (void)state;
    struct known_tokens *known = known_tokens_new();
    known_tokens_add(known, "good");
    known_tokens_add(known, "good");
    assert_true(known_tokens_has(known, "good"));
    assert_false(known_tokens_has(known, "goo"));
    assert_false(known_tokens_has(known, ""));
    assert_false(known_tokens_has(known, NULL));
    known_tokens_free(known);
}

static void thousands_are_kept_and_the_oldest_are_replaced(void **state)
{
    (void)state;
    struct known_tokens *known = known_tokens_new();
    char token[32];
    int kept = 0;
    for (int i = 0; i < 20000; i++) {
        snprintf(token, sizeof token, "token-%d", i);
        known_tokens_add(known, token);
        assert_true(known_tokens_has(known, token));
    }
    for (int i = 0; i < 20000; i++) {
        snprintf(token, sizeof token, "token-%d", i);
        kept += known_tokens_has(known, token);
    }
    assert_in_range(kept, 7000, 8192);
    known_tokens_free(known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(token_that_passed_is_remembered),
        cmocka_unit_test(thousands_are_kept_and_the_oldest_are_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
