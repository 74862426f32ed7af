/* Supersede keys of a submission: what they must fulfil together, and their digests. */
#include "common/domain/supersede.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static json_t *read_json(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    return value;
}

/* Why the fields are refused together; "" if they aren't. Static. */
static const char *refusal(const char *text, size_t students)
{
    static struct bw_error error;
    json_t *object = read_json(text);
    error.message[0] = '\0';
    enum bw_code code = supersede_check_run(object, students, &error);
    assert_int_equal(code, error.message[0] == '\0' ? BW_OK : BW_BAD_REQUEST);
    json_decref(object);
    return error.message;
}

static void fields_are_checked_together(void **state)
{
    (void)state;
    assert_string_equal(refusal("{}", 5), "");
    assert_string_equal(refusal("{\"supersede_key\":\"a\",\"supersede_share\":1}", 1), "");
    assert_string_equal(refusal("{\"supersede_keys\":[null,\"a\",\"b\",null]}", 4), "");
    assert_string_equal(refusal("{\"supersede_keys\":[]}", 0), "");
    assert_string_equal(refusal("{\"supersede_share\":1}", 1),
                        "supersede_share: the run has no 'supersede_key' and no 'supersede_keys'");
    assert_string_equal(refusal("{\"supersede_key\":\"a\"}", 0),
                        "supersede_key: is for a run of exactly one student, not 0; "
                        "'supersede_keys' has a key for each");
    assert_string_equal(refusal("{\"supersede_key\":\"a\",\"supersede_keys\":[]}", 0),
                        "'supersede_key' and 'supersede_keys' exclude each other");
    assert_string_equal(refusal("{\"supersede_keys\":[\"a\"]}", 2),
                        "supersede_keys: must have a key or null for each of the 2 students, not 1 "
                        "items");
    assert_string_equal(refusal("{\"supersede_keys\":[\"b\",null,\"b\"]}", 3),
                        "supersede_keys[2]: students[0] of the same run has this key as well");
}

static uint8_t *digests_of(const char *text, size_t students, const char *course,
                           const char *assignment)
{
    json_t *object = read_json(text);
    uint8_t *digests = supersede_digests(object, students, course, assignment);
    json_decref(object);
    return digests;
}

static void digests_depend_on_the_key_and_its_scope(void **state)
{
    (void)state;
    static const char *const scopes[][2] = {{"", ""}, {"c", "a"}, {"c", "b"}, {"ca", ""}};
    uint8_t *list = digests_of("{\"supersede_keys\":[null,\"ada\",\"bob\"]}", 3, "c", "a");
    static const uint8_t none[SUPERSEDE_DIGEST_BYTES];
    assert_memory_equal(list, none, sizeof none);
    assert_memory_not_equal(list + SUPERSEDE_DIGEST_BYTES, list + 2 * SUPERSEDE_DIGEST_BYTES,
                            SUPERSEDE_DIGEST_BYTES);
    for (size_t i = 0; i < sizeof scopes / sizeof *scopes; i++) {
        uint8_t *one = digests_of("{\"supersede_key\":\"ada\"}", 1, scopes[i][0], scopes[i][1]);
        int order = memcmp(one, list + SUPERSEDE_DIGEST_BYTES, SUPERSEDE_DIGEST_BYTES);
        assert_int_equal(order == 0, i == 1);
        free(one);
    }
    free(list);
    assert_null(digests_of("{}", 3, "c", "a"));
    assert_null(digests_of("{\"supersede_keys\":[null,null]}", 2, "c", "a"));
}

static void the_fields_of_a_run_are_removed(void **state)
{
    (void)state;
    json_t *object = read_json("{\"supersede_key\":\"a\",\"supersede_share\":0.25,\"name\":\"n\"}");
    assert_true(supersede_share(object) > 0.24 && supersede_share(object) < 0.26);
    supersede_remove(object);
    assert_int_equal(json_object_size(object), 1);
    assert_true(supersede_share(object) > 0.49 && supersede_share(object) < 0.51);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_checked_together),
        cmocka_unit_test(digests_depend_on_the_key_and_its_scope),
        cmocka_unit_test(the_fields_of_a_run_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
