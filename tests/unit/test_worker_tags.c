#include "common/domain/worker_tags.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static enum bw_code check(const char *text, struct bw_error *error)
{
    json_auto_t *value = json_string(text);
    return worker_tags_check(value, "tags", NULL, error);
}

static void assert_refused(const char *text, const char *why)
{
    struct bw_error error;
    assert_int_equal(check(text, &error), BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, why));
}

/* "a,a,a": `count` names of `length` characters. */
static const char *names(int count, int length)
{
    static char text[4096];
    char *at = text;
    for (int i = 0; i < count; i++) {
        memset(at, 'a', (size_t)length);
        at += length;
        *at++ = ',';
    }
    at[-1] = '\0';
    return text;
}

static void tags_are_names_separated_by_commas(void **state)
{
    struct bw_error error;
    (void)state;
    assert_int_equal(check("", &error), BW_OK);
    assert_int_equal(check("gpu", &error), BW_OK);
    assert_int_equal(check("gpu,Lab-2.example,a_b", &error), BW_OK);
    assert_int_equal(check(names(32, 1), &error), BW_OK);
    assert_int_equal(check(names(1, 64), &error), BW_OK);
    assert_int_equal(check(names(1 + 6, 64), &error), BW_OK);
}

static void anything_else_is_refused_with_its_reason(void **state)
{
    (void)state;
    assert_refused(",", "empty name");
    assert_refused("a,", "empty name");
    assert_refused("a,,b", "empty name");
    assert_refused("a b", "letters, digits");
    assert_refused("a,b\xC3\xA4", "letters, digits");
    assert_refused(names(33, 1), "32 names");
    assert_refused(names(1, 65), "64 characters");
    assert_refused(names(8, 64), "511 bytes");
}

static void nul_is_refused(void **state)
{
    struct bw_error error;
    json_auto_t *value = json_stringn("a\0b", 3);
    (void)state;
    assert_int_equal(worker_tags_check(value, "tags", NULL, &error), BW_BAD_REQUEST);
}

static void list_has_the_names_in_their_order(void **state)
{
    json_auto_t *list = worker_tags_list("b,a,b"), *none = worker_tags_list("");
    char *text = json_dumps(list, JSON_COMPACT);
    (void)state;
    assert_string_equal(text, "[\"b\",\"a\",\"b\"]");
    assert_int_equal(json_array_size(none), 0);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tags_are_names_separated_by_commas),
        cmocka_unit_test(anything_else_is_refused_with_its_reason),
        cmocka_unit_test(nul_is_refused),
        cmocka_unit_test(list_has_the_names_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
