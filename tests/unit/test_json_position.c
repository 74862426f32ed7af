/* Tests json_parse with a wrong error position from jansson, whose parser is replaced by a fake. */
#include "common/base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <limits.h>
#include <string.h>

static int reported;

json_t *json_loadb(const char *buffer, size_t length, size_t flags, json_error_t *error)
{
    (void)buffer, (void)length, (void)flags;
    memset(error, 0, sizeof *error);
    error->position = reported;
    error->text[JSON_ERROR_TEXT_LENGTH - 1] = json_error_duplicate_key;
    return NULL;
}

static void wrong_error_position_does_not_crash(void **state)
{
    (void)state;
    static const int places[] = {INT_MIN, -1, 0, 1, 3, 8, 1000000, INT_MAX};
    static const char text[] = "{\"a\":1}";
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        struct bw_error error;
        json_t *value = NULL;
        reported = places[i];
        assert_int_equal(json_parse(text, sizeof text - 1, "the body", &value, &error),
                         BW_BAD_REQUEST);
        assert_non_null(strstr(error.message, "the key '?' twice"));
    }
    struct bw_error error;
    json_t *value = NULL;
    reported = 4; /* behind "a" */
    assert_int_equal(json_parse(text, sizeof text - 1, "the body", &value, &error), BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, "the key 'a' twice"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(wrong_error_position_does_not_crash)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
