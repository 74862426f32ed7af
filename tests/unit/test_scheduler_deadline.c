#include "scheduler/state/deadline.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { JOB_TIMEOUT_MS = 3600000, MINUTE_MS = 60000 };

static int64_t deadline_with(int64_t timeout_ms, uint32_t untimed_stages)
{
    struct run run = {.timeout_ms = {[JOB_STUDENT] = timeout_ms},
                      .untimed_stages = {[JOB_STUDENT] = untimed_stages}};
    return deadline_of_job(&run, JOB_STUDENT, JOB_TIMEOUT_MS);
}

static void stages_with_a_timeout_have_their_sum_and_a_minute(void **state)
{
    (void)state;
    assert_int_equal(deadline_with(30000, 0), 30000 + MINUTE_MS);
}

static void each_stage_without_a_timeout_has_a_job_timeout_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(deadline_with(0, 1), JOB_TIMEOUT_MS);
    assert_int_equal(deadline_with(0, 2), 2 * JOB_TIMEOUT_MS);
    assert_int_equal(deadline_with(0, 100), 100LL * JOB_TIMEOUT_MS);
}

static void limits_of_both_kinds_add_up(void **state)
{
    (void)state;
    assert_int_equal(deadline_with(30000, 1), 30000 + JOB_TIMEOUT_MS);
    assert_int_equal(deadline_with(2 * JOB_TIMEOUT_MS, 3), 5 * JOB_TIMEOUT_MS);
}

static void deadline_of_a_run_is_that_of_its_longest_job(void **state)
{
    (void)state;
    struct run run = {.has_post = true,
                      .timeout_ms = {[JOB_PRE] = 9000000, [JOB_STUDENT] = 1000},
                      .untimed_stages = {[JOB_POST] = 2}};
    assert_int_equal(deadline_of_run(&run, JOB_TIMEOUT_MS), 2 * JOB_TIMEOUT_MS);
    run.has_pre = true;
    assert_int_equal(deadline_of_run(&run, JOB_TIMEOUT_MS), 9000000 + MINUTE_MS);
}

static void time_left_is_the_dates_difference_if_plausible(void **state)
{
    (void)state;
    assert_int_equal(deadline_time_left(1000 + MINUTE_MS, MINUTE_MS, 1000), MINUTE_MS);
    assert_int_equal(deadline_time_left(1000 + MINUTE_MS, MINUTE_MS, 1001), MINUTE_MS - 1);
    assert_int_equal(deadline_time_left(1000 + MINUTE_MS, MINUTE_MS, MINUTE_MS + 999), 1);
}

static void after_a_step_of_the_clock_the_whole_limit_is_left(void **state)
{
    (void)state;
    enum { HOUR_MS = 60 * MINUTE_MS };
    assert_int_equal(deadline_time_left(MINUTE_MS, MINUTE_MS, MINUTE_MS), MINUTE_MS);
    assert_int_equal(deadline_time_left(MINUTE_MS, MINUTE_MS, HOUR_MS), MINUTE_MS);
    assert_int_equal(deadline_time_left(HOUR_MS, MINUTE_MS, 0), MINUTE_MS);
}

static void lease_of_an_earlier_version_uses_the_dates(void **state)
{
    (void)state;
    assert_int_equal(deadline_time_left(MINUTE_MS, 0, 2 * MINUTE_MS), -MINUTE_MS);
    assert_int_equal(deadline_time_left(2 * MINUTE_MS, 0, MINUTE_MS), MINUTE_MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_with_a_timeout_have_their_sum_and_a_minute),
        cmocka_unit_test(each_stage_without_a_timeout_has_a_job_timeout_of_its_own),
        cmocka_unit_test(limits_of_both_kinds_add_up),
        cmocka_unit_test(deadline_of_a_run_is_that_of_its_longest_job),
        cmocka_unit_test(time_left_is_the_dates_difference_if_plausible),
        cmocka_unit_test(after_a_step_of_the_clock_the_whole_limit_is_left),
        cmocka_unit_test(lease_of_an_earlier_version_uses_the_dates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
