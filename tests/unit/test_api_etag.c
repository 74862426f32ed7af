#include "api/http/etag.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void tags_are_found_in_lists(void **state)
{
    (void)state;
    assert_true(etag_is_named("\"abc\"", "\"abc\""));
    assert_true(etag_is_named("W/\"abc\"", "\"abc\""));
    assert_true(etag_is_named("  \"x\" ,\t\"a,b\",\"abc\"", "\"abc\""));
    assert_true(etag_is_named("W/\"x\", W/\"abc\"", "\"abc\""));
    assert_true(etag_is_named("*", "\"abc\""));
    assert_true(etag_is_named(" *", "\"abc\""));
}

static void other_tags_and_broken_lists_name_nothing(void **state)
{
    (void)state;
    assert_false(etag_is_named(NULL, "\"abc\""));
    assert_false(etag_is_named("", "\"abc\""));
    assert_false(etag_is_named("\"abcd\"", "\"abc\""));
    assert_false(etag_is_named("\"ab\"", "\"abc\""));
    assert_false(etag_is_named("abc", "\"abc\""));
    assert_false(etag_is_named("\"abc", "\"abc\""));
    assert_false(etag_is_named("\"x, \"abc\"", "\"abc\""));
    assert_false(etag_is_named("w/\"abc\"", "\"abc\""));
    assert_false(etag_is_named(",,", "\"abc\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_found_in_lists),
        cmocka_unit_test(other_tags_and_broken_lists_name_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
