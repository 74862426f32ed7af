#include "api/http/host_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static const char names[] = "broadway.example.edu,grading,[fd00::5]";

static void own_host_names_and_addresses_are_served(void **state)
{
    (void)state;
    static const char *const served[] = {
        "localhost",    "LocalHost:1470", "127.0.0.1",      "127.0.0.1:80", "[::1]",
        "[::1]:1470",   "[0:0::1]",       "192.0.2.7:1470", "grading",      "Broadway.Example.EDU",
        "grading:8443", "[FD00::5]:1",    "localhost:1470",
    };
    for (size_t i = 0; i < sizeof served / sizeof *served; i++)
        assert_true(host_is_served(served[i], names, "192.0.2.7"));
    assert_true(host_is_served("[fd00:0::9]:1470", NULL, "fd00::9"));
}

static void other_host_names_are_refused(void **state)
{
    (void)state;
    static const char *const others[] = {
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.0.0.2",
        "localhost:1470x",
        "localhost:1470:1",
        "localhost@evil.example",
        "[::1",
        "[::1]x",
        "evil.example,localhost",
        "localhost,evil.example",
        "grading.",
        "0.0.0.0",
        "2130706433",
        "localhost/x",
        "[grading]x",
        "[]",
        ":1470",
        "broadway.example",
        "example.edu",
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(host_is_served(others[i], names, "192.0.2.7"));
    assert_false(host_is_served("192.0.2.7", NULL, ""));
    assert_false(host_is_served("grading", NULL, "192.0.2.7"));
}

static void pages_from_own_names_only_are_served(void **state)
{
    (void)state;
    assert_true(origin_is_served("http://localhost:3000", names, ""));
    assert_true(origin_is_served("https://grading", names, ""));
    assert_true(origin_is_served("http://192.0.2.7:1470", names, "192.0.2.7"));
    assert_false(origin_is_served("null", names, ""));
    assert_false(origin_is_served("", names, ""));
    assert_false(origin_is_served("http://evil.example", names, ""));
    assert_false(origin_is_served("file://", names, ""));
    assert_false(origin_is_served("http://localhost http://evil.example", names, ""));
}

static void list_of_names_is_checked(void **state)
{
    (void)state;
    static const char *const bad[] = {"",    ",", "a,",   "a:80", "http://a",
                                      "a b", "*", "[::1", "a,,b"};
    struct bw_error error;
    assert_int_equal(host_list_check(NULL, &error), BW_OK);
    assert_int_equal(host_list_check(names, &error), BW_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(host_list_check(bad[i], &error), BW_BAD_REQUEST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_host_names_and_addresses_are_served),
        cmocka_unit_test(other_host_names_are_refused),
        cmocka_unit_test(pages_from_own_names_only_are_served),
        cmocka_unit_test(list_of_names_is_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
