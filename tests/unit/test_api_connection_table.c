#include "api/http/connection_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/http/lingering_close.h"
#include "common/base/clock.h"

enum { MOST = 16, UNPROVEN_MOST = 12, ADDRESS_MOST = 6, PAIRS = 64 };

/* Connections by socket pairs: [0] is the server's end. */
static struct connection_table *table;
static struct connection *connections[PAIRS];
static int ends[PAIRS][2];
static int count;

static int start(void **state)
{
    (void)state;
    const struct connection_limits limits = {.most = MOST};
    table = connection_table_new(&limits);
    count = 0;
    return table != NULL ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    connection_table_free(table);
    for (int i = 0; i < count; i++) {
        close(ends[i][0]);
        close(ends[i][1]);
    }
    return 0;
}

static struct sockaddr_in address_of(int number)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(0x0A000001U + (unsigned)number);
    return address;
}

/* Adds a connection. Returns its number; -1: it was refused. */
static int enter_from(const struct sockaddr *address)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends[count]), 0);
    connections[count] = connection_table_add(table, ends[count][0], address);
    count++;
    if (connections[count - 1] == NULL)
        return -1;
    assert_ptr_equal(connection_table_start(table, ends[count - 1][0]), connections[count - 1]);
    return count - 1;
}

static int enter(int address)
{
    struct sockaddr_in from = address_of(address);
    return enter_from((struct sockaddr *)&from);
}

static bool is_shut(int number)
{
    char byte;
    return recv(ends[number][1], &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0;
}

/* Removes a connection, as the server does at its end. */
static void leave(int number)
{
    connection_table_remove(table, connections[number]);
    connections[number] = NULL;
}

static void prove(int number, enum connection_kind kind)
{
    connection_begin(connections[number]);
    connection_hold(connections[number]);
    connection_prove(connections[number], kind);
    connection_release(connections[number]);
    connection_rest(connections[number]);
}

static struct connection_counts counted(void)
{
    struct connection_counts counts;
    connection_table_count(table, &counts);
    return counts;
}

static void oldest_unproven_connection_of_an_address_is_replaced(void **state)
{
    (void)state;
    int other = enter(1);
    for (int i = 0; i < ADDRESS_MOST; i++)
        enter(0);
    assert_false(is_shut(other + 1));
    assert_true(enter(0) > 0);
    assert_true(is_shut(other + 1));
    assert_false(is_shut(other));
    connection_begin(connections[other + 2]); /* the second oldest has received bytes */
    leave(other + 1);
    enter(0);
    assert_false(is_shut(other + 2));
    assert_true(is_shut(other + 3));
    assert_int_equal(counted().evicted, 2);
}

static void unproven_connections_leave_a_quarter_to_others(void **state)
{
    (void)state;
    for (int i = 0; i < UNPROVEN_MOST; i++)
        enter(i / 2);
    assert_false(is_shut(0));
    enter(20);
    assert_true(is_shut(0));
    assert_false(is_shut(1));
}

static void worker_is_never_closed_and_client_only_after_all_unproven(void **state)
{
    (void)state;
    int worker = enter(0), client = enter(0);
    prove(worker, CONNECTION_WORKER);
    prove(client, CONNECTION_CLIENT);
    for (int i = 2; i < MOST; i++) {
        int next = enter(i);
        if (i >= 5)
            prove(next, CONNECTION_WORKER);
    }
    for (int i = 0; i < 3; i++)
        assert_true(enter(30 + i) > 0);
    assert_true(is_shut(2) && is_shut(3) && is_shut(4));
    prove(count - 1, CONNECTION_WORKER);
    prove(count - 2, CONNECTION_WORKER);
    prove(count - 3, CONNECTION_WORKER);
    assert_false(is_shut(client));
    assert_true(enter(40) > 0);
    assert_true(is_shut(client));
    prove(count - 1, CONNECTION_WORKER);
    assert_int_equal(enter(41), -1);
    assert_int_equal(counted().refused, 1);
    assert_false(is_shut(worker));
}

static void idle_clients_are_closed_for_new_connections_when_full(void **state)
{
    (void)state;
    for (int i = 0; i < MOST; i++)
        prove(enter(i), CONNECTION_CLIENT);
    int first = enter(20), second = enter(21);
    assert_true(is_shut(0) && is_shut(1));
    enter(22); /* the newest eighth of the connections, here two, is never closed */
    assert_false(is_shut(first) || is_shut(second));
    assert_true(is_shut(2));
    enter(23);
    assert_true(is_shut(first));
}

static void connection_with_a_request_in_progress_is_not_closed(void **state)
{
    (void)state;
    for (int i = 0; i < ADDRESS_MOST; i++) {
        enter(0);
        connection_begin(connections[i]);
        connection_hold(connections[i]);
    }
    assert_int_equal(enter(0), -1);
    connection_release(connections[3]);
    assert_true(enter(0) > 0);
    assert_true(is_shut(3));
}

static void prove_worker(int number, const char *id)
{
    connection_begin(connections[number]);
    connection_hold(connections[number]);
    connection_prove_worker(connections[number], id);
    connection_release(connections[number]);
    connection_rest(connections[number]);
}

static int start_with_many(void **state)
{
    (void)state;
    const struct connection_limits limits = {.most = 3 * CONNECTION_WORKER_MOST};
    table = connection_table_new(&limits);
    count = 0;
    return table != NULL ? 0 : -1;
}

/* The worker `few` has as many connections as it may keep, `many` has all others. */
static void one_worker_does_not_fill_the_table(void **state)
{
    (void)state;
    int most = 3 * CONNECTION_WORKER_MOST;
    for (int i = 0; i < most; i++)
        prove_worker(enter(i), i < CONNECTION_WORKER_MOST ? "few" : "many");
    int oldest = CONNECTION_WORKER_MOST;
    connection_begin(connections[oldest]);
    connection_hold(connections[oldest]); /* its request is in progress */
    int newcomer = enter(100);
    assert_true(newcomer > 0);
    assert_false(is_shut(oldest));
    assert_true(is_shut(oldest + 1));
    assert_true(enter(101) > 0);
    assert_false(is_shut(newcomer));
    assert_true(is_shut(oldest + 2));
    for (int i = 0; i < CONNECTION_WORKER_MOST; i++)
        assert_false(is_shut(i));
    assert_int_equal(counted().evicted, 2);
}

static void share_of_a_worker_is_not_closed(void **state)
{
    (void)state;
    int most = 3 * CONNECTION_WORKER_MOST;
    static const char *const ids[] = {"one", "two", "three"};
    for (int i = 0; i < most; i++)
        prove_worker(enter(i), ids[i % 3]);
    assert_int_equal(enter(100), -1);
    prove_worker(0, "two"); /* now it belongs to the other worker, which has one too many */
    assert_true(enter(100) > 0);
    assert_true(is_shut(1));
    prove(2, CONNECTION_CLIENT);
    connection_table_remove(table, connections[3]);
    connections[3] = NULL;
    assert_int_equal(counted().by_kind[CONNECTION_WORKER], most - 2);
}

static void kind_of_a_connection_follows_its_last_request(void **state)
{
    (void)state;
    int number = enter(0);
    prove(number, CONNECTION_WORKER);
    assert_int_equal(counted().by_kind[CONNECTION_WORKER], 1);
    connection_begin(connections[number]);
    connection_hold(connections[number]);
    assert_int_equal(counted().by_kind[CONNECTION_WORKER], 1);
    connection_rest(connections[number]);
    assert_int_equal(counted().by_kind[CONNECTION_WORKER], 0);
    assert_int_equal(counted().by_kind[CONNECTION_UNPROVEN], 1);
    assert_true(connection_table_evict(table));
    assert_true(is_shut(number));
    assert_false(connection_table_evict(table));
}

static void mapped_ipv4_and_ipv6_networks_count_as_one_address(void **state)
{
    (void)state;
    struct sockaddr_in6 from = {.sin6_family = AF_INET6};
    char text[INET6_ADDRSTRLEN];
    for (int i = 0; i < ADDRESS_MOST; i++) {
        snprintf(text, sizeof text, "2001:db8::%d", i + 1);
        assert_int_equal(inet_pton(AF_INET6, text, &from.sin6_addr), 1);
        enter_from((struct sockaddr *)&from);
    }
    assert_int_equal(inet_pton(AF_INET6, "2001:db8:0:1::1", &from.sin6_addr), 1);
    enter_from((struct sockaddr *)&from);
    assert_false(is_shut(0));
    assert_int_equal(inet_pton(AF_INET6, "2001:db8::ffff", &from.sin6_addr), 1);
    enter_from((struct sockaddr *)&from);
    assert_true(is_shut(0));
    for (int i = 0; i < ADDRESS_MOST - 1; i++)
        connection_prove(connections[i], CONNECTION_WORKER);
    int first = enter(0);
    for (int i = 1; i < ADDRESS_MOST; i++)
        enter(0);
    assert_false(is_shut(first));
    assert_int_equal(inet_pton(AF_INET6, "::ffff:10.0.0.1", &from.sin6_addr), 1);
    enter_from((struct sockaddr *)&from);
    assert_true(is_shut(first));
}

static void wait_ends_when_a_connection_ends_or_at_the_time_out(void **state)
{
    (void)state;
    enter(0);
    int64_t begun_ms = clock_boot_ms();
    connection_table_wait(table, false, 1000);
    assert_true(clock_boot_ms() - begun_ms < 500);
    connection_table_wait(table, true, 20);
    assert_true(clock_boot_ms() - begun_ms >= 20);
    assert_int_equal(counted().pauses, 1);
}

static void out_of_memory_changes_nothing(void **state)
{
    (void)state;
    connection_begin(NULL);
    connection_hold(NULL);
    connection_prove(NULL, CONNECTION_WORKER);
    connection_prove_worker(NULL, "a worker");
    connection_release(NULL);
    connection_rest(NULL);
    connection_table_remove(table, NULL);
    connection_table_free(NULL);
    assert_null(connection_parts(NULL));
}

static void lingering_connections_are_limited(void **state)
{
    (void)state;
    assert_int_equal(lingering_close_room(0), LINGERING_LEAST);
    assert_int_equal(lingering_close_room(1600), 100);
    assert_int_equal(lingering_close_room(1000000), LINGERING_MOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(oldest_unproven_connection_of_an_address_is_replaced, start,
                                        stop),
        cmocka_unit_test_setup_teardown(unproven_connections_leave_a_quarter_to_others, start,
                                        stop),
        cmocka_unit_test_setup_teardown(worker_is_never_closed_and_client_only_after_all_unproven,
                                        start, stop),
        cmocka_unit_test_setup_teardown(idle_clients_are_closed_for_new_connections_when_full,
                                        start, stop),
        cmocka_unit_test_setup_teardown(connection_with_a_request_in_progress_is_not_closed, start,
                                        stop),
        cmocka_unit_test_setup_teardown(one_worker_does_not_fill_the_table, start_with_many, stop),
        cmocka_unit_test_setup_teardown(share_of_a_worker_is_not_closed, start_with_many, stop),
        cmocka_unit_test_setup_teardown(kind_of_a_connection_follows_its_last_request, start, stop),
        cmocka_unit_test_setup_teardown(mapped_ipv4_and_ipv6_networks_count_as_one_address, start,
                                        stop),
        cmocka_unit_test_setup_teardown(wait_ends_when_a_connection_ends_or_at_the_time_out, start,
                                        stop),
        cmocka_unit_test_setup_teardown(out_of_memory_changes_nothing, start, stop),
        cmocka_unit_test(lingering_connections_are_limited),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
