#include "common/domain/failure_signature.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_lines(const char *text, const char *expected)
{
    char *lines = failure_signature_lines(text, strlen(text));
    assert_string_equal(lines, expected);
    free(lines);
}

/* The signature of texts of JSON; NULL: there is none. */
static const char *signature_of(const char *result, const char *logs, char text[SIGNATURE_SIZE])
{
    json_auto_t *value = result != NULL ? json_loads(result, JSON_DECODE_ANY, NULL) : NULL;
    json_auto_t *output = logs != NULL ? json_loads(logs, 0, NULL) : NULL;
    assert_true((value != NULL) == (result != NULL) && (output != NULL) == (logs != NULL));
    failure_signature_make(value, output, text);
    assert_true(is_failure_signature(text));
    return text;
}

static bool are_alike(const char *result, const char *logs, const char *other,
                      const char *other_logs)
{
    char first[SIGNATURE_SIZE], second[SIGNATURE_SIZE];
    return strcmp(signature_of(result, logs, first), signature_of(other, other_logs, second)) == 0;
}

static void numbers_hex_digits_paths_and_times_are_replaced(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"12 tests failed", "# tests failed\n"},
        {"took 0.25 s, 1,000 rows", "took # s, # rows\n"},
        {"at 12:34:56.789", "at #\n"},
        {"2026-11-30T05:54:45Z", "#-#-#T#Z\n"},
        {"score -3 of 10", "score # of #\n"},
        {"segfault at 0x7ffd1c", "segfault at #\n"},
        {"core deadbeef", "core #\n"},
        {"run 6b05c5d2164163397800c81b", "run #\n"},
        {"550e8400-e29b-41d4-a716-446655440000", "#-#-#-#-#\n"},
        {"/job/ada/main.c:12: error: x1 undeclared", "/:#: error: x# undeclared\n"},
        {"File \"/usr/lib/python3.11/x.py\", line 3", "File \"/\", line #\n"},
        {"C:\\job\\x.exe stopped", "C:/ stopped\n"},
        {"added a face", "added a face\n"},
        {"  much \t blank  ", "much blank\n"},
        {"\033[31mred\033[0m text", "red text\n"},
        {"", ""},
        {" \n\n ", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_lines(cases[i][0], cases[i][1]);
}

static void only_the_last_three_lines_count(void **state)
{
    (void)state;
    check_lines("one\ntwo\n\nthree\n \nfour\n\n", "two\nthree\nfour\n");
    check_lines("only", "only\n");
    check_lines("a\nb", "a\nb\n");
}

static void only_the_end_of_a_long_line_counts(void **state)
{
    (void)state;
    enum { LONG = 100 * 1000 };
    char *text = malloc(LONG);
    memset(text, 'x', LONG);
    text[0] = 'y';
    char *lines = failure_signature_lines(text, LONG);
    assert_int_equal(strlen(lines), 4096 + 1);
    assert_int_equal(lines[0], 'x');
    free(lines);
    free(text);
}

static void bytes_that_are_no_text_are_no_harm(void **state)
{
    (void)state;
    static const char text[] = "a\0b \xff\xfe \033[ \033";
    char *lines = failure_signature_lines(text, sizeof text - 1);
    assert_non_null(lines);
    free(lines);
}

#define STAGE(code, more) "{\"exit_code\": " code ", \"seconds\": 1.5, " more "}"
#define REPORT(stages) "{\"success\": false, \"stages\": [" stages "]}"

static void a_report_is_known_by_its_stage_exit_code_and_last_lines(void **state)
{
    (void)state;
    const char *one = REPORT(STAGE("1", "\"stdout\": \"ok\", \"stderr\": \"line 3: boom\""));
    assert_true(are_alike(one, NULL, one, "{\"stderr\": \"other\"}"));
    assert_true(are_alike(
        one, NULL, REPORT(STAGE("1", "\"stdout\": \"no\", \"stderr\": \"line 44: boom\"")), NULL));
    assert_false(are_alike(
        one, NULL, REPORT(STAGE("2", "\"stdout\": \"ok\", \"stderr\": \"line 3: boom\"")), NULL));
    assert_false(are_alike(
        one, NULL, REPORT(STAGE("1", "\"stdout\": \"ok\", \"stderr\": \"line 3: bang\"")), NULL));
    assert_false(are_alike(
        one, NULL,
        REPORT(STAGE("0", "\"stdout\": \"\"") "," STAGE("1", "\"stderr\": \"line 3: boom\"")),
        NULL));
}

static void what_ended_the_stage_is_a_part(void **state)
{
    (void)state;
    const char *plain = REPORT(STAGE("137", "\"stdout\": \"\""));
    assert_false(are_alike(plain, NULL, REPORT(STAGE("137", "\"signal\": 9")), NULL));
    assert_false(are_alike(plain, NULL, REPORT(STAGE("137", "\"timed_out\": true")), NULL));
    assert_false(are_alike(plain, NULL, REPORT(STAGE("137", "\"oom_killed\": true")), NULL));
    assert_true(are_alike(plain, NULL, REPORT(STAGE("137", "\"oom_killed\": false")), NULL));
    assert_false(are_alike(REPORT(STAGE("null", "\"error\": \"no such image\"")), NULL,
                           REPORT(STAGE("null", "\"error\": \"no such program\"")), NULL));
}

static void the_same_report_is_found_in_each_protocol(void **state)
{
    (void)state;
    const char *stage = STAGE("1", "\"stderr\": \"boom\"");
    char course[256], flat[256];
    snprintf(flat, sizeof flat, "[%s]", stage);
    snprintf(course, sizeof course, "[{\"success\": false, \"stages\": [%s]}]", stage);
    assert_true(are_alike(REPORT(STAGE("1", "\"stderr\": \"boom\"")), NULL, course, NULL));
    assert_true(are_alike(course, NULL, flat, NULL));
}

static void a_report_without_output_is_known_by_the_logs(void **state)
{
    (void)state;
    const char *quiet = REPORT(STAGE("1", "\"stdout\": \"\", \"stderr\": \"\""));
    assert_false(are_alike(quiet, "{\"stderr\": \"a\"}", quiet, "{\"stderr\": \"b\"}"));
}

static void a_result_of_another_form_is_known_by_its_logs_or_itself(void **state)
{
    (void)state;
    assert_true(are_alike("\"x\"", "{\"stderr\": \"boom 1\"}", "17", "{\"stderr\": \"boom 2\"}"));
    assert_true(
        are_alike("1", "{\"stderr\": \"\", \"stdout\": \"a\"}", "2", "{\"stdout\": \"a\"}"));
    assert_true(are_alike("\"exit 1\"", NULL, "\"exit 2\"", "{}"));
    assert_false(are_alike("\"exit\"", NULL, "\"out\"", NULL));
    assert_true(are_alike("{\"a\": 1, \"b\": 2}", NULL, "{\"b\": 3, \"a\": 4}", NULL));
    assert_false(are_alike("{\"a\": 1}", NULL, "{\"b\": 1}", NULL));
    assert_true(are_alike(NULL, NULL, "\"\"", NULL));
    static const char *const odd[] = {"null",
                                      "[]",
                                      "[[]]",
                                      "{}",
                                      "{\"stages\": {}}",
                                      "{\"stages\": []}",
                                      "{\"stages\": [1]}",
                                      "[{\"stages\": 1}]"};
    char text[SIGNATURE_SIZE];
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        signature_of(odd[i], "{\"stdout\": 1}", text);
}

static void a_signature_does_not_change_with_the_version(void **state)
{
    (void)state;
    char text[SIGNATURE_SIZE];
    signature_of(REPORT(STAGE("1", "\"stderr\": \"line 3: boom\"")), NULL, text);
    assert_string_equal(text, "1676d77e230696d8");
}

static void the_form_of_a_signature_is_16_hex_digits(void **state)
{
    (void)state;
    assert_true(is_failure_signature("0123456789abcdef"));
    assert_false(is_failure_signature("0123456789abcde"));
    assert_false(is_failure_signature("0123456789ABCDEF"));
    assert_false(is_failure_signature(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_hex_digits_paths_and_times_are_replaced),
        cmocka_unit_test(only_the_last_three_lines_count),
        cmocka_unit_test(only_the_end_of_a_long_line_counts),
        cmocka_unit_test(bytes_that_are_no_text_are_no_harm),
        cmocka_unit_test(a_report_is_known_by_its_stage_exit_code_and_last_lines),
        cmocka_unit_test(what_ended_the_stage_is_a_part),
        cmocka_unit_test(the_same_report_is_found_in_each_protocol),
        cmocka_unit_test(a_report_without_output_is_known_by_the_logs),
        cmocka_unit_test(a_result_of_another_form_is_known_by_its_logs_or_itself),
        cmocka_unit_test(a_signature_does_not_change_with_the_version),
        cmocka_unit_test(the_form_of_a_signature_is_16_hex_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
