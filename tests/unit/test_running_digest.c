#include "common/base/running_digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void digest_is_that_of_all_pieces(void **state)
{
    (void)state;
    char text[SHA256_TEXT_SIZE];
    struct running_digest *digest = running_digest_new();
    running_digest_add(digest, "a", 1);
    running_digest_add(digest, "bc", 2);
    running_digest_finish(digest, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void digest_of_nothing_is_known(void **state)
{
    (void)state;
    char text[SHA256_TEXT_SIZE];
    running_digest_finish(running_digest_new(), text);
    assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void digest_may_be_dropped(void **state)
{
    (void)state;
    struct running_digest *digest = running_digest_new();
    running_digest_add(digest, "a", 1);
    running_digest_free(digest);
    running_digest_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digest_is_that_of_all_pieces),
        cmocka_unit_test(digest_of_nothing_is_known),
        cmocka_unit_test(digest_may_be_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
