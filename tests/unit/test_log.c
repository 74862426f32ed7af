#include "common/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yder.h>

enum { LINE = 4096 };

#define FORMAT(format, line, event, ...)                                                       \
    log_format_line(LOG_FORMAT_##format, LOG_LEVEL_INFO, event, LOG_FIELDS(__VA_ARGS__), line, \
                    sizeof line)

/* Parses the line as JSON; log_format_line leaves out the opening brace, which precedes the date.
 */
static json_t *parse(const char *line)
{
    char whole[LINE + 1] = "{";
    strncat(whole, line, sizeof whole - 2);
    json_error_t error;
    json_t *value = json_loads(whole, JSON_REJECT_DUPLICATES, &error);
    if (value == NULL)
        fail_msg("%s: %s", error.text, whole);
    return value;
}

static void fields_are_written_as_key_and_value(void **state)
{
    (void)state;
    char line[LINE];
    FORMAT(TEXT, line, "run started", log_text("run_id", "ab12"), log_number("students", -3),
           log_text("name", "two words"));
    assert_string_equal(
        line, "level=info event=\"run started\" run_id=ab12 students=-3 name=\"two words\"");
}

static void json_has_level_event_and_typed_fields(void **state)
{
    (void)state;
    char line[LINE];
    FORMAT(JSON, line, "run started", log_text("run_id", "ab12"), log_number("students", 3));
    json_t *value = parse(line);
    assert_string_equal(json_string_value(json_object_get(value, "level")), "info");
    assert_string_equal(json_string_value(json_object_get(value, "event")), "run started");
    assert_string_equal(json_string_value(json_object_get(value, "run_id")), "ab12");
    assert_int_equal(json_integer_value(json_object_get(value, "students")), 3);
    json_decref(value);
}

static const char *const nasty[] = {
    "x\n{\"level\":\"error\",\"event\":\"forged\"}",
    "x\" level=error y=\"",
    "tab\tcr\rbell\a escape\x1b[31m delete\x7f",
    "backslash\\\" at the end\\",
    "c1 \xC2\x85 line \xE2\x80\xA8 paragraph \xE2\x80\xA9 direction \xE2\x80\xAE",
    "not utf-8: \xFF\xC0\xAF \xED\xA0\x80 \xE2\x82",
    "",
};

/* Checks that no value ends the line, controls a terminal or breaks out of its quotes. */
static void assert_harmless(const char *line)
{
    bool is_quoted = false;
    for (const char *at = line; *at != '\0'; at++) {
        assert_true((unsigned char)*at >= 0x20 && *at != 0x7F);
        if (*at == '\\')
            at++;
        else if (*at == '"')
            is_quoted = !is_quoted;
        else if (!is_quoted)
            assert_false(strncmp(at, " y=", 3) == 0 || strncmp(at, "{\"level", 7) == 0);
    }
    assert_false(is_quoted);
    assert_null(strstr(line, "\xC2\x85"));
    assert_null(strstr(line, "\xE2\x80\xA8"));
}

static void input_can_not_forge_a_field_or_a_line(void **state)
{
    (void)state;
    char line[LINE];
    for (size_t i = 0; i < sizeof nasty / sizeof *nasty; i++) {
        FORMAT(TEXT, line, "request", log_text("worker", nasty[i]), log_number("status", 400));
        assert_harmless(line);
        assert_non_null(strstr(line, " status=400"));
        FORMAT(JSON, line, "request", log_text("worker", nasty[i]), log_number("status", 400));
        assert_harmless(line);
        json_t *value = parse(line);
        assert_int_equal(json_object_size(value), 4);
        assert_string_equal(json_string_value(json_object_get(value, "level")), "info");
        json_decref(value);
    }
}

static void valid_text_beyond_ascii_is_unchanged(void **state)
{
    (void)state;
    char line[LINE];
    FORMAT(JSON, line, "request", log_text("name", "Zoë → \xF0\x9F\x8E\xAD"));
    json_t *value = parse(line);
    assert_string_equal(json_string_value(json_object_get(value, "name")),
                        "Zoë → \xF0\x9F\x8E\xAD");
    json_decref(value);
}

static void long_value_is_cut_between_characters(void **state)
{
    (void)state;
    char line[LINE], value[557], *at;
    memset(value, 'a', 511);
    memcpy(value + 511, "\xC3\xAB", 2);
    memset(value + 513, 'b', 43);
    value[556] = '\0';
    FORMAT(JSON, line, "request", log_text("name", value));
    json_t *parsed = parse(line);
    const char *kept = json_string_value(json_object_get(parsed, "name"));
    assert_int_equal(strspn(kept, "a"), 511);
    at = strchr(line, 'b');
    assert_null(at);
    json_decref(parsed);
}

static void fields_that_do_not_fit_are_omitted_completely(void **state)
{
    (void)state;
    char line[LINE], value[257];
    memset(value, '\n', 256);
    value[256] = '\0';
    FORMAT(JSON, line, "request", log_text("a", value), log_text("b", value), log_text("c", value),
           log_number("d", 4));
    assert_true(strlen(line) < LINE);
    json_t *parsed = parse(line);
    assert_non_null(json_object_get(parsed, "b"));
    assert_null(json_object_get(parsed, "c"));
    assert_int_equal(json_integer_value(json_object_get(parsed, "d")), 4);
    json_decref(parsed);
}

/* The text that the function writes to standard error. */
static const char *captured(void (*write_to_log)(void))
{
    static char text[3 * LINE];
    int ends[2], kept = dup(STDERR_FILENO);
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    write_to_log();
    dup2(kept, STDERR_FILENO);
    close(ends[1]);
    close(kept);
    ssize_t length = read(ends[0], text, sizeof text - 1);
    close(ends[0]);
    text[length < 0 ? 0 : length] = '\0';
    return text;
}

static void write_everything(void)
{
    log_open("test", LOG_LEVEL_WARNING, LOG_FORMAT_JSON);
    log_info("too low", log_number("n", 1));
    log_warning("shown", log_text("text", "a\nb"));
    y_log_message(Y_LOG_LEVEL_ERROR, "Ulfius - says\n{\"level\":\"%s\"}", "info");
    y_log_message(Y_LOG_LEVEL_DEBUG, "Ulfius - chats");
    log_close();
    log_error("after the end", log_number("n", 2));
}

static void each_event_is_one_line_including_libraries(void **state)
{
    (void)state;
    char *at, *text = strdup(captured(write_everything));
    json_t *first = json_loads(strtok_r(text, "\n", &at), 0, NULL);
    json_t *second = json_loads(strtok_r(NULL, "\n", &at), 0, NULL);
    assert_null(strtok_r(NULL, "\n", &at));
    assert_string_equal(json_string_value(json_object_get(first, "event")), "shown");
    assert_int_equal(strlen(json_string_value(json_object_get(first, "time"))),
                     strlen("2026-09-01T23:59:00.000Z"));
    assert_string_equal(json_string_value(json_object_get(second, "event")), "library");
    assert_string_equal(json_string_value(json_object_get(second, "level")), "error");
    json_decref(first);
    json_decref(second);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_written_as_key_and_value),
        cmocka_unit_test(json_has_level_event_and_typed_fields),
        cmocka_unit_test(input_can_not_forge_a_field_or_a_line),
        cmocka_unit_test(valid_text_beyond_ascii_is_unchanged),
        cmocka_unit_test(long_value_is_cut_between_characters),
        cmocka_unit_test(fields_that_do_not_fit_are_omitted_completely),
        cmocka_unit_test(each_event_is_one_line_including_libraries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
