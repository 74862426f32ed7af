#include "common/base/request_id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static void valid_ids_are_accepted_and_others_refused(void **state)
{
    (void)state;
    char longest[REQUEST_ID_SIZE + 1];
    memset(longest, 'a', sizeof longest);
    longest[REQUEST_ID_SIZE] = '\0';
    assert_false(request_id_is_sound(longest));
    longest[REQUEST_ID_SIZE - 1] = '\0';
    assert_true(request_id_is_sound(longest));
    assert_true(request_id_is_sound("6f9c-1_A.b"));
    static const char *const bad[] = {NULL,  "",    " ",        "a b", "a\"b",
                                      "a=b", "a,b", "\xC3\xA4", "a/b"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(request_id_is_sound(bad[i]));
}

static void generated_ids_name_the_process_and_are_valid(void **state)
{
    (void)state;
    char id[REQUEST_ID_SIZE];
    request_id_open("0123456789abcdef0123456789abcdef");
    uint64_t number = request_id_number();
    assert_int_equal(request_id_number(), number + 1);
    request_id_make(77, id);
    assert_string_equal(id, "0123456789ab-77");
    assert_true(request_id_is_sound(id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(valid_ids_are_accepted_and_others_refused),
        cmocka_unit_test(generated_ids_name_the_process_and_are_valid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
