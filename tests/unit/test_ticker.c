#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "common/base/clock.h"
#include "common/base/ticker.h"

enum { SOON_MS = 5000 };

/* The context of the ticked function, which counts its calls and returns `next_ms`. */
struct counted {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int calls;
    int64_t next_ms;
    struct ticker *ticker; /* woken by the first call; NULL: none */
};

static int64_t count_call(void *context)
{
    struct counted *counted = context;
    pthread_mutex_lock(&counted->mutex);
    counted->calls++;
    pthread_cond_signal(&counted->changed);
    if (counted->calls == 1 && counted->ticker != NULL)
        ticker_wake(counted->ticker);
    int64_t next_ms = counted->next_ms;
    pthread_mutex_unlock(&counted->mutex);
    return next_ms;
}

static void counted_init(struct counted *counted, int64_t next_ms)
{
    *counted = (struct counted){.next_ms = next_ms};
    pthread_mutex_init(&counted->mutex, NULL);
    clock_condition_init(&counted->changed);
}

/* Waits until `calls` calls were made; fails after a time-out. */
static void wait_for_calls(struct counted *counted, int calls)
{
    struct timespec until = clock_deadline(SOON_MS);
    int result = 0;
    pthread_mutex_lock(&counted->mutex);
    while (counted->calls < calls && result == 0)
        result = pthread_cond_timedwait(&counted->changed, &counted->mutex, &until);
    int seen = counted->calls;
    pthread_mutex_unlock(&counted->mutex);
    assert_true(seen >= calls);
}

static struct ticker *open_ticker(struct counted *counted, int64_t first_ms)
{
    struct bw_error error;
    struct ticker *ticker = NULL;
    assert_int_equal(ticker_open("a test", first_ms, count_call, counted, &ticker, &error), BW_OK);
    return ticker;
}

static void ticker_calls_periodically(void **state)
{
    (void)state;
    struct counted counted;
    counted_init(&counted, 1);
    struct ticker *ticker = open_ticker(&counted, 0);
    wait_for_calls(&counted, 5);
    ticker_close(ticker);
}

static void ticker_waits_as_long_as_requested(void **state)
{
    (void)state;
    struct counted counted;
    counted_init(&counted, 40);
    int64_t begun_ms = clock_boot_ms();
    struct ticker *ticker = open_ticker(&counted, 40);
    wait_for_calls(&counted, 3);
    assert_true(clock_boot_ms() - begun_ms >= 120);
    ticker_close(ticker);
}

static void idle_ticker_calls_when_woken(void **state)
{
    (void)state;
    struct counted counted;
    counted_init(&counted, TICKER_IDLE);
    struct ticker *ticker = open_ticker(&counted, TICKER_IDLE);
    for (int calls = 1; calls <= 3; calls++) {
        ticker_wake(ticker);
        wait_for_calls(&counted, calls);
    }
    ticker_close(ticker);
    assert_int_equal(counted.calls, 3);
}

static void wake_during_a_call_causes_one_more_call(void **state)
{
    (void)state;
    struct counted counted;
    counted_init(&counted, TICKER_IDLE);
    struct ticker *ticker = open_ticker(&counted, TICKER_IDLE);
    pthread_mutex_lock(&counted.mutex);
    counted.ticker = ticker;
    pthread_mutex_unlock(&counted.mutex);
    ticker_wake(ticker);
    wait_for_calls(&counted, 2);
    ticker_close(ticker);
    assert_int_equal(counted.calls, 2);
}

static void ended_ticker_does_not_call(void **state)
{
    (void)state;
    struct counted counted;
    counted_init(&counted, TICKER_END);
    struct ticker *ticker = open_ticker(&counted, 0);
    wait_for_calls(&counted, 1);
    ticker_wake(ticker);
    ticker_close(ticker);
    assert_int_equal(counted.calls, 1);
}

static void closing_does_not_wait_for_the_next_call(void **state)
{
    (void)state;
    struct counted counted;
    counted_init(&counted, 3600 * 1000);
    struct ticker *waiting = open_ticker(&counted, 3600 * 1000);
    struct ticker *idle = open_ticker(&counted, TICKER_IDLE);
    int64_t begun_ms = clock_boot_ms();
    ticker_close(waiting);
    ticker_close(idle);
    ticker_close(NULL);
    assert_true(clock_boot_ms() - begun_ms < SOON_MS);
    assert_int_equal(counted.calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ticker_calls_periodically),
        cmocka_unit_test(ticker_waits_as_long_as_requested),
        cmocka_unit_test(idle_ticker_calls_when_woken),
        cmocka_unit_test(wake_during_a_call_causes_one_more_call),
        cmocka_unit_test(ended_ticker_does_not_call),
        cmocka_unit_test(closing_does_not_wait_for_the_next_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
