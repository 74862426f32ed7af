#include "common/base/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "version.h"

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

static void process_and_build_are_told_of(void **state)
{
    (void)state;
    static const char *const names[] = {"process_cpu_seconds_total",
                                        "process_resident_memory_bytes",
                                        "process_virtual_memory_bytes",
                                        "process_open_fds",
                                        "process_max_fds",
                                        "process_start_time_seconds"};
    struct metrics *metrics = metrics_new(rows, sizeof rows / sizeof *rows);
    char *text = metrics_text(metrics), line[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(line, sizeof line, "\n%s ", names[i]);
        const char *at = strstr(text, line);
        assert_non_null(at);
        assert_true(strtod(at + strlen(line), NULL) > 0);
    }
    const char *started = strstr(text, "\nprocess_start_time_seconds ");
    double age = (double)time(NULL) - strtod(strchr(started + 1, ' '), NULL);
    assert_true(age > -3 && age < 600);
    assert_non_null(
        strstr(text, "\nbroadway_build_info{version=\"" BROADWAY_VERSION "\",revision=\""));
    free(text);
    metrics_free(metrics);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_one_name_share_their_help),
        cmocka_unit_test(histogram_is_cumulative_and_in_seconds),
        cmocka_unit_test(process_and_build_are_told_of),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
