#include "common/base/metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
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

static void histogram_of_waits_has_its_label_and_limits_up_to_a_day(void **state)
{
    (void)state;
    static const struct metric_row waits[] = {
        {"y_seconds", "kind=\"a\"", METRIC_WAIT, "Waits"},
        {"y_seconds", "kind=\"b\"", METRIC_WAIT, "Waits"},
    };
    struct metrics *metrics = metrics_new(waits, 2);
    metric_observe_us(metrics, 1, INT64_C(86400) * 1000000);
    metric_observe_us(metrics, 1, INT64_C(86400) * 1000000 + 1);
    metric_observe_us(metrics, 1, -5);
    char *text = metrics_text(metrics);
    assert_non_null(
        strstr(text, "y_seconds_count{kind=\"a\"} 0\ny_seconds_bucket{kind=\"b\",le=\"0.1\"} 1\n"));
    assert_non_null(strstr(text, "y_seconds_bucket{kind=\"b\",le=\"86400\"} 2\n"
                                 "y_seconds_bucket{kind=\"b\",le=\"+Inf\"} 3\n"
                                 "y_seconds_sum{kind=\"b\"} 172800.000001\n"
                                 "y_seconds_count{kind=\"b\"} 3\n"));
    assert_ptr_equal(strstr(strstr(text, "# TYPE y_seconds") + 1, "# TYPE y_seconds"), NULL);
    free(text);
    metrics_free(metrics);
}

enum { OBSERVERS = 4, OBSERVATIONS = 20000 };

static void *observe_often(void *metrics)
{
    for (int i = 0; i < OBSERVATIONS; i++)
        metric_observe_us(metrics, 3, i);
    return NULL;
}

static void observations_of_several_threads_all_count(void **state)
{
    (void)state;
    struct metrics *metrics = metrics_new(rows, sizeof rows / sizeof *rows);
    pthread_t threads[OBSERVERS];
    for (int i = 0; i < OBSERVERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, observe_often, metrics), 0);
    for (int i = 0; i < OBSERVERS; i++)
        pthread_join(threads[i], NULL);
    char *text = metrics_text(metrics);
    assert_non_null(strstr(text, "x_seconds_count 80000\n"));
    assert_int_equal(metric_read(metrics, 3),
                     (int64_t)OBSERVERS * OBSERVATIONS * (OBSERVATIONS - 1) / 2);
    free(text);
    metrics_free(metrics);
}

static void process_and_build_are_reported(void **state)
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
        cmocka_unit_test(histogram_of_waits_has_its_label_and_limits_up_to_a_day),
        cmocka_unit_test(observations_of_several_threads_all_count),
        cmocka_unit_test(process_and_build_are_reported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
