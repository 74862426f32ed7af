#include "common/base/json_seek.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

/* The value that is found when the text arrives in pieces of `size` bytes; NULL: nothing. */
static const char *seek_in_pieces(const char *text, size_t length, size_t size)
{
    static struct json_seek seek;
    json_seek_begin(&seek, "id");
    for (size_t at = 0; at < length; at += size)
        json_seek_take(&seek, text + at, size < length - at ? size : length - at);
    return seek.is_found ? seek.string : NULL;
}

static void member_is_found_at_any_position_and_in_any_pieces(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{\"id\":\"ab\"}",
        "{\"x\": [1, {\"id\": \"no\"}, \"\\\"id\\\": \\\"no\\\"\"], \"id\" :\r\n\t\"ab\", \"y\": 1}",
        "{\"a\": \"id\", \"b\": \"\\\\\", \"id\": \"ab\"",
        "{\"id\": 1, \"id\": \"\\u00e9\", \"id\": \"ab\", \"id\": \"no\"}",
        "{\"\\u0069d\": \"a\\u0062\"}",
        "{\"\\\"id\": \"no\", \"\\u0069\\u0064\": \"\\u0061\\u0062\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t size = 1; size <= strlen(texts[i]); size++)
            assert_string_equal(seek_in_pieces(texts[i], strlen(texts[i]), size), "ab");
}

static void other_strings_are_not_mistaken_for_the_member(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "\"id\": \"ab\"",
        "{\"x\": {\"id\": \"ab\"}}",
        "[{\"id\": \"ab\"}]",
        "[\"id\": \"ab\"]",
        "x={\"id\": \"ab\"}",
        "{}, {\"id\": \"ab\"}",
        "{\"x\": \"\\\"id\\\": \\\"ab\\\", \"}",
        "{\"x\": \"\", \\\"id\\\": \"ab\"",
        "{\"id\", \"ab\"}",
        "{\"id\": [\"ab\"]}",
        "{\"\\u0069d\\\"\": \"ab\"}",
        "{\"id\": \"a\\u0000b\"}",
        "{\"id\": \"a\\x62\"}",
        "{\"id\": \"a\\u006\"}",
        "{\"id\": \"ab",
        "{\"id\": \"0123456789012345678901234567890123456789012345678901234567890123\"}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        for (size_t size = 1; size <= strlen(texts[i]); size++)
            assert_null(seek_in_pieces(texts[i], strlen(texts[i]), size));
    static const char nul[] = "{\"id\": \"a\0b\"}";
    assert_null(seek_in_pieces(nul, sizeof nul - 1, sizeof nul));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(member_is_found_at_any_position_and_in_any_pieces),
        cmocka_unit_test(other_strings_are_not_mistaken_for_the_member),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
