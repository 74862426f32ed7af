#include "common/base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void dates_are_rfc_3339_with_milliseconds(void **state)
{
    (void)state;
    static const struct {
        int64_t date_ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {999, "1970-01-01T00:00:00.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {1788307140000, "2026-09-01T23:59:00.000Z"},
        {4102444799999, "2099-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[DATE_TEXT_SIZE];
        assert_string_equal(date_format(cases[i].date_ms, text), cases[i].text);
    }
}

static void a_date_before_1970_counts_its_milliseconds_forward(void **state)
{
    (void)state;
    char text[DATE_TEXT_SIZE];
    assert_string_equal(date_format(-1, text), "1969-12-31T23:59:59.999Z");
    assert_string_equal(date_format(-1000, text), "1969-12-31T23:59:59.000Z");
    assert_string_equal(date_format(-1001, text), "1969-12-31T23:59:58.999Z");
}

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

static void a_date_is_after_this_was_written(void **state)
{
    (void)state;
    assert_true(clock_wall_ms() > 1700000000000);
}

static int64_t in_us(struct timespec at)
{
    return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

static void a_deadline_is_that_far_away(void **state)
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
        cmocka_unit_test(dates_are_rfc_3339_with_milliseconds),
        cmocka_unit_test(a_date_before_1970_counts_its_milliseconds_forward),
        cmocka_unit_test(durations_never_go_back),
        cmocka_unit_test(a_date_is_after_this_was_written),
        cmocka_unit_test(a_deadline_is_that_far_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
