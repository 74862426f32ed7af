#include "common/base/csv_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

/* The cell of this text, as it is written. */
static void assert_cell(const char *text, const char *expected)
{
    struct text_buffer buffer = {NULL};
    struct csv_row row = {.text = &buffer};
    csv_row_add(&row, text);
    char *written = text_buffer_take(&buffer);
    assert_string_equal(written, expected);
    free(written);
}

static void cells_are_quoted_only_where_needed(void **state)
{
    (void)state;
    assert_cell("", "");
    assert_cell("plain text; with 'quotes'", "plain text; with 'quotes'");
    assert_cell("a,b", "\"a,b\"");
    assert_cell("say \"hi\"", "\"say \"\"hi\"\"\"");
    assert_cell("\"", "\"\"\"\"");
    assert_cell("two\nlines", "\"two\nlines\"");
    assert_cell("two\r\nlines", "\"two\r\nlines\"");
    assert_cell("Zoë 李", "Zoë 李");
}

static void texts_that_a_spreadsheet_takes_for_formulas_are_disarmed(void **state)
{
    (void)state;
    assert_cell("=1+1", "'=1+1");
    assert_cell("@SUM(A1)", "'@SUM(A1)");
    assert_cell("+1+1", "'+1+1");
    assert_cell("-1+1", "'-1+1");
    assert_cell("\tx", "'\tx");
    assert_cell("\rx", "\"'\rx\"");
    assert_cell("=A1,\"b\"", "\"'=A1,\"\"b\"\"\"");
    assert_cell("a=1", "a=1");
}

static void numbers_stay_numbers(void **state)
{
    static const char *const numbers[] = {"0", "-5", "+5", "-0.25", "12.5e-7", "+1E9"};
    static const char *const others[] = {"-",    "+",   "-.5",  "-5.", "-5e",
                                         "-5e+", "-5 ", "-0x5", "--5"};
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        assert_cell(numbers[i], numbers[i]);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        char expected[16] = "'";
        for (size_t at = 0; others[i][at] != '\0'; at++)
            expected[at + 1] = others[i][at];
        assert_cell(others[i], expected);
    }
}

static void rows_end_with_carriage_return_and_line_feed(void **state)
{
    (void)state;
    struct text_buffer buffer = {NULL};
    struct csv_row row = {.text = &buffer};
    csv_row_add(&row, "a");
    csv_row_add(&row, "");
    csv_row_add_number(&row, -0.5);
    csv_row_end(&row);
    csv_row_add_number(&row, 7);
    csv_row_end(&row);
    char *written = text_buffer_take(&buffer);
    assert_string_equal(written, "a,,-0.5\r\n7\r\n");
    free(written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_quoted_only_where_needed),
        cmocka_unit_test(texts_that_a_spreadsheet_takes_for_formulas_are_disarmed),
        cmocka_unit_test(numbers_stay_numbers),
        cmocka_unit_test(rows_end_with_carriage_return_and_line_feed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
