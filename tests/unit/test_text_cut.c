#include "common/base/text_cut.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void text_within_the_limit_is_unchanged(void **state)
{
    (void)state;
    size_t length;
    char *cut = text_cut("hello", 5, 5, &length);
    assert_string_equal(cut, "hello");
    assert_int_equal(length, 5);
    free(cut);
}

static void a_beginning_has_only_whole_characters(void **state)
{
    (void)state;
    assert_int_equal(text_cut_start("hello", 8), 5);
    assert_int_equal(text_cut_start("hello", 5), 5);
    assert_int_equal(text_cut_start("hello", 2), 2);
    assert_int_equal(text_cut_start("", 8), 0);
    assert_int_equal(text_cut_start("a\xc3\x97", 3), 3);
    assert_int_equal(text_cut_start("a\xc3\x97", 2), 1);
    assert_int_equal(text_cut_start("\xf0\x9f\x98\x8d!", 4), 4);
    assert_int_equal(text_cut_start("\xf0\x9f\x98\x8d!", 3), 0);
}

static void first_and_last_line_are_kept_and_the_mark_has_the_missing_bytes(void **state)
{
    (void)state;
    char text[10000];
    size_t length;
    memset(text, 'x', sizeof text);
    memcpy(text, "first\n", 6);
    memcpy(text + sizeof text - 5, "\nlast", 5);
    char *cut = text_cut(text, sizeof text, 1000, &length);
    assert_true(length <= 1000 && length >= 1000 - 64);
    assert_int_equal(strlen(cut), length);
    assert_memory_equal(cut, "first\n", 6);
    assert_string_equal(cut + length - 5, "\nlast");
    unsigned long missing = 0;
    char *mark = strstr(cut, "\n[... ");
    assert_non_null(mark);
    assert_int_equal(sscanf(mark, "\n[... %lu bytes cut ...]\n", &missing), 1);
    size_t mark_length = (size_t)(strstr(mark, "...]\n") + 5 - mark);
    assert_int_equal(missing + length - mark_length, sizeof text);
    assert_true((size_t)(mark - cut) < length / 3); /* more of the end than of the beginning */
    free(cut);
}

/* Characters of every length at the places where it is cut. */
static void no_character_is_halved(void **state)
{
    (void)state;
    static const char *const characters[] = {"x", "\xC3\xBC", "\xE2\x82\xAC", "\xF0\x9F\x98\x80"};
    for (size_t which = 0; which < 4; which++)
        for (size_t limit = 0; limit < 400; limit++) {
            char text[2000] = "";
            size_t length = 0, cut_length, one = strlen(characters[which]);
            for (; length + one < sizeof text - 1; length += one)
                memcpy(text + length, characters[which], one);
            char *cut = text_cut(text, length, limit, &cut_length);
            json_t *valid = json_stringn(cut, cut_length); /* refuses what is not UTF-8 */
            assert_non_null(valid);
            assert_true(cut_length <= limit);
            assert_true(limit < 100 || strstr(cut, " bytes cut ...]") != NULL);
            json_decref(valid);
            free(cut);
        }
}

static void nul_is_handled_like_any_byte(void **state)
{
    (void)state;
    size_t length;
    char text[300] = "a\0b";
    char *cut = text_cut(text, sizeof text, 200, &length);
    assert_memory_equal(cut, "a\0b", 3);
    assert_true(length <= 200);
    free(cut);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_within_the_limit_is_unchanged),
        cmocka_unit_test(a_beginning_has_only_whole_characters),
        cmocka_unit_test(first_and_last_line_are_kept_and_the_mark_has_the_missing_bytes),
        cmocka_unit_test(no_character_is_halved),
        cmocka_unit_test(nul_is_handled_like_any_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
