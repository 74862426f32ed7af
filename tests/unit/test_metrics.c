#include "common/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static const struct metric_row rows[] = {
    {"x_total", "status=\"2xx\"", METRIC_COUNTER, "Counts"},
    {"x_total", "status=\"4xx\"", METRIC_COUNTER, "Counts"},
    {"x_now", NULL, METRIC_GAUGE, "Is"},
    {"x_seconds", NULL, METRIC_HISTOGRAM, "Lasts"},
};

static void rows_of_one_name_share_their_help(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new(rows, sizeof rows / sizeof *rows);
    metric_add(metrics, 0, 2);
    metric_add(metrics, 1, 1);
    metric_set(metrics, 2, -7);
    char *text = metrics_text(metrics);
    assert_non_null(
        strstr(text, "# HELP x_total Counts\n# TYPE x_total counter\nx_total{status=\"2xx\"} 2\n"
                     "x_total{status=\"4xx\"} 1\n# HELP x_now Is\n# TYPE x_now gauge\nx_now -7\n"));
    assert_int_equal(metric_read(metrics, 0), 2);
    free(text);
    metrics_free(metrics);
}

static void histogram_is_cumulative_and_in_seconds(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new(rows, sizeof rows / sizeof *rows);
    metric_observe_us(metrics, 3, 500);
    metric_observe_us(metrics, 3, 501);
    metric_observe_us(metrics, 3, 60000000);
    char *text = metrics_text(metrics);
    assert_non_null(strstr(
        text,
        "# TYPE x_seconds histogram\nx_seconds_bucket{le=\"0.0005\"} 1\nx_seconds_bucket{le=\"0.001\"} 2\n"));
    assert_non_null(strstr(text, "x_seconds_bucket{le=\"20\"} 2\nx_seconds_bucket{le=\"+Inf\"} 3\n"
                                 "x_seconds_sum 60.001001\nx_seconds_count 3\n"));
    free(text);
    metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_one_name_share_their_help),
        cmocka_unit_test(histogram_is_cumulative_and_in_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
