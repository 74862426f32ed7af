#include "common/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void durations_never_go_back(void **state)
{
    (void)state;
    int64_t last_ms = clock_boot_ms();
    for (int i = 0; i < 100000; i++) {
        int64_t now_ms = clock_boot_ms();
        assert_true(now_ms >= last_ms);
        last_ms = now_ms;
    }
}

static void current_date_is_plausible(void **state)
{
    (void)state;
    assert_true(clock_wall_ms() > 1700000000000);
}

static int64_t in_us(struct timespec at)
{
    return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

static void deadline_is_the_wait_from_now(void **state)
{
    (void)state;
    static const int64_t waits_ms[] = {0, 1, 999, 1000, 1001, 1999, 60000, 86400000};
    for (size_t i = 0; i < sizeof waits_ms / sizeof *waits_ms; i++) {
        struct timespec before, after;
        clock_gettime(CLOCK_MONOTONIC, &before);
        struct timespec at = clock_deadline(waits_ms[i]);
        clock_gettime(CLOCK_MONOTONIC, &after);
        assert_in_range(at.tv_nsec, 0, 999999999);
        assert_true(in_us(at) >= in_us(before) + waits_ms[i] * 1000);
        assert_true(in_us(at) <= in_us(after) + waits_ms[i] * 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_never_go_back),
        cmocka_unit_test(current_date_is_plausible),
        cmocka_unit_test(deadline_is_the_wait_from_now),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
