#include "scheduler/state/kept_deadlines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define JOB_A "0123456789abcdef0123456710000000"
#define JOB_B "0123456789abcdef0123456710000001"

/* Adds the deadlines of a table with these two leases. */
static void keep(struct kept_deadlines *kept, uint32_t attempt_of_a, int64_t deadline_of_a)
{
    struct lease_table table = {.leases = NULL};
    struct live_lease a = {.attempt = attempt_of_a, .deadline_ms = deadline_of_a};
    struct live_lease b = {.attempt = 1, .deadline_ms = 500};
    memcpy(a.job, JOB_A, sizeof a.job);
    memcpy(b.job, JOB_B, sizeof b.job);
    HASH_ADD_STR(table.leases, job, (&a));
    HASH_ADD_STR(table.leases, job, (&b));
    kept_deadlines_add(kept, &table);
    HASH_CLEAR(hh, table.leases);
}

static void deadlines_are_found_by_job_and_attempt(void **state)
{
    (void)state;
    struct kept_deadlines kept = {.deadlines = NULL};
    int64_t deadline_ms = 0;
    assert_false(kept_deadlines_find(&kept, JOB_A, 1, &deadline_ms));
    keep(&kept, 2, 300);
    assert_true(kept_deadlines_find(&kept, JOB_A, 2, &deadline_ms));
    assert_int_equal(deadline_ms, 300);
    assert_false(kept_deadlines_find(&kept, JOB_A, 1, &deadline_ms));
    assert_false(kept_deadlines_find(&kept, JOB_A, 3, &deadline_ms));
    assert_true(kept_deadlines_find(&kept, JOB_B, 1, &deadline_ms));
    assert_int_equal(deadline_ms, 500);
    kept_deadlines_clear(&kept);
    assert_false(kept_deadlines_find(&kept, JOB_B, 1, &deadline_ms));
}

static void later_attempts_replace_earlier_ones(void **state)
{
    (void)state;
    struct kept_deadlines kept = {.deadlines = NULL};
    int64_t deadline_ms = 0;
    keep(&kept, 1, 100);
    keep(&kept, 3, 900);
    keep(&kept, 2, 400);
    assert_true(kept_deadlines_find(&kept, JOB_A, 3, &deadline_ms));
    assert_int_equal(deadline_ms, 900);
    kept_deadlines_clear(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(deadlines_are_found_by_job_and_attempt),
        cmocka_unit_test(later_attempts_replace_earlier_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
