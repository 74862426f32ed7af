#include "api/grading/result_text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT = 2000 };

static struct bw_error error;
static bool is_cut;

/* The stored text of a value, whose reference is taken; NULL: too large. Valid until the next call.
 */
static const char *made(json_t *value)
{
    static char *text;
    free(text);
    text = NULL;
    enum bw_code code = result_text_make(value, LIMIT, &text, &is_cut, &error);
    json_decref(value);
    assert_true(code == BW_OK || code == BW_TOO_LARGE);
    assert_int_equal(code == BW_OK, text != NULL);
    if (text != NULL)
        assert_true(strlen(text) <= LIMIT);
    return text;
}

/* "first…last" of `length` bytes. */
static json_t *long_string(size_t length)
{
    char *text = malloc(length + 1);
    memset(text, 'x', length);
    memcpy(text, "first", 5);
    memcpy(text + length - 4, "last", 5);
    json_t *string = json_string(text);
    free(text);
    return string;
}

static void result_within_the_limit_is_unchanged(void **state)
{
    (void)state;
    assert_string_equal(made(json_pack("{s:f,s:[i,n]}", "a", 0.1, "b", 1)),
                        "{\"a\":0.1,\"b\":[1,null]}");
    assert_false(is_cut);
    assert_int_equal(strlen(made(long_string(LIMIT - 2))), LIMIT);
    assert_false(is_cut);
}

static void long_string_is_cut_in_the_middle(void **state)
{
    (void)state;
    const char *text = made(long_string(100000));
    assert_true(is_cut && strlen(text) > LIMIT / 2);
    assert_memory_equal(text, "\"firstx", 7);
    assert_string_equal(text + strlen(text) - 6, "xlast\"");
    assert_non_null(strstr(text, "bytes cut"));
}

static void long_list_is_cut_at_its_end_with_a_note(void **state)
{
    (void)state;
    json_t *list = json_array();
    for (int i = 0; i < 6; i++)
        json_array_append_new(list, long_string(500));
    const char *text = made(list);
    assert_true(is_cut);
    assert_non_null(strstr(text, "{\"cut\":\"3 of 6 results were too large to be kept\"}"));
}

static void long_strings_in_an_object_or_a_first_item_are_cut_in_the_middle(void **state)
{
    (void)state;
    const char *text = made(json_pack("{s:o,s:i,s:[o,o]}", "a", long_string(9000), "score", 97, "b",
                                      long_string(9000), long_string(10)));
    assert_true(is_cut);
    assert_non_null(strstr(text, "\"score\":97"));
    assert_non_null(strstr(text, "last\""));
    text = made(json_pack("[{s:o,s:i}]", "a", long_string(9000), "score", 97));
    assert_non_null(strstr(text, "\"score\":97"));
}

static void large_value_without_long_strings_is_refused(void **state)
{
    (void)state;
    json_t *object = json_object();
    for (int i = 0; i < 1000; i++) {
        char name[10];
        snprintf(name, sizeof name, "%d", i);
        json_object_set_new(object, name, json_integer(i));
    }
    assert_null(made(object));
    assert_non_null(strstr(error.message, "the limit is 2000"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(result_within_the_limit_is_unchanged),
        cmocka_unit_test(long_string_is_cut_in_the_middle),
        cmocka_unit_test(long_list_is_cut_at_its_end_with_a_note),
        cmocka_unit_test(long_strings_in_an_object_or_a_first_item_are_cut_in_the_middle),
        cmocka_unit_test(large_value_without_long_strings_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
