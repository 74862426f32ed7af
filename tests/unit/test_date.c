#include "common/base/date.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void dates_are_rfc_3339_with_milliseconds(void **state)
{
    (void)state;
    static const struct {
        int64_t date_ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {1, "1970-01-01T00:00:00.001Z"},
        {999, "1970-01-01T00:00:00.999Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {1788307140000, "2026-09-01T23:59:00.000Z"},
        {4102444799999, "2099-12-31T23:59:59.999Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[DATE_TEXT_SIZE];
        assert_string_equal(date_format(cases[i].date_ms, text), cases[i].text);
    }
}

static void a_date_before_1970_counts_its_milliseconds_forward(void **state)
{
    (void)state;
    char text[DATE_TEXT_SIZE];
    assert_string_equal(date_format(-1, text), "1969-12-31T23:59:59.999Z");
    assert_string_equal(date_format(-1000, text), "1969-12-31T23:59:59.000Z");
    assert_string_equal(date_format(-1001, text), "1969-12-31T23:59:58.999Z");
}

static void dates_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t date_ms;
    } rows[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"2026-09-01T23:59:00Z", 1788307140000},
        {"2026-09-01T23:59:00.250Z", 1788307140250},
        {"2024-02-29T00:00:00.000Z", 1709164800000},
        {"2026-02-29T00:00:00Z", -1},
        {"2026-13-01T00:00:00Z", -1},
        {"2026-09-01T24:00:00Z", -1},
        {"2026-09-01 23:59:00Z", -1},
        {"2026-09-01T23:59:00", -1},
        {"2026-09-01T23:59:00.25Z", -1},
        {"2026-09-01T23:59:00.2500", -1},
        {"2026-09-01T23:59:00+00:00", -1},
        {"1969-12-31T23:59:59Z", -1},
        {"-026-09-01T23:59:00Z", -1},
        {"", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (date_parse(rows[i].text) != rows[i].date_ms)
            fail_msg("'%s'", rows[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_are_rfc_3339_with_milliseconds),
        cmocka_unit_test(a_date_before_1970_counts_its_milliseconds_forward),
        cmocka_unit_test(dates_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
