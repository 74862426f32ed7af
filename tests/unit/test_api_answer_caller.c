#include "api/http/answer_caller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static void assert_alike(const char *one, const char *other, int is_alike)
{
    char first[ANSWER_CALLER_SIZE], second[ANSWER_CALLER_SIZE];
    answer_caller_of_address(one, first);
    answer_caller_of_address(other, second);
    assert_int_equal(strcmp(first, second) == 0, is_alike);
}

static void each_ipv4_address_is_one_caller(void **state)
{
    (void)state;
    assert_alike("127.0.0.1", "127.0.0.1", 1);
    assert_alike("127.0.0.1", "127.0.0.2", 0);
}

static void ipv6_addresses_of_one_network_are_one_caller(void **state)
{
    (void)state;
    assert_alike("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", 1);
    assert_alike("2001:db8:1:2::1", "2001:db8:1:3::1", 0);
    assert_alike("fe80::1%eth0", "fe80::2%eth1", 1);
}

static void each_token_is_one_caller_and_is_not_stored(void **state)
{
    (void)state;
    char first[ANSWER_CALLER_SIZE], second[ANSWER_CALLER_SIZE], address[ANSWER_CALLER_SIZE];
    answer_caller_of_token("query-of-cs225", first);
    answer_caller_of_token("query-of-cs241", second);
    answer_caller_of_address("query-of-cs225", address);
    assert_string_not_equal(first, second);
    assert_string_not_equal(first, address);
    assert_null(strstr(first, "query"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_ipv4_address_is_one_caller),
        cmocka_unit_test(ipv6_addresses_of_one_network_are_one_caller),
        cmocka_unit_test(each_token_is_one_caller_and_is_not_stored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
