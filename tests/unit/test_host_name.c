#include "common/base/host_name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static void only_loopback_addresses_are_loopback(void **state)
{
    (void)state;
    static const char *const loopback[] = {"127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"};
    static const char *const others[] = {"0.0.0.0", "10.0.0.1", "::", "fd00::1", "localhost", ""};
    for (size_t i = 0; i < sizeof loopback / sizeof *loopback; i++)
        assert_true(address_is_loopback(loopback[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(address_is_loopback(others[i]));
}

static void names_other_than_localhost_are_foreign(void **state)
{
    (void)state;
    static const char *const foreign[] = {
        "evil.example", "evil.example:1471", "localhost.evil", "127.0.0.1.evil", "[evil]", "::1"};
    static const char *const own[] = {"localhost",  "LocalHost:1471", "127.0.0.1", "10.0.0.7:1471",
                                      "[::1]:1471", "[fd00::7]",      ""};
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        assert_true(host_is_foreign_name(foreign[i]));
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        assert_false(host_is_foreign_name(own[i]));
    assert_false(host_is_foreign_name(NULL));
    char longest[1000];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_true(host_is_foreign_name(longest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_loopback_addresses_are_loopback),
        cmocka_unit_test(names_other_than_localhost_are_foreign),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
