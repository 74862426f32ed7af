#include "common/base/otlp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"

static const struct metric_row rows[] = {
    {"x_total", "outcome=\"sent\"", METRIC_COUNTER, "Spans"},
    {"x_total", "outcome=\"dropped\"", METRIC_COUNTER, "Spans"},
};

static struct span span_of(const char *parent)
{
    struct span span = {.trace = "4bf92f3577b34da6a3ce929d0e0e4736",
                        .id = "00f067aa0ba902b7",
                        .name = "job",
                        .begun_ms = 1500,
                        .ended_ms = 2500};
    memcpy(span.parent, parent, strlen(parent) + 1);
    return span;
}

static void spans_become_json_of_the_protocol(void **state)
{
    (void)state;
    struct span spans[] = {span_of(""), span_of("00f067aa0ba902b8")};
    span_set(&spans[1], "broadway.run", "a \"quoted\" run");
    spans[1].has_failed = true;
    char *text = otlp_json("broadway-test", "one", spans, 2);
    json_t *body = json_loads(text, 0, NULL);
    json_t *of = json_array_get(json_object_get(body, "resourceSpans"), 0);
    const json_t *scope = json_array_get(json_object_get(of, "scopeSpans"), 0);
    json_t *list = json_object_get(scope, "spans"), *first = json_array_get(list, 0),
           *second = json_array_get(list, 1);
    assert_non_null(strstr(text, "{\"key\":\"service.name\",\"value\":{\"stringValue\":"
                                 "\"broadway-test\"}}"));
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(first, "traceId")), spans[0].trace);
    assert_string_equal(json_string_value(json_object_get(first, "spanId")), spans[0].id);
    assert_string_equal(json_string_value(json_object_get(first, "startTimeUnixNano")),
                        "1500000000");
    assert_string_equal(json_string_value(json_object_get(first, "endTimeUnixNano")), "2500000000");
    assert_null(json_object_get(first, "parentSpanId"));
    assert_null(json_object_get(first, "status"));
    assert_string_equal(json_string_value(json_object_get(second, "parentSpanId")),
                        spans[1].parent);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(second, "status"), "code")),
                     2);
    assert_non_null(strstr(text, "\"a \\\"quoted\\\" run\""));
    json_decref(body);
    free(text);
}

static void more_attributes_than_fit_are_left_out_and_values_are_cut(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e"};
    struct span span = span_of("");
    char longest[2 * SPAN_VALUE_SIZE];
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    for (size_t i = 0; i < 5; i++)
        span_set(&span, names[i], longest);
    assert_string_equal(span.attributes[SPAN_ATTRIBUTES - 1].name, "d");
    assert_int_equal(strlen(span.attributes[0].value), SPAN_VALUE_SIZE - 1);
    char *text = otlp_json("broadway-test", "one", &span, 1);
    assert_non_null(strstr(text, "\"d\""));
    assert_null(strstr(text, "\"e\""));
    free(text);
}

/* Nothing listens on port 1. */
static void queue_is_bounded_and_adding_never_waits(void **state)
{
    (void)state;
    enum { ADDED = 20000, BOUND = 8192 };
    struct metrics *metrics = metrics_new(rows, 2);
    const struct otlp_settings settings = {.endpoint = "http://127.0.0.1:1",
                                           .service = "broadway-test",
                                           .instance = "one",
                                           .metrics = metrics,
                                           .sent_row = 0,
                                           .dropped_row = 1};
    struct otlp *otlp;
    struct bw_error error;
    struct span span = span_of("");
    assert_int_equal(otlp_open(&settings, &otlp, &error), BW_OK);
    int64_t begun_ms = clock_boot_ms();
    for (int i = 0; i < ADDED; i++)
        otlp_add(otlp, &span);
    assert_true(clock_boot_ms() - begun_ms < 5000);
    assert_true(metric_read(metrics, 1) >= ADDED - BOUND - 1024); /* two batches may be gone */
    otlp_close(otlp);
    assert_int_equal(metric_read(metrics, 0), 0);
    assert_int_equal(metric_read(metrics, 1), ADDED);
    metrics_free(metrics);
}

static void without_an_exporter_nothing_happens(void **state)
{
    (void)state;
    struct span span = span_of("");
    otlp_add(NULL, &span);
    otlp_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_become_json_of_the_protocol),
        cmocka_unit_test(more_attributes_than_fit_are_left_out_and_values_are_cut),
        cmocka_unit_test(queue_is_bounded_and_adding_never_waits),
        cmocka_unit_test(without_an_exporter_nothing_happens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
