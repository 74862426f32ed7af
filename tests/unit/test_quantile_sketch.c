/* What a sketch of durations knows, against the durations themselves. */
#include "common/domain/quantile_sketch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 1000 /* fewer than would be halved */ };

static int compare(const void *left, const void *right)
{
    int64_t one = *(const int64_t *)left, other = *(const int64_t *)right;
    return (one > other) - (one < other);
}

static double draw_uniform(unsigned short *state)
{
    return 2000 + erand48(state) * 8000;
}

static double draw_exponential(unsigned short *state)
{
    return 3 - log(1 - erand48(state)) * 60000;
}

static double draw_pareto(unsigned short *state)
{
    return 500 / pow(1 - erand48(state), 0.8);
}

/* Most take two seconds, some run into a limit of ten minutes. */
static double draw_two_kinds(unsigned short *state)
{
    return erand48(state) < 0.9 ? 1800 + 400 * erand48(state) : 600000;
}

static double (*const distributions[])(unsigned short *state) = {draw_uniform, draw_exponential,
                                                                 draw_pareto, draw_two_kinds};

static void check_quantiles(const struct quantile_sketch *sketch, const int64_t *sorted,
                            size_t count)
{
    static const double quantiles[] = {0.001, 0.01, 0.25, 0.5, 0.9, 0.95, 0.99, 1};
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        double exact = (double)sorted[(size_t)ceil(quantiles[i] * (double)count) - 1];
        double found = quantile_sketch_quantile(sketch, quantiles[i]);
        if (fabs(found - exact) > 0.0101 * exact + 0.5)
            fail_msg("quantile %g is %g, not %g", quantiles[i], found, exact);
    }
}

static void quantiles_are_right_within_one_percent(void **state)
{
    static int64_t durations[SAMPLES];
    (void)state;
    for (size_t kind = 0; kind < sizeof distributions / sizeof *distributions; kind++)
        for (unsigned short seed = 1; seed <= 10; seed++) {
            unsigned short dice[3] = {seed, 2, 3};
            struct quantile_sketch sketch = {0}, half = {0};
            for (size_t i = 0; i < SAMPLES; i++) {
                durations[i] = llround(distributions[kind](dice));
                quantile_sketch_add(i % 2 == 0 ? &sketch : &half, durations[i]);
            }
            quantile_sketch_merge(&sketch, &half);
            assert_int_equal(sketch.seen, SAMPLES);
            qsort(durations, SAMPLES, sizeof *durations, compare);
            check_quantiles(&sketch, durations, SAMPLES);
        }
}

static void the_mean_and_its_spread_are_right(void **state)
{
    (void)state;
    for (size_t kind = 0; kind < 2; kind++) {
        unsigned short dice[3] = {1, 2, 3};
        struct quantile_sketch sketch = {0};
        double sum = 0, squares = 0, variance;
        for (size_t i = 0; i < SAMPLES; i++) {
            double ms = floor(distributions[kind](dice));
            sum += ms / SAMPLES;
            squares += ms * ms / SAMPLES;
            quantile_sketch_add(&sketch, (int64_t)ms);
        }
        double mean = quantile_sketch_mean(&sketch, &variance);
        assert_true(fabs(mean - sum) < 0.01 * sum);
        assert_true(fabs(sqrt(variance) - sqrt(squares - sum * sum)) < 0.03 * sum);
    }
}

static void what_runs_already_takes_longer(void **state)
{
    struct quantile_sketch sketch = {0};
    (void)state;
    for (int64_t second = 1; second <= 100; second++)
        quantile_sketch_add(&sketch, second * 1000);
    assert_true(fabs(quantile_sketch_quantile_beyond(&sketch, 0.5, 60500) - 80000) < 1700);
    assert_true(quantile_sketch_quantile_beyond(&sketch, 0, 60500) >= 60500);
    double beyond_all = quantile_sketch_quantile_beyond(&sketch, 0.5, 200000);
    assert_true(beyond_all <= 0 && beyond_all >= 0);
}

/* Against draws: the longest of `fresh` whole durations and of `begun` that are looked at in the
 * middle of a long row of them. */
static double draw_longest(unsigned short *dice, unsigned fresh, unsigned begun)
{
    double longest = 0;
    for (unsigned i = 0; i < fresh; i++)
        longest = fmax(longest, draw_uniform(dice));
    for (unsigned i = 0; i < begun; i++) {
        double at = 200000 + erand48(dice) * 20000;
        while (at > 0)
            at -= draw_uniform(dice);
        longest = fmax(longest, -at);
    }
    return longest;
}

static void the_longest_of_several_is_foretold(void **state)
{
    enum { DRAWS = 4000 };
    static int64_t longest[DRAWS];
    static const unsigned counts[][2] = {{1, 0}, {8, 0}, {1, 9}, {0, 40}};
    struct quantile_sketch sketch = {0};
    unsigned short dice[3] = {4, 5, 6};
    (void)state;
    for (size_t i = 0; i < SAMPLES; i++)
        quantile_sketch_add(&sketch, llround(draw_uniform(dice)));
    for (size_t kind = 0; kind < sizeof counts / sizeof *counts; kind++) {
        for (size_t i = 0; i < DRAWS; i++)
            longest[i] = llround(draw_longest(dice, counts[kind][0], counts[kind][1]));
        qsort(longest, DRAWS, sizeof *longest, compare);
        for (unsigned tenth = 5; tenth <= 9; tenth += 4) {
            double exact = (double)longest[DRAWS * tenth / 10];
            double found = quantile_sketch_longest(&sketch, tenth / 10.0, counts[kind][0],
                                                   counts[kind][1]);
            assert_true(fabs(found - exact) < 0.05 * exact);
        }
    }
}

static void a_change_is_learned(void **state)
{
    struct quantile_sketch sketch = {0};
    (void)state;
    for (unsigned i = 0; i < 20000; i++)
        quantile_sketch_add(&sketch, 600000);
    for (unsigned i = 0; i < 2 * QUANTILE_SKETCH_MAX; i++)
        quantile_sketch_add(&sketch, 2000);
    assert_int_equal(sketch.seen, 20000 + 2 * QUANTILE_SKETCH_MAX);
    assert_true(fabs(quantile_sketch_quantile(&sketch, 0.5) - 2000) < 21);
    assert_true(sketch.weight <= (uint64_t)QUANTILE_SKETCH_MAX * QUANTILE_SKETCH_UNIT);
}

static void an_empty_sketch_knows_nothing(void **state)
{
    struct quantile_sketch sketch = {0};
    double variance;
    (void)state;
    assert_true(quantile_sketch_quantile(&sketch, 0.5) <= 0);
    assert_true(quantile_sketch_mean(&sketch, &variance) <= 0);
    assert_true(quantile_sketch_longest(&sketch, 0.5, 1, 1) <= 0);
    quantile_sketch_add(&sketch, -5);
    quantile_sketch_add(&sketch, INT64_MAX);
    assert_int_equal(sketch.seen, 2);
}

static void a_sketch_survives_as_text(void **state)
{
    struct quantile_sketch sketch = {0}, read;
    unsigned short dice[3] = {7, 8, 9};
    (void)state;
    for (unsigned i = 0; i < 5000; i++)
        quantile_sketch_add(&sketch, llround(draw_pareto(dice)));
    char *text = quantile_sketch_text(&sketch);
    assert_true(quantile_sketch_parse(text, &read));
    assert_memory_equal(&read, &sketch, sizeof sketch);
    free(text);
}

static void what_is_no_text_of_a_sketch_is_refused(void **state)
{
    static const char *const texts[] = {
        "",           "x",      "1 2",    "1 2:",       "1 :3",  "1 9999:3",
        "1 2:999999", "1 2:3 ", "1 2:3x", "1 2:3  4:5", "-1 2:3"};
    struct quantile_sketch read;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        assert_false(quantile_sketch_parse(texts[i], &read));
        assert_int_equal(read.weight, 0);
    }
    assert_true(quantile_sketch_parse("3 2:64 2:128", &read));
    assert_int_equal(read.weight, 128);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_right_within_one_percent),
        cmocka_unit_test(the_mean_and_its_spread_are_right),
        cmocka_unit_test(what_runs_already_takes_longer),
        cmocka_unit_test(the_longest_of_several_is_foretold),
        cmocka_unit_test(a_change_is_learned),
        cmocka_unit_test(an_empty_sketch_knows_nothing),
        cmocka_unit_test(a_sketch_survives_as_text),
        cmocka_unit_test(what_is_no_text_of_a_sketch_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
