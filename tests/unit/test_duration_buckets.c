#include "common/domain/duration_buckets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

enum { SAMPLES = 20000 };

static int compare(const void *left, const void *right)
{
    int64_t one = *(const int64_t *)left, other = *(const int64_t *)right;
    return (one > other) - (one < other);
}

/* Durations from 1 ms to some hours, from a fixed seed. */
static void draw(int64_t *durations, unsigned short seed)
{
    unsigned short state[3] = {seed, 2, 3};
    for (size_t i = 0; i < SAMPLES; i++)
        durations[i] = llround(exp(erand48(state) * 16));
}

static void quantiles_are_right_within_a_tenth(void **state)
{
    static const double quantiles[] = {0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1};
    static int64_t durations[SAMPLES];
    (void)state;
    for (unsigned short seed = 1; seed <= 20; seed++) {
        struct duration_buckets buckets = {{0}};
        draw(durations, seed);
        for (size_t i = 0; i < SAMPLES; i++)
            duration_buckets_add(&buckets, durations[i]);
        qsort(durations, SAMPLES, sizeof *durations, compare);
        for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
            double exact = (double)durations[(size_t)ceil(quantiles[i] * SAMPLES) - 1];
            double found = (double)duration_buckets_quantile(&buckets, quantiles[i]);
            if (fabs(found - exact) > 0.1 * exact + 0.5)
                fail_msg("seed %u, quantile %g: %g, not %g", seed, quantiles[i], found, exact);
        }
    }
}

static void merged_buckets_count_both(void **state)
{
    struct duration_buckets one = {{0}}, other = {{0}};
    (void)state;
    for (int i = 0; i < 10; i++)
        duration_buckets_add(&one, 100);
    for (int i = 0; i < 30; i++)
        duration_buckets_add(&other, 10000);
    duration_buckets_merge(&one, &other);
    assert_int_equal(duration_buckets_count(&one), 40);
    assert_in_range(duration_buckets_quantile(&one, 0.2), 90, 110);
    assert_in_range(duration_buckets_quantile(&one, 0.5), 9000, 11000);
}

static void extremes_have_buckets(void **state)
{
    struct duration_buckets buckets = {{0}};
    (void)state;
    assert_int_equal(duration_buckets_quantile(&buckets, 0.5), 0);
    duration_buckets_add(&buckets, -5);
    duration_buckets_add(&buckets, 0);
    assert_in_range(duration_buckets_quantile(&buckets, 1), 0, 1);
    duration_buckets_add(&buckets, INT64_MAX);
    assert_int_equal(duration_buckets_count(&buckets), 3);
    assert_true(duration_buckets_quantile(&buckets, 1) > 3000000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_right_within_a_tenth),
        cmocka_unit_test(merged_buckets_count_both),
        cmocka_unit_test(extremes_have_buckets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
