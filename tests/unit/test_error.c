#include "common/base/error.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static void bw_fail_returns_its_code(void **state)
{
    (void)state;
    struct bw_error error;
    assert_int_equal(bw_fail(&error, BW_CONFLICT, "run '%s' has %d jobs", "a", 3), BW_CONFLICT);
    assert_string_equal(error.message, "run 'a' has 3 jobs");
}

static void error_argument_may_be_null(void **state)
{
    (void)state;
    assert_int_equal(bw_fail(NULL, BW_NOT_FOUND, "%s", "unheard"), BW_NOT_FOUND);
}

static void a_long_sentence_is_cut_between_characters(void **state)
{
    (void)state;
    static const char *const characters[] = {"a", "ü", "…", "😀"};
    for (size_t i = 0; i < sizeof characters / sizeof *characters; i++)
        for (size_t shift = 0; shift < 4; shift++) {
            char text[2 * BW_ERROR_SIZE] = "....";
            for (size_t at = shift; at + 4 < sizeof text; at += strlen(characters[i]))
                strncpy(text + at, characters[i], 5);
            struct bw_error error;
            assert_int_equal(bw_fail(&error, BW_BAD_REQUEST, "%s", text), BW_BAD_REQUEST);
            size_t length = strlen(error.message);
            assert_in_range(length, BW_ERROR_SIZE - 6, BW_ERROR_SIZE - 1);
            assert_memory_equal(error.message, text, length);
            json_t *valid = json_string(error.message); /* refuses what is not UTF-8 */
            assert_non_null(valid);
            json_decref(valid);
        }
}

static void every_code_has_its_status_and_text(void **state)
{
    (void)state;
    assert_int_equal(bw_code_status(BW_OK), 200);
    assert_int_equal(bw_code_status(BW_BAD_REQUEST), 400);
    assert_int_equal(bw_code_status(BW_NO_JOB), 498);
    assert_int_equal(bw_code_status(BW_UNAVAILABLE), 503);
    for (enum bw_code code = BW_OK; code <= BW_UNAVAILABLE; code++) {
        assert_in_range(bw_code_status(code), 200, 599);
        assert_true(strlen(bw_code_text(code)) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bw_fail_returns_its_code),
        cmocka_unit_test(error_argument_may_be_null),
        cmocka_unit_test(a_long_sentence_is_cut_between_characters),
        cmocka_unit_test(every_code_has_its_status_and_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
