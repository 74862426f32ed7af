#include "api/grading/poll_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/fake_replica.h"

struct fixture {
    struct fake_replica replica;
    struct exchange exchange;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct bw_error error;
    fake_replica_open(&fixture->replica, 60000);
    if (signals_start(fixture->replica.signals, &error) != BW_OK)
        return -1;
    *state = fixture;
    return fake_store_wait(has_count, 1) ? 0 : -1; /* the first full resync was sent */
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    fake_replica_close(&fixture->replica);
    free(fixture);
    return 0;
}

static bool wait_answered(struct exchange *exchange, int64_t limit_ms)
{
    int64_t until_ms = clock_boot_ms() + limit_ms;
    while (atomic_load(&exchange->answers) == 0 && clock_boot_ms() < until_ms)
        fake_pause();
    return atomic_load(&exchange->answers) == 1;
}

static void assert_empty(struct exchange *exchange)
{
    assert_int_equal(atomic_load(&exchange->answers), 1);
    assert_int_equal(atomic_load(&exchange->code), BW_NO_JOB);
}

static void parked_poll_is_signalled_and_taken_once_by_its_worker(void **state)
{
    struct fixture *fixture = *state;
    poll_table_park(fixture->replica.polls, &fixture->exchange, "w1", 10000);
    assert_true(fake_store_wait(has_poll, 1));
    assert_int_equal(poll_table_kind(fixture->replica.polls, 1, "w1"), POLL_KIND_REQUEST);
    assert_int_equal(poll_table_kind(fixture->replica.polls, 1, "w2"), POLL_KIND_NONE);
    assert_null(poll_table_take(fixture->replica.polls, 1, "w2"));
    assert_ptr_equal(poll_table_take(fixture->replica.polls, 1, "w1"), &fixture->exchange);
    assert_null(poll_table_take(fixture->replica.polls, 1, "w1"));
    assert_int_equal(poll_table_count(fixture->replica.polls), 0);
    assert_int_equal(atomic_load(&fixture->exchange.answers),
                     0); /* the caller of poll_table_take answers it */
}

static void deadline_makes_a_poll_final_and_then_answers_it(void **state)
{
    struct fixture *fixture = *state;
    int64_t begun_ms = clock_boot_ms();
    poll_table_park(fixture->replica.polls, &fixture->exchange, "0123456789abcdef0123456789abcdef",
                    100);
    assert_true(fake_store_wait(has_final, 1));
    assert_true(clock_boot_ms() - begun_ms >= 100);
    assert_int_equal(atomic_load(&fixture->exchange.answers), 0);
    assert_true(wait_answered(&fixture->exchange, 5000));
    assert_true(clock_boot_ms() - begun_ms >= 1100);
    assert_true(clock_boot_ms() - begun_ms < 2000);
    assert_empty(&fixture->exchange);
    assert_true(fake_store_wait(has_gone, 1));
}

static void poll_with_wait_0_is_final_at_once(void **state)
{
    struct fixture *fixture = *state;
    poll_table_park(fixture->replica.polls, &fixture->exchange, "w1", 0);
    assert_true(fake_store_wait(has_final, 1));
    poll_table_empty(fixture->replica.polls, 1);
    assert_empty(&fixture->exchange);
    poll_table_empty(fixture->replica.polls, 1); /* a repeated callback */
    assert_empty(&fixture->exchange);
}

static void empty_answer_is_not_sent_before_the_wait_ends(void **state)
{
    struct fixture *fixture = *state;
    poll_table_park(fixture->replica.polls, &fixture->exchange, "w1", 10000);
    poll_table_empty(fixture->replica.polls, 1);
    assert_int_equal(atomic_load(&fixture->exchange.answers), 0);
    assert_int_equal(poll_table_kind(fixture->replica.polls, 1, "w1"), POLL_KIND_REQUEST);
}

static void poll_of_a_disconnected_client_is_removed(void **state)
{
    struct fixture *fixture = *state;
    poll_table_park(fixture->replica.polls, &fixture->exchange, "w1", 10000);
    fake_exchange_leave(&fixture->exchange);
    assert_int_equal(atomic_load(&fixture->exchange.answers), 1);
    assert_true(fake_store_wait(has_gone, 1));
    assert_null(poll_table_take(fixture->replica.polls, 1, "w1"));
}

static void client_that_disconnected_before_parking_is_not_parked(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&fixture->exchange.is_gone, true);
    poll_table_park(fixture->replica.polls, &fixture->exchange, "w1", 10000);
    assert_int_equal(atomic_load(&fixture->exchange.answers), 1);
    assert_int_equal(poll_table_count(fixture->replica.polls), 0);
}

static void draining_answers_all_and_refuses_more(void **state)
{
    struct fixture *fixture = *state;
    struct exchange others[20] = {{0}};
    for (size_t i = 0; i < 20; i++)
        poll_table_park(fixture->replica.polls, &others[i], "w1", i % 2 == 0 ? 10000 : 0);
    poll_table_drain(fixture->replica.polls);
    for (size_t i = 0; i < 20; i++)
        assert_empty(&others[i]);
    poll_table_park(fixture->replica.polls, &fixture->exchange, "w1", 10000);
    assert_empty(&fixture->exchange);
}

static void count_call(void *context)
{
    *(int *)context += 1;
}

static void snapshot_lists_parked_polls_with_checksum(void **state)
{
    struct fixture *fixture = *state;
    struct exchange others[3] = {{0}};
    struct poll_snapshot snapshot;
    int calls = 0;
    poll_table_park(fixture->replica.polls, &others[0], "w1", 10000);
    poll_table_park(fixture->replica.polls, &others[1], "w2", 10000);
    poll_table_park(fixture->replica.polls, &others[2], "w3", 0);
    assert_non_null(poll_table_take(fixture->replica.polls, 1, "w1"));
    poll_table_snapshot(fixture->replica.polls, true, &snapshot, count_call, &calls);
    assert_int_equal(calls, 1);
    assert_int_equal(snapshot.count, 2);
    uint64_t sum = (uint64_t)signal_poll_checksum(2) + (uint64_t)signal_poll_checksum(3);
    assert_int_equal(snapshot.checksum, (int64_t)(sum & INT64_MAX));
    for (int64_t i = 0; i < snapshot.count; i++) {
        bool is_third = snapshot.polls[i].poll == 3;
        assert_int_equal(snapshot.polls[i].is_final, is_third);
        assert_string_equal(snapshot.polls[i].worker, is_third ? "w3" : "w2");
    }
    free(snapshot.polls);
    poll_table_drain(fixture->replica.polls);
}

enum { CROWD = 3000 };

/* Hand-outs, disconnects and the timer race for every poll; each poll is answered exactly once. */
static void *take_all(void *context)
{
    struct poll_table *polls = context;
    for (int64_t number = 1; number <= CROWD; number += 2) {
        struct exchange *exchange = poll_table_take(polls, number, "w");
        if (exchange != NULL)
            fake_exchange_refuse(exchange, BW_OK, NULL);
    }
    return NULL;
}

static void every_poll_of_a_crowd_is_answered_exactly_once(void **state)
{
    struct fixture *fixture = *state;
    struct exchange *crowd = calloc(CROWD, sizeof *crowd);
    pthread_t taker;
    for (size_t i = 0; i < CROWD; i++)
        poll_table_park(fixture->replica.polls, &crowd[i], "w", (int64_t)((i * 7919) % 200));
    assert_int_equal(pthread_create(&taker, NULL, take_all, fixture->replica.polls), 0);
    for (size_t i = 0; i < CROWD; i += 3)
        fake_exchange_leave(&crowd[i]);
    pthread_join(taker, NULL);
    for (size_t i = 0; i < CROWD; i++)
        assert_true(wait_answered(&crowd[i], 5000));
    assert_int_equal(poll_table_count(fixture->replica.polls), 0);
    free(crowd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(parked_poll_is_signalled_and_taken_once_by_its_worker),
        CASE(deadline_makes_a_poll_final_and_then_answers_it),
        CASE(poll_with_wait_0_is_final_at_once),
        CASE(empty_answer_is_not_sent_before_the_wait_ends),
        CASE(poll_of_a_disconnected_client_is_removed),
        CASE(client_that_disconnected_before_parking_is_not_parked),
        CASE(draining_answers_all_and_refuses_more),
        CASE(snapshot_lists_parked_polls_with_checksum),
        CASE(every_poll_of_a_crowd_is_answered_exactly_once),
    };
    return cmocka_run_group_tests_name("poll_table", tests, NULL, NULL);
}
