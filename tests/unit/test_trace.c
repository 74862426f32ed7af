#include "common/domain/trace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define GOOD "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
#define RUN "0123456789abcdef01234567"

static void traceparent_is_read_and_written(void **state)
{
    (void)state;
    struct trace trace;
    char text[TRACEPARENT_SIZE];
    assert_true(trace_parse(GOOD, &trace));
    assert_string_equal(trace.id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_string_equal(trace.parent, "00f067aa0ba902b7");
    assert_true(trace.is_sampled);
    trace_format(&trace, trace.parent, text);
    assert_string_equal(text, GOOD);
}

static void only_the_last_bit_of_the_flags_counts(void **state)
{
    (void)state;
    struct trace trace;
    assert_true(trace_parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-fe", &trace));
    assert_false(trace.is_sampled);
    assert_true(trace_parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03", &trace));
    assert_true(trace.is_sampled);
}

static void later_version_is_read_as_far_as_it_is_known(void **state)
{
    (void)state;
    struct trace trace;
    assert_true(trace_parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &trace));
    assert_true(
        trace_parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what.may", &trace));
    assert_false(
        trace_parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01what", &trace));
}

static void malformed_traceparent_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        GOOD "-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-000f067aa0ba902b7-01",
        "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    };
    struct trace trace = {.id = "untouched"};
    assert_false(trace_parse(NULL, &trace));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (trace_parse(bad[i], &trace))
            fail_msg("read: %s", bad[i]);
    assert_string_equal(trace.id, "untouched");
}

static void run_without_a_traceparent_has_a_trace_of_its_own(void **state)
{
    (void)state;
    struct trace one, again, other, given;
    trace_of_run(RUN, "", &one);
    trace_of_run(RUN, "", &again);
    trace_of_run("0123456789abcdef01234568", "", &other);
    trace_of_run(RUN, GOOD, &given);
    assert_int_equal(strlen(one.id), TRACE_ID_SIZE - 1);
    assert_string_equal(one.id, again.id);
    assert_string_not_equal(one.id, other.id);
    assert_string_equal(one.parent, "");
    assert_true(one.is_sampled);
    assert_string_equal(given.id, "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_string_equal(given.parent, "00f067aa0ba902b7");
}

static void span_ids_differ_in_each_part(void **state)
{
    (void)state;
    char one[TRACE_SPAN_SIZE], again[TRACE_SPAN_SIZE], other[4][TRACE_SPAN_SIZE];
    trace_span_id(RUN, "job", 1, "attempt", one);
    trace_span_id(RUN, "job", 1, "attempt", again);
    trace_span_id("other", "job", 1, "attempt", other[0]);
    trace_span_id(RUN, "other", 1, "attempt", other[1]);
    trace_span_id(RUN, "job", 2, "attempt", other[2]);
    trace_span_id(RUN, "job", 1, "other", other[3]);
    assert_int_equal(strlen(one), TRACE_SPAN_SIZE - 1);
    assert_string_equal(one, again);
    for (size_t i = 0; i < 4; i++)
        assert_string_not_equal(one, other[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traceparent_is_read_and_written),
        cmocka_unit_test(only_the_last_bit_of_the_flags_counts),
        cmocka_unit_test(later_version_is_read_as_far_as_it_is_known),
        cmocka_unit_test(malformed_traceparent_is_refused),
        cmocka_unit_test(run_without_a_traceparent_has_a_trace_of_its_own),
        cmocka_unit_test(span_ids_differ_in_each_part),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
