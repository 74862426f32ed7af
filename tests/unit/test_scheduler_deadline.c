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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_with_a_timeout_have_their_sum_and_a_minute),
        cmocka_unit_test(each_stage_without_a_timeout_has_a_job_timeout_of_its_own),
        cmocka_unit_test(limits_of_both_kinds_add_up),
        cmocka_unit_test(deadline_of_a_run_is_that_of_its_longest_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
