#include "api/grading/poll_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "api/grading/delivery_table.h"
#include "api/uplink/signals.h"
#include "tests/unit/fake_exchange.h"
#include "tests/unit/fake_signal_store.h"

struct fixture {
    struct signals *signals;
    struct delivery_table *hand_outs;
    struct poll_table *polls;
    struct exchange exchange;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct signals_settings settings = {.heartbeat_every_ms = 60000, .send = fake_send};
    struct bw_error error;
    fake_store_clear();
    fixture->signals = signals_new(&settings);
    fixture->hand_outs = delivery_table_new();
    struct poll_table_settings poll_settings = fake_poll_table_settings(fixture->signals);
    if (poll_table_open(&poll_settings, &fixture->polls, &error) != BW_OK ||
        signals_start(fixture->signals, fixture->polls, fixture->hand_outs, &error) != BW_OK)
        return -1;
    *state = fixture;
    return fake_store_wait(has_count, 1) ? 0 : -1; /* the first announcement is out */
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    poll_table_close(fixture->polls);
    signals_stop(fixture->signals);
    signals_free(fixture->signals);
    delivery_table_free(fixture->hand_outs);
    free(fixture);
    fake_store_clear();
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
    poll_table_park(fixture->polls, &fixture->exchange, "w1", 10000);
    assert_true(fake_store_wait(has_poll, 1));
    assert_true(poll_table_has(fixture->polls, 1, "w1"));
    assert_null(poll_table_take(fixture->polls, 1, "w2"));
    assert_ptr_equal(poll_table_take(fixture->polls, 1, "w1"), &fixture->exchange);
    assert_null(poll_table_take(fixture->polls, 1, "w1"));
    assert_int_equal(poll_table_count(fixture->polls), 0);
    assert_int_equal(atomic_load(&fixture->exchange.answers), 0); /* the taker's to answer */
}

static void deadline_asks_for_a_last_word_and_then_cuts(void **state)
{
    struct fixture *fixture = *state;
    int64_t begun_ms = clock_boot_ms();
    poll_table_park(fixture->polls, &fixture->exchange, "0123456789abcdef0123456789abcdef", 100);
    assert_true(fake_store_wait(has_final, 1));
    assert_true(clock_boot_ms() - begun_ms >= 100);
    assert_int_equal(atomic_load(&fixture->exchange.answers), 0);
    assert_true(wait_answered(&fixture->exchange, 5000));
    assert_true(clock_boot_ms() - begun_ms >= 1100);
    assert_true(clock_boot_ms() - begun_ms < 2000);
    assert_empty(&fixture->exchange);
    assert_true(fake_store_wait(has_gone, 1));
}

static void poll_that_will_not_wait_is_final_at_once(void **state)
{
    struct fixture *fixture = *state;
    poll_table_park(fixture->polls, &fixture->exchange, "w1", 0);
    assert_true(fake_store_wait(has_final, 1));
    poll_table_empty(fixture->polls, 1);
    assert_empty(&fixture->exchange);
    poll_table_empty(fixture->polls, 1); /* a repeated callback */
    assert_empty(&fixture->exchange);
}

static void empty_answer_never_comes_sooner_than_asked_for(void **state)
{
    struct fixture *fixture = *state;
    poll_table_park(fixture->polls, &fixture->exchange, "w1", 10000);
    poll_table_empty(fixture->polls, 1);
    assert_int_equal(atomic_load(&fixture->exchange.answers), 0);
    assert_true(poll_table_has(fixture->polls, 1, "w1"));
}

static void poll_of_a_client_that_left_is_gone(void **state)
{
    struct fixture *fixture = *state;
    poll_table_park(fixture->polls, &fixture->exchange, "w1", 10000);
    fake_exchange_leave(&fixture->exchange);
    assert_int_equal(atomic_load(&fixture->exchange.answers), 1);
    assert_true(fake_store_wait(has_gone, 1));
    assert_null(poll_table_take(fixture->polls, 1, "w1"));
}

static void client_that_left_before_it_parked_does_not_park(void **state)
{
    struct fixture *fixture = *state;
    atomic_store(&fixture->exchange.is_gone, true);
    poll_table_park(fixture->polls, &fixture->exchange, "w1", 10000);
    assert_int_equal(atomic_load(&fixture->exchange.answers), 1);
    assert_int_equal(poll_table_count(fixture->polls), 0);
}

static void draining_answers_all_and_refuses_more(void **state)
{
    struct fixture *fixture = *state;
    struct exchange others[20] = {{0}};
    for (size_t i = 0; i < 20; i++)
        poll_table_park(fixture->polls, &others[i], "w1", i % 2 == 0 ? 10000 : 0);
    poll_table_drain(fixture->polls);
    for (size_t i = 0; i < 20; i++)
        assert_empty(&others[i]);
    poll_table_park(fixture->polls, &fixture->exchange, "w1", 10000);
    assert_empty(&fixture->exchange);
}

static void count_call(void *context)
{
    *(int *)context += 1;
}

static void snapshot_lists_what_waits_with_its_checksum(void **state)
{
    struct fixture *fixture = *state;
    struct exchange others[3] = {{0}};
    struct poll_snapshot snapshot;
    int calls = 0;
    poll_table_park(fixture->polls, &others[0], "w1", 10000);
    poll_table_park(fixture->polls, &others[1], "w2", 10000);
    poll_table_park(fixture->polls, &others[2], "w3", 0);
    assert_non_null(poll_table_take(fixture->polls, 1, "w1"));
    poll_table_snapshot(fixture->polls, true, &snapshot, count_call, &calls);
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
    poll_table_drain(fixture->polls);
}

enum { CROWD = 3000 };

/* Takers, leavers and the timer race for every poll: each is answered exactly once. */
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
        poll_table_park(fixture->polls, &crowd[i], "w", (int64_t)((i * 7919) % 200));
    assert_int_equal(pthread_create(&taker, NULL, take_all, fixture->polls), 0);
    for (size_t i = 0; i < CROWD; i += 3)
        fake_exchange_leave(&crowd[i]);
    pthread_join(taker, NULL);
    for (size_t i = 0; i < CROWD; i++)
        assert_true(wait_answered(&crowd[i], 5000));
    assert_int_equal(poll_table_count(fixture->polls), 0);
    free(crowd);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(parked_poll_is_signalled_and_taken_once_by_its_worker),
        CASE(deadline_asks_for_a_last_word_and_then_cuts),
        CASE(poll_that_will_not_wait_is_final_at_once),
        CASE(empty_answer_never_comes_sooner_than_asked_for),
        CASE(poll_of_a_client_that_left_is_gone),
        CASE(client_that_left_before_it_parked_does_not_park),
        CASE(draining_answers_all_and_refuses_more),
        CASE(snapshot_lists_what_waits_with_its_checksum),
        CASE(every_poll_of_a_crowd_is_answered_exactly_once),
    };
    return cmocka_run_group_tests_name("poll_table", tests, NULL, NULL);
}
