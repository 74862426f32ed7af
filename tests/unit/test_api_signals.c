#include "api/uplink/signals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/unit/fake_replica.h"

enum { PARKED_MAX = 25000 };

struct fixture {
    struct fake_replica replica;
    struct exchange *exchanges;
    size_t parked;
};

static struct fixture *fixture_new(int64_t heartbeat_every_ms)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->exchanges = calloc(PARKED_MAX, sizeof *fixture->exchanges);
    fake_replica_open(&fixture->replica, heartbeat_every_ms);
    return fixture;
}

static void start(struct fixture *fixture)
{
    struct bw_error error;
    assert_int_equal(signals_start(fixture->replica.signals, &error), BW_OK);
    assert_true(fake_store_wait(has_count, 1));
}

static int setup(void **state)
{
    struct fixture *fixture = fixture_new(60000);
    start(fixture);
    *state = fixture;
    return 0;
}

static int setup_lively(void **state)
{
    struct fixture *fixture = fixture_new(20);
    start(fixture);
    *state = fixture;
    return 0;
}

static int setup_unstarted(void **state)
{
    *state = fixture_new(60000);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    fake_store_set(false, false);
    fake_replica_close(&fixture->replica);
    free(fixture->exchanges);
    free(fixture);
    return 0;
}

static void park(struct fixture *fixture, size_t count)
{
    for (size_t i = 0; i < count; i++)
        poll_table_park(fixture->replica.polls, &fixture->exchanges[fixture->parked++], "w", 60000);
}

static const struct signal *sent(size_t index)
{
    return &fake_store.sent[index];
}

static const struct signal *last_sent(void)
{
    return sent(fake_store_count() - 1);
}

static void first_batch_is_a_full_resync_and_numbers_rise_by_one(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, 1);
    assert_true(fake_store_wait(has_poll, 1));
    signals_seen(fixture->replica.signals, "w", SEEN_HEARTBEAT);
    assert_true(fake_store_wait(has_count, 3));
    assert_true(sent(0)->is_resync);
    assert_true(sent(0)->is_heartbeat);
    for (size_t i = 0; i < fake_store_count(); i++)
        assert_int_equal(sent(i)->number, (int64_t)i + 1);
    assert_false(sent(1)->is_resync);
}

static void changes_during_a_batch_join_the_next(void **state)
{
    struct fixture *fixture = *state;
    fake_store_set(false, true);
    park(fixture, 1);
    assert_true(fake_store_wait(has_count, 2)); /* in flight, and held */
    park(fixture, 9);
    for (size_t i = 0; i < 5; i++)
        signals_seen(fixture->replica.signals, i % 2 == 0 ? "a" : "b",
                     i == 0 ? SEEN_HEARTBEAT : SEEN_RESULT);
    fake_store_set(false, false);
    assert_true(fake_store_wait(has_poll, 10));
    assert_int_equal(sent(2)->poll_count, 9);
    assert_true(fake_store_wait(has_seen, 2));
    assert_true(fake_store_count() <= 4); /* at most one batch of polls and one of heartbeats */
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(last_sent()->seen[i].kind,
                         last_sent()->seen[i].worker[0] == 'a' ? SEEN_HEARTBEAT : SEEN_RESULT);
}

static void heartbeats_are_batched_and_do_not_delay_polls(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, 1);
    assert_true(fake_store_wait(has_poll, 1));
    int64_t begun_ms = clock_boot_ms();
    signals_seen(fixture->replica.signals, "a", SEEN_HEARTBEAT);
    park(fixture, 1);
    assert_true(fake_store_wait(has_poll, 2));
    if (clock_boot_ms() - begun_ms < SIGNALS_LINGER_MS)
        assert_int_equal(last_sent()->seen_count, 0);
    signals_seen(fixture->replica.signals, "b", SEEN_HEARTBEAT);
    assert_true(fake_store_wait(has_seen, 2));
    assert_true(clock_boot_ms() - begun_ms >= SIGNALS_LINGER_MS);
    assert_int_equal(last_sent()->seen_count, 2);
}

static void a_heartbeat_is_sent_no_later_than_the_poll_after_it(void **state)
{
    struct fixture *fixture = *state;
    assert_true(fake_store_wait(has_count, 1));
    signals_seen(fixture->replica.signals, "w", SEEN_HEARTBEAT);
    park(fixture, 1); /* a poll of worker w */
    assert_true(fake_store_wait(has_poll, 1));
    assert_true(fake_store_wait(has_seen, 1));
    assert_int_equal(sent(1)->seen_count, 1);
}

static void a_worker_that_polls_needs_no_heartbeat_signal(void **state)
{
    struct fixture *fixture = *state;
    assert_true(fake_store_wait(has_count, 1));
    signals_seen(fixture->replica.signals, "w", SEEN_RESULT);
    signals_seen(fixture->replica.signals, "other", SEEN_RESULT);
    signals_seen(fixture->replica.signals, "beating", SEEN_HEARTBEAT);
    park(fixture, 1); /* a poll of worker w */
    signals_poll(fixture->replica.signals, "beating", 1000, false);
    assert_true(fake_store_wait(has_seen, 2)); /* the other worker, and w's heartbeat */
    for (size_t i = 0; i < last_sent()->seen_count; i++)
        assert_string_not_equal(last_sent()->seen[i].worker, "w");
}

static void failed_batch_is_followed_by_a_full_resync(void **state)
{
    struct fixture *fixture = *state;
    struct hand_out hand_out = {
        .poll = 99, .worker = "w", .job = "j", .attempt = 2, .expires_in_ms = 60000};
    assert_true(delivery_table_begin(fixture->replica.hand_outs, &hand_out));
    delivery_table_complete(fixture->replica.hand_outs, &hand_out, true);
    park(fixture, 3);
    assert_true(fake_store_wait(has_poll, 3));
    fake_store_set(true, false);
    size_t before = fake_store_count();
    signals_seen(fixture->replica.signals, "w", SEEN_HEARTBEAT);
    assert_true(fake_store_wait(has_count, (int64_t)before + 1));
    fake_store_set(false, false);
    assert_true(fake_store_wait(has_count, (int64_t)before + 2));
    const struct signal *resync = last_sent();
    assert_true(resync->is_resync);
    assert_int_equal(resync->poll_count, 3);
    assert_int_equal(resync->delivery_count, 1);
    assert_string_equal(resync->deliveries[0].job, "j");
    assert_int_equal(resync->deliveries[0].attempt, 2);
    assert_int_equal(resync->seen_count, 1); /* sent again, with its current age */
    assert_true(resync->seen[0].age_ms >= 150);
}

static void heartbeats_carry_count_and_checksum(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, 2);
    assert_true(fake_store_wait(has_poll, 2));
    size_t before = fake_store_count();
    assert_true(fake_store_wait(has_count, (int64_t)before + 3));
    const struct signal *heartbeat = last_sent();
    uint64_t sum = (uint64_t)signal_poll_checksum(1) + (uint64_t)signal_poll_checksum(2);
    assert_true(heartbeat->is_heartbeat);
    assert_int_equal(heartbeat->parked_count, 2);
    assert_int_equal(heartbeat->parked_checksum, (int64_t)(sum & INT64_MAX));
    assert_int_equal(heartbeat->poll_count, 0);
}

/* Replays the signals as a scheduler would: at each heartbeat both sides must agree. */
struct replay {
    char waits[PARKED_MAX + 1]; /* which polls wait, by number */
};

static void replay_one(struct replay *replay, const struct signal *signal)
{
    if (signal->is_resync)
        memset(replay->waits, 0, sizeof replay->waits);
    for (size_t i = 0; i < signal->poll_count; i++)
        replay->waits[signal->polls[i].poll] = 1;
    for (size_t i = 0; i < signal->gone_count; i++)
        replay->waits[signal->gone[i]] = 0;
    if (!signal->is_heartbeat)
        return;
    int64_t count = 0;
    uint64_t sum = 0;
    for (int64_t poll = 1; poll <= PARKED_MAX; poll++) {
        count += replay->waits[poll];
        sum += replay->waits[poll] ? (uint64_t)signal_poll_checksum(poll) : 0;
    }
    assert_int_equal(count, signal->parked_count);
    assert_int_equal((int64_t)(sum & INT64_MAX), signal->parked_checksum);
}

static void replayed_signals_agree_with_every_heartbeat(void **state)
{
    struct fixture *fixture = *state;
    struct replay *replay = calloc(1, sizeof *replay);
    for (size_t round = 0; round < 200; round++) {
        park(fixture, 10);
        for (size_t i = 0; i < 4; i++)
            fake_exchange_leave(&fixture->exchanges[fixture->parked - 1 - i]);
        if (round % 40 == 20)
            signals_resync(fixture->replica.signals);
        if (round % 60 == 30)
            fake_store_set(round % 120 == 30, false);
        fake_pause();
    }
    fake_store_set(false, false);
    size_t before = fake_store_count();
    assert_true(fake_store_wait(has_count, (int64_t)before + 4));
    pthread_mutex_lock(&fake_store.mutex);
    size_t alive = 0;
    for (size_t i = 0; i < fake_store.count; i++) {
        replay_one(replay, sent(i));
        alive += sent(i)->is_heartbeat;
    }
    pthread_mutex_unlock(&fake_store.mutex);
    assert_true(alive > 5);
    free(replay);
}

static void large_backlog_goes_in_bounded_batches_and_then_as_a_resync(void **state)
{
    struct fixture *fixture = *state;
    fake_store_set(false, true);
    park(fixture, 1);
    assert_true(fake_store_wait(has_count, 2));
    park(fixture, 7000);
    fake_store_set(false, false);
    assert_true(fake_store_wait(has_poll, 7001));
    assert_int_equal(sent(2)->poll_count, 5000);
    assert_int_equal(sent(3)->poll_count, 2000);
    fake_store_set(false, true);
    size_t before = fake_store_count();
    signals_seen(fixture->replica.signals, "w", SEEN_HEARTBEAT);
    assert_true(fake_store_wait(has_count, (int64_t)before + 1));
    for (size_t i = 0; i < 14000; i++) /* final marks count too: more entries than are kept */
        signals_poll(fixture->replica.signals, "w", 1, false),
            signals_poll(fixture->replica.signals, "w", 2, false);
    fake_store_set(false, false);
    assert_true(fake_store_wait(has_count, (int64_t)before + 2));
    assert_true(last_sent()->is_resync);
    assert_int_equal(last_sent()->poll_count, 7001);
}

static void shutdown_is_signalled_at_once_and_in_every_later_signal(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, 1);
    assert_true(fake_store_wait(has_poll, 1));
    signals_leave(fixture->replica.signals);
    assert_true(fake_store_wait(has_count, 3));
    assert_true(last_sent()->is_shutting_down);
    assert_true(last_sent()->is_resync);
    poll_table_drain(fixture->replica.polls);
    assert_true(fake_store_wait(has_gone, 1));
    assert_true(last_sent()->is_shutting_down);
}

static void pending_changes_are_sent_before_the_end(void **state)
{
    struct fixture *fixture = *state;
    fake_store_set(false, true);
    park(fixture, 1);
    assert_true(fake_store_wait(has_count, 2));
    park(fixture, 1);
    fake_store_set(false, false);
    signals_stop(fixture->replica.signals);
    assert_true(fake_store_wait(has_poll, 2));
}

static void signal_is_accepted_without_the_thread(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, PARKED_MAX);
    for (size_t i = 0; i < 1000; i++)
        signals_seen(fixture->replica.signals, "w", SEEN_RESULT);
    start(fixture);
    assert_int_equal(sent(0)->poll_count, PARKED_MAX);
    assert_int_equal(sent(0)->seen_count, 1);
}

static void heartbeats_of_a_worker_are_not_sent_after_its_socket_ended(void **state)
{
    struct fixture *fixture = *state;
    const struct signal_query ended = {.kind = QUERY_ENDED, .subject = "w", .epoch = 1};
    const struct signal_query alive = {.kind = QUERY_ALIVE, .subject = "other"};
    signals_seen(fixture->replica.signals, "w", SEEN_RESULT);
    signals_seen(fixture->replica.signals, "other", SEEN_RESULT);
    signals_query(fixture->replica.signals, &ended);
    signals_query(fixture->replica.signals, &alive);
    assert_true(fake_store_wait(has_seen, 1));
    assert_string_equal(last_sent()->seen[0].worker, "other");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(first_batch_is_a_full_resync_and_numbers_rise_by_one),
        CASE(changes_during_a_batch_join_the_next),
        CASE(heartbeats_are_batched_and_do_not_delay_polls),
        CASE(a_heartbeat_is_sent_no_later_than_the_poll_after_it),
        CASE(a_worker_that_polls_needs_no_heartbeat_signal),
        CASE(failed_batch_is_followed_by_a_full_resync),
        CASE(heartbeats_of_a_worker_are_not_sent_after_its_socket_ended),
        cmocka_unit_test_setup_teardown(heartbeats_carry_count_and_checksum, setup_lively,
                                        teardown),
        cmocka_unit_test_setup_teardown(replayed_signals_agree_with_every_heartbeat, setup_lively,
                                        teardown),
        CASE(large_backlog_goes_in_bounded_batches_and_then_as_a_resync),
        CASE(shutdown_is_signalled_at_once_and_in_every_later_signal),
        CASE(pending_changes_are_sent_before_the_end),
        cmocka_unit_test_setup_teardown(signal_is_accepted_without_the_thread, setup_unstarted,
                                        teardown),
    };
    return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
