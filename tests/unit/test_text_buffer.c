#include "common/base/text_buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Every ASCII character except NUL, and characters of two, three and four bytes. */
static size_t make_text(char text[256])
{
    size_t length = 0;
    for (char byte = 1; byte < 0x7f; byte++)
        text[length++] = byte;
    memcpy(text + length, "\x7fü€😀", sizeof "\x7fü€😀");
    return length + sizeof "\x7fü€😀" - 1;
}

static void escapes_equal_those_of_jansson(void **state)
{
    (void)state;
    char text[256];
    size_t length = make_text(text);
    json_t *value = json_string(text);
    char *expected = json_dumps(value, JSON_ENCODE_ANY);
    struct text_buffer buffer = {NULL};
    text_buffer_add_text(&buffer, "\"");
    for (size_t i = 0; i < length; i++) /* cut anywhere */
        text_buffer_add_escaped(&buffer, text + i, 1);
    text_buffer_add_text(&buffer, "\"");
    char *whole = text_buffer_take(&buffer);
    assert_string_equal(whole, expected);
    text_buffer_add_escaped(&buffer, text, length);
    assert_int_equal(buffer.length, strlen(expected) - 2);
    assert_memory_equal(buffer.bytes, expected + 1, buffer.length);
    text_buffer_clear(&buffer);
    free(whole);
    free(expected);
    json_decref(value);
}

static void fitted_buffer_has_no_spare_memory(void **state)
{
    (void)state;
    struct text_buffer buffer = {NULL};
    text_buffer_fit(&buffer);
    assert_int_equal(buffer.size, 0);
    text_buffer_add_text(&buffer, "text");
    text_buffer_fit(&buffer);
    assert_int_equal(buffer.size, 4);
    text_buffer_add_text(&buffer, " that goes on");
    char *whole = text_buffer_take(&buffer);
    assert_string_equal(whole, "text that goes on");
    free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_equal_those_of_jansson),
        cmocka_unit_test(fitted_buffer_has_no_spare_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
