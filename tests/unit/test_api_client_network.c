#include "api/http/client_network.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>

#include "api/auth/auth_rate_limit.h"
#include "api/http/memory_budget.h"

enum { MIB = 1024 * 1024 };

static const char *network_of(const char *address)
{
    static char network[CLIENT_NETWORK_SIZE];
    client_network(address, network);
    return network;
}

static void ipv6_address_counts_by_its_64_bit_prefix(void **state)
{
    (void)state;
    assert_string_equal(network_of("2001:db8::7"), "2001:db8::/64");
    assert_string_equal(network_of("2001:db8:0:0:ffff:ffff:ffff:ffff"), "2001:db8::/64");
    assert_string_equal(network_of("2001:db8:0:1::7"), "2001:db8:0:1::/64");
    assert_string_equal(network_of("fe80::1%eth0"), "fe80::/64");
    assert_string_equal(network_of("::ffff:192.0.2.1"), "192.0.2.1");
}

static void other_addresses_are_unchanged(void **state)
{
    (void)state;
    assert_string_equal(network_of("192.0.2.1"), "192.0.2.1");
    assert_string_equal(network_of(""), "");
    assert_string_equal(network_of("no:address"), "no:address");
}

static void address_of_a_socket_is_the_same_as_its_text(void **state)
{
    (void)state;
    static const char *const texts[] = {"2001:db8::7", "::1", "::ffff:192.0.2.1"};
    struct sockaddr_in6 from = {.sin6_family = AF_INET6};
    struct sockaddr_in ipv4 = {.sin_family = AF_INET};
    const struct sockaddr other = {.sa_family = AF_UNIX};
    char network[CLIENT_NETWORK_SIZE];
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_int_equal(inet_pton(AF_INET6, texts[i], &from.sin6_addr), 1);
        client_network_of((const struct sockaddr *)&from, network);
        assert_string_equal(network, network_of(texts[i]));
    }
    assert_int_equal(inet_pton(AF_INET, "192.0.2.1", &ipv4.sin_addr), 1);
    client_network_of((const struct sockaddr *)&ipv4, network);
    assert_string_equal(network, "192.0.2.1");
    client_network_of(&other, network);
    assert_string_equal(network, "");
}

static void wrong_tokens_of_one_network_count_together(void **state)
{
    (void)state;
    struct auth_rate_limit *limit = auth_rate_limit_new(2);
    auth_rate_limit_note(limit, "2001:db8::1", NULL, 1000);
    auth_rate_limit_note(limit, "2001:db8::2", NULL, 1000);
    assert_true(auth_rate_limit_left(limit, "2001:db8::3", NULL, 1000) > 0);
    assert_int_equal(auth_rate_limit_left(limit, "2001:db8:0:1::3", NULL, 1000), 0);
    auth_rate_limit_free(limit);
}

static void memory_of_one_network_counts_together(void **state)
{
    (void)state;
    struct memory_budget *budget;
    struct memory_hold holds[3];
    static const char *const addresses[] = {"2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"};
    struct bw_error error;
    assert_int_equal(memory_budget_open(&budget, &error), BW_OK);
    for (size_t i = 0; i < 3; i++)
        memory_hold_begin(&holds[i], budget, MEMORY_UNKNOWN, addresses[i]);
    assert_int_equal(memory_hold_take(&holds[0], 50 * MIB, &error), BW_OK);
    assert_int_equal(memory_hold_take(&holds[1], 50 * MIB, &error), BW_UNAVAILABLE);
    assert_int_equal(memory_hold_take(&holds[2], 50 * MIB, &error), BW_OK);
    for (size_t i = 0; i < 3; i++)
        memory_hold_release(&holds[i]);
    memory_budget_close(budget);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ipv6_address_counts_by_its_64_bit_prefix),
        cmocka_unit_test(other_addresses_are_unchanged),
        cmocka_unit_test(address_of_a_socket_is_the_same_as_its_text),
        cmocka_unit_test(wrong_tokens_of_one_network_count_together),
        cmocka_unit_test(memory_of_one_network_counts_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
