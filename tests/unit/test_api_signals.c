#include "api/uplink/signals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "api/grading/delivery_table.h"
#include "api/grading/poll_table.h"
#include "tests/unit/fake_exchange.h"
#include "tests/unit/fake_signal_store.h"

enum { PARKED_MAX = 25000 };

struct fixture {
    struct signals *signals;
    struct delivery_table *hand_outs;
    struct poll_table *polls;
    struct exchange *exchanges;
    size_t parked;
};

static struct fixture *fixture_new(int64_t heartbeat_every_ms)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    struct signals_settings settings = {.heartbeat_every_ms = heartbeat_every_ms,
                                        .send = fake_send};
    struct bw_error error;
    fake_store_clear();
    fixture->exchanges = calloc(PARKED_MAX, sizeof *fixture->exchanges);
    fixture->signals = signals_new(&settings);
    fixture->hand_outs = delivery_table_new();
    struct poll_table_settings poll_settings = fake_poll_table_settings(fixture->signals);
    assert_int_equal(poll_table_open(&poll_settings, &fixture->polls, &error), BW_OK);
    return fixture;
}

static void start(struct fixture *fixture)
{
    struct bw_error error;
    assert_int_equal(signals_start(fixture->signals, fixture->polls, fixture->hand_outs, &error),
                     BW_OK);
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
    poll_table_close(fixture->polls);
    signals_stop(fixture->signals);
    signals_free(fixture->signals);
    delivery_table_free(fixture->hand_outs);
    free(fixture->exchanges);
    free(fixture);
    fake_store_clear();
    return 0;
}

static void park(struct fixture *fixture, size_t count)
{
    for (size_t i = 0; i < count; i++)
        poll_table_park(fixture->polls, &fixture->exchanges[fixture->parked++], "w", 60000);
}

static const struct signal *sent(size_t index)
{
    return &fake_store.sent[index];
}

static const struct signal *last_sent(void)
{
    return sent(fake_store_count() - 1);
}

static void first_batch_announces_and_numbers_rise_by_one(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, 1);
    assert_true(fake_store_wait(has_poll, 1));
    signals_heard(fixture->signals, "w", HEARD_HEARTBEAT);
    assert_true(fake_store_wait(has_count, 3));
    assert_true(sent(0)->is_announcement);
    assert_true(sent(0)->is_life);
    for (size_t i = 0; i < fake_store_count(); i++)
        assert_int_equal(sent(i)->number, (int64_t)i + 1);
    assert_false(sent(1)->is_announcement);
}

static void what_happens_during_a_batch_joins_the_next(void **state)
{
    struct fixture *fixture = *state;
    fake_store_set(false, true);
    park(fixture, 1);
    assert_true(fake_store_wait(has_count, 2)); /* under way, and held */
    park(fixture, 9);
    for (size_t i = 0; i < 5; i++)
        signals_heard(fixture->signals, i % 2 == 0 ? "a" : "b",
                      i == 0 ? HEARD_HEARTBEAT : HEARD_RESULT);
    fake_store_set(false, false);
    assert_true(fake_store_wait(has_poll, 10));
    assert_int_equal(sent(2)->poll_count, 9);
    assert_true(fake_store_wait(has_heard, 2));
    assert_true(fake_store_count() <= 4); /* one batch of polls, one of those heard at most */
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(last_sent()->heard[i].kind,
                         last_sent()->heard[i].worker[0] == 'a' ? HEARD_HEARTBEAT : HEARD_RESULT);
}

static void heartbeats_wait_for_one_another_but_no_poll_waits_for_them(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, 1);
    assert_true(fake_store_wait(has_poll, 1));
    int64_t begun_ms = clock_boot_ms();
    signals_heard(fixture->signals, "a", HEARD_HEARTBEAT);
    park(fixture, 1);
    assert_true(fake_store_wait(has_poll, 2));
    if (clock_boot_ms() - begun_ms < SIGNALS_LINGER_MS)
        assert_int_equal(last_sent()->heard_count, 0);
    signals_heard(fixture->signals, "b", HEARD_HEARTBEAT);
    assert_true(fake_store_wait(has_heard, 2));
    assert_true(clock_boot_ms() - begun_ms >= SIGNALS_LINGER_MS);
    assert_int_equal(last_sent()->heard_count, 2);
}

static void a_heartbeat_is_told_no_later_than_the_poll_after_it(void **state)
{
    struct fixture *fixture = *state;
    assert_true(fake_store_wait(has_count, 1));
    signals_heard(fixture->signals, "w", HEARD_HEARTBEAT);
    park(fixture, 1); /* w's */
    assert_true(fake_store_wait(has_poll, 1));
    assert_true(fake_store_wait(has_heard, 1));
    assert_int_equal(sent(1)->heard_count, 1);
}

static void who_asks_for_work_need_not_be_told_of_as_heard(void **state)
{
    struct fixture *fixture = *state;
    assert_true(fake_store_wait(has_count, 1));
    signals_heard(fixture->signals, "w", HEARD_RESULT);
    signals_heard(fixture->signals, "other", HEARD_RESULT);
    signals_heard(fixture->signals, "beating", HEARD_HEARTBEAT);
    park(fixture, 1); /* w's */
    signals_poll(fixture->signals, "beating", 1000, false);
    assert_true(fake_store_wait(has_heard, 2)); /* the other, and the heartbeat, which says more */
    for (size_t i = 0; i < last_sent()->heard_count; i++)
        assert_string_not_equal(last_sent()->heard[i].worker, "w");
}

static void failed_batch_is_followed_by_an_announcement_of_all(void **state)
{
    struct fixture *fixture = *state;
    struct hand_out hand_out = {
        .poll = 99, .worker = "w", .job = "j", .attempt = 2, .expires_in_ms = 60000};
    assert_true(delivery_table_begin(fixture->hand_outs, &hand_out));
    delivery_table_settle(fixture->hand_outs, &hand_out, true);
    park(fixture, 3);
    assert_true(fake_store_wait(has_poll, 3));
    fake_store_set(true, false);
    size_t before = fake_store_count();
    signals_heard(fixture->signals, "w", HEARD_HEARTBEAT);
    assert_true(fake_store_wait(has_count, (int64_t)before + 1));
    fake_store_set(false, false);
    assert_true(fake_store_wait(has_count, (int64_t)before + 2));
    const struct signal *announcement = last_sent();
    assert_true(announcement->is_announcement);
    assert_int_equal(announcement->poll_count, 3);
    assert_int_equal(announcement->delivery_count, 1);
    assert_string_equal(announcement->deliveries[0].job, "j");
    assert_int_equal(announcement->deliveries[0].attempt, 2);
    assert_int_equal(announcement->heard_count, 1); /* told again, with the age it has by now */
    assert_true(announcement->heard[0].age_ms >= 150);
}

static void signs_of_life_carry_count_and_checksum(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, 2);
    assert_true(fake_store_wait(has_poll, 2));
    size_t before = fake_store_count();
    assert_true(fake_store_wait(has_count, (int64_t)before + 3));
    const struct signal *heartbeat = last_sent();
    uint64_t sum = (uint64_t)signal_poll_checksum(1) + (uint64_t)signal_poll_checksum(2);
    assert_true(heartbeat->is_life);
    assert_int_equal(heartbeat->parked_count, 2);
    assert_int_equal(heartbeat->parked_checksum, (int64_t)(sum & INT64_MAX));
    assert_int_equal(heartbeat->poll_count, 0);
}

/* Replays all that was sent as a scheduler would: at each sign of life both sides agree. */
struct replay {
    char waits[PARKED_MAX + 1]; /* by poll number */
};

static void replay_one(struct replay *replay, const struct signal *signal)
{
    if (signal->is_announcement)
        memset(replay->waits, 0, sizeof replay->waits);
    for (size_t i = 0; i < signal->poll_count; i++)
        replay->waits[signal->polls[i].poll] = 1;
    for (size_t i = 0; i < signal->gone_count; i++)
        replay->waits[signal->gone[i]] = 0;
    if (!signal->is_life)
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

static void replayed_signals_agree_with_every_sign_of_life(void **state)
{
    struct fixture *fixture = *state;
    struct replay *replay = calloc(1, sizeof *replay);
    for (size_t round = 0; round < 200; round++) {
        park(fixture, 10);
        for (size_t i = 0; i < 4; i++)
            fake_exchange_leave(&fixture->exchanges[fixture->parked - 1 - i]);
        if (round % 40 == 20)
            signals_resync(fixture->signals);
        if (round % 60 == 30)
            fake_store_set(round % 120 == 30, false);
        fake_pause();
    }
    fake_store_set(false, false);
    size_t before = fake_store_count();
    assert_true(fake_store_wait(has_count, (int64_t)before + 4));
    pthread_mutex_lock(&fake_store.mutex);
    size_t lives = 0;
    for (size_t i = 0; i < fake_store.count; i++) {
        replay_one(replay, sent(i));
        lives += sent(i)->is_life;
    }
    pthread_mutex_unlock(&fake_store.mutex);
    assert_true(lives > 5);
    free(replay);
}

static void large_backlog_goes_in_bounded_batches_and_then_collapses(void **state)
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
    signals_heard(fixture->signals, "w", HEARD_HEARTBEAT);
    assert_true(fake_store_wait(has_count, (int64_t)before + 1));
    for (size_t i = 0; i < 14000; i++) /* final marks count as well: more than is kept */
        signals_poll(fixture->signals, "w", 1, false),
            signals_poll(fixture->signals, "w", 2, false);
    fake_store_set(false, false);
    assert_true(fake_store_wait(has_count, (int64_t)before + 2));
    assert_true(last_sent()->is_announcement);
    assert_int_equal(last_sent()->poll_count, 7001);
}

static void leaving_is_said_at_once_and_from_then_on(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, 1);
    assert_true(fake_store_wait(has_poll, 1));
    signals_leave(fixture->signals);
    assert_true(fake_store_wait(has_count, 3));
    assert_true(last_sent()->is_leaving);
    assert_true(last_sent()->is_announcement);
    poll_table_drain(fixture->polls);
    assert_true(fake_store_wait(has_gone, 1));
    assert_true(last_sent()->is_leaving);
}

static void what_is_pending_is_sent_before_the_end(void **state)
{
    struct fixture *fixture = *state;
    fake_store_set(false, true);
    park(fixture, 1);
    assert_true(fake_store_wait(has_count, 2));
    park(fixture, 1);
    fake_store_set(false, false);
    signals_stop(fixture->signals);
    assert_true(fake_store_wait(has_poll, 2));
}

static void telling_never_needs_the_thread(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, PARKED_MAX);
    for (size_t i = 0; i < 1000; i++)
        signals_heard(fixture->signals, "w", HEARD_RESULT);
    start(fixture);
    assert_int_equal(sent(0)->poll_count, PARKED_MAX);
    assert_int_equal(sent(0)->heard_count, 1);
}

static void what_was_heard_of_a_worker_is_not_told_behind_its_sockets_end(void **state)
{
    struct fixture *fixture = *state;
    const struct signal_query ended = {.kind = QUERY_ENDED, .subject = "w", .epoch = 1};
    const struct signal_query alive = {.kind = QUERY_ALIVE, .subject = "other"};
    signals_heard(fixture->signals, "w", HEARD_RESULT);
    signals_heard(fixture->signals, "other", HEARD_RESULT);
    signals_query(fixture->signals, &ended);
    signals_query(fixture->signals, &alive);
    assert_true(fake_store_wait(has_heard, 1));
    assert_string_equal(last_sent()->heard[0].worker, "other");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(first_batch_announces_and_numbers_rise_by_one),
        CASE(what_happens_during_a_batch_joins_the_next),
        CASE(heartbeats_wait_for_one_another_but_no_poll_waits_for_them),
        CASE(a_heartbeat_is_told_no_later_than_the_poll_after_it),
        CASE(who_asks_for_work_need_not_be_told_of_as_heard),
        CASE(failed_batch_is_followed_by_an_announcement_of_all),
        CASE(what_was_heard_of_a_worker_is_not_told_behind_its_sockets_end),
        cmocka_unit_test_setup_teardown(signs_of_life_carry_count_and_checksum, setup_lively,
                                        teardown),
        cmocka_unit_test_setup_teardown(replayed_signals_agree_with_every_sign_of_life,
                                        setup_lively, teardown),
        CASE(large_backlog_goes_in_bounded_batches_and_then_collapses),
        CASE(leaving_is_said_at_once_and_from_then_on),
        CASE(what_is_pending_is_sent_before_the_end),
        cmocka_unit_test_setup_teardown(telling_never_needs_the_thread, setup_unstarted, teardown),
    };
    return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
