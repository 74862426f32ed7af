#include "common/domain/worker_fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static enum bw_code check(const char *text, size_t length, struct bw_error *error)
{
    json_auto_t *value = json_stringn(text, length);
    assert_non_null(value);
    return worker_fault_check(value, "fault", NULL, error);
}

static void fault_is_one_line_of_256_bytes_at_most(void **state)
{
    struct bw_error error;
    char text[WORKER_FAULT_SIZE];
    (void)state;
    memset(text, 'x', sizeof text);
    assert_int_equal(check("", 0, &error), BW_OK);
    assert_int_equal(check("disk: r\xC3\xA9serv\xC3\xA9", 15, &error), BW_OK);
    assert_int_equal(check(text, WORKER_FAULT_SIZE - 1, &error), BW_OK);
    assert_int_equal(check(text, WORKER_FAULT_SIZE, &error), BW_BAD_REQUEST);
    assert_string_equal(error.message, "fault: must have 256 bytes at most");
}

static void control_characters_are_refused(void **state)
{
    static const char *const texts[] = {"a\nb", "\x1B[31m", "\x7F", "a\0b"};
    struct bw_error error;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        size_t length = i == 3 ? 3 : strlen(texts[i]);
        assert_int_equal(check(texts[i], length, &error), BW_BAD_REQUEST);
        assert_string_equal(error.message, "fault: must not contain control characters");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fault_is_one_line_of_256_bytes_at_most),
        cmocka_unit_test(control_characters_are_refused),
    };
    return cmocka_run_group_tests_name("worker_fault", tests, NULL, NULL);
}
