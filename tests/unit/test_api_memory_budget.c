#include "api/http/memory_budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "api/http/body.h"

enum { MIB = 1024 * 1024, HOLDS = 8192 };

static struct memory_budget *budget;
static struct memory_hold holds[HOLDS];
static struct bw_error error;

static int start(void **state)
{
    (void)state;
    memset(holds, 0, sizeof holds);
    return memory_budget_open(&budget, &error) == BW_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    for (int i = 0; i < HOLDS; i++)
        memory_hold_release(&holds[i]);
    for (int pool = 0; pool < MEMORY_POOLS; pool++)
        assert_int_equal(memory_budget_used(budget, (enum memory_pool)pool), 0);
    memory_budget_close(budget);
    return 0;
}

/* Reserves `bytes` for up to `count` requests, and keeps them. Returns how many reservations
 * succeeded. */
static int fill(int first, int count, enum memory_pool pool, const char *address, size_t bytes)
{
    for (int i = 0; i < count; i++) {
        memory_hold_begin(&holds[first + i], budget, pool, address);
        if (memory_hold_take(&holds[first + i], bytes, &error) != BW_OK)
            return i;
    }
    return count;
}

static void unknown_senders_leave_memory_for_known_ones(void **state)
{
    (void)state;
    char address[32];
    for (int i = 0; i < 3; i++) {
        snprintf(address, sizeof address, "192.0.2.%d", 10 + i);
        assert_int_equal(fill(100 * i, 100, MEMORY_UNKNOWN, address, 16 * MIB), 4);
        assert_non_null(strstr(error.message, "try again"));
    }
    assert_int_equal(fill(300, 1, MEMORY_UNKNOWN, "192.0.2.1", 16 * MIB), 1);
    fill(400, 100, MEMORY_UNKNOWN, "192.0.2.20", 16 * MIB);
    fill(500, 100, MEMORY_UNKNOWN, "192.0.2.21", 16 * MIB);
    assert_int_equal(fill(600, 1, MEMORY_UNKNOWN, "192.0.2.22", 16 * MIB), 0);
    assert_int_equal(fill(2000, 1, MEMORY_CLIENT, "", 15 * MIB), 1);
    assert_int_equal(fill(2100, 1, MEMORY_UNKNOWN, "192.0.2.1", 128 * 1024), 1);
    assert_int_equal(fill(2200, 20, MEMORY_WORKER, "", 4 * MIB), 20);
    assert_int_equal(fill(2300, 2, MEMORY_SOCKET, "", 16 * MIB), 2);
}

static void heartbeat_always_gets_memory(void **state)
{
    (void)state;
    fill(0, 100, MEMORY_UNKNOWN, "192.0.2.1", 16 * MIB);
    assert_in_range(fill(100, 1000, MEMORY_UNKNOWN, "192.0.2.1", 128 * 1024), 200, 256);
    assert_int_equal(fill(2000, 6000, MEMORY_UNKNOWN, "192.0.2.1", 4097), 6000);
    assert_int_equal(fill(8100, 1, MEMORY_UNKNOWN, "192.0.2.1", 64 * 1024), 0);
}

static void single_hold_of_a_pool_may_exceed_the_limit(void **state)
{
    (void)state;
    fill(0, 100, MEMORY_UNKNOWN, "192.0.2.1", 16 * MIB);
    fill(100, 100, MEMORY_UNKNOWN, "192.0.2.20", 16 * MIB);
    assert_int_equal(fill(1000, 1, MEMORY_HAND_OUT, "", MIB), 1);
    memory_hold_begin(&holds[1001], budget, MEMORY_HAND_OUT, "");
    assert_false(memory_hold_take_alone(&holds[1001], 1));
    assert_true(memory_hold_take_alone(&holds[1000], 400 * MIB));
    assert_true(memory_budget_used(budget, MEMORY_HAND_OUT) > 400 * MIB);
    memory_hold_release(&holds[1000]);
    assert_true(memory_hold_take_alone(&holds[1001], 400 * MIB));
}

static void websockets_do_not_take_all_memory(void **state)
{
    (void)state;
    int taken = fill(0, 80, MEMORY_SOCKET, "", 15 * MIB);
    assert_int_equal(taken, 8);
    assert_int_equal(fill(100, 20, MEMORY_WORKER, "", 15 * MIB), 20);
}

static void memory_moves_with_a_sender_that_becomes_known(void **state)
{
    (void)state;
    assert_int_equal(fill(0, 1, MEMORY_UNKNOWN, "192.0.2.1", MIB), 1);
    assert_int_equal(memory_budget_used(budget, MEMORY_FIRST), MEMORY_FIRST_BYTES);
    assert_int_equal(memory_budget_used(budget, MEMORY_UNKNOWN), MIB - MEMORY_FIRST_BYTES);
    memory_hold_move(&holds[0], MEMORY_WORKER);
    assert_int_equal(memory_budget_used(budget, MEMORY_UNKNOWN), 0);
    assert_int_equal(memory_budget_used(budget, MEMORY_WORKER), MIB - MEMORY_FIRST_BYTES);
    assert_int_equal(memory_hold_take(&holds[0], MIB, &error), BW_OK);
    assert_int_equal(memory_budget_used(budget, MEMORY_WORKER), 2 * MIB - MEMORY_FIRST_BYTES);
}

static void permanent_refusal_differs_from_a_temporary_one(void **state)
{
    (void)state;
    memory_hold_begin(&holds[0], budget, MEMORY_UNKNOWN, "192.0.2.1");
    assert_int_equal(memory_hold_take(&holds[0], 300 * MIB, &error), BW_TOO_LARGE);
    assert_non_null(strstr(error.message, "240 MiB"));
    assert_int_equal(fill(1, 1, MEMORY_UNKNOWN, "192.0.2.1", 200 * MIB), 1);
    assert_int_equal(memory_hold_try(&holds[0], 100 * MIB, &error), BW_UNAVAILABLE);
    memory_hold_release(&holds[1]);
    assert_int_equal(memory_hold_try(&holds[0], 100 * MIB, &error), BW_OK);
    assert_int_equal(memory_budget_used(budget, MEMORY_UNKNOWN), 0);
}

static void address_has_a_share_of_bodies_and_a_larger_one_with_parsed_values(void **state)
{
    (void)state;
    assert_int_equal(fill(0, 3, MEMORY_UNKNOWN, "192.0.2.1", 16 * MIB), 3);
    assert_int_equal(memory_hold_take_parsed(&holds[0], 150 * MIB, &error), BW_OK);
    assert_int_equal(fill(3, 1, MEMORY_UNKNOWN, "192.0.2.1", 15 * MIB), 1);
    assert_int_equal(fill(10, 1, MEMORY_UNKNOWN, "192.0.2.1", 16 * MIB), 0);
    assert_int_equal(memory_hold_take_parsed(&holds[1], 50 * MIB, &error), BW_UNAVAILABLE);
    memory_hold_release(&holds[0]);
    assert_int_equal(memory_hold_take_parsed(&holds[1], 50 * MIB, &error), BW_OK);
    memory_hold_move(&holds[1], MEMORY_WORKER);
    assert_int_equal(fill(4, 2, MEMORY_UNKNOWN, "192.0.2.1", 16 * MIB), 2);
}

static void declared_length_is_never_allocated(void **state)
{
    (void)state;
    struct body body = {.expected = 16 * MIB};
    char part[4096];
    memset(part, 'x', sizeof part);
    memory_hold_begin(&body.hold, budget, MEMORY_SOCKET, "");
    assert_int_equal(body_append(&body, part, sizeof part, 16 * MIB, &error), BW_OK);
    assert_in_range(body.capacity, 4097, 8192);
    for (int i = 1; i < 4096; i++)
        assert_int_equal(body_append(&body, part, sizeof part, 16 * MIB, &error), BW_OK);
    assert_int_equal(body.length, 16 * MIB);
    assert_int_equal(body.capacity, 16 * MIB + 1);
    assert_int_equal(memory_budget_used(budget, MEMORY_FIRST) +
                         memory_budget_used(budget, MEMORY_SOCKET),
                     body.capacity);
    assert_int_equal(body_append(&body, part, 1, 16 * MIB, &error), BW_TOO_LARGE);
    body_clear(&body);
}

static void without_a_budget_nothing_is_refused(void **state)
{
    (void)state;
    struct memory_hold hold = {.budget = NULL};
    assert_int_equal(memory_hold_take(&hold, 1000ul * MIB, &error), BW_OK);
    memory_hold_move(&hold, MEMORY_WORKER);
    memory_hold_release(&hold);
    memory_budget_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(unknown_senders_leave_memory_for_known_ones, start, stop),
        cmocka_unit_test_setup_teardown(heartbeat_always_gets_memory, start, stop),
        cmocka_unit_test_setup_teardown(single_hold_of_a_pool_may_exceed_the_limit, start, stop),
        cmocka_unit_test_setup_teardown(websockets_do_not_take_all_memory, start, stop),
        cmocka_unit_test_setup_teardown(memory_moves_with_a_sender_that_becomes_known, start, stop),
        cmocka_unit_test_setup_teardown(permanent_refusal_differs_from_a_temporary_one, start,
                                        stop),
        cmocka_unit_test_setup_teardown(
            address_has_a_share_of_bodies_and_a_larger_one_with_parsed_values, start, stop),
        cmocka_unit_test_setup_teardown(declared_length_is_never_allocated, start, stop),
        cmocka_unit_test_setup_teardown(without_a_budget_nothing_is_refused, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
