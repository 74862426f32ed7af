#include "common/domain/image_digest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"
#define ONE "sha256:" HEX "1"
#define TWO "sha256:" HEX "2"

static void check_json(json_t *value, const char *expected)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    assert_string_equal(text != NULL ? text : "NULL", expected);
    free(text);
    json_decref(value);
}

static void digests_are_sha256_in_lower_case(void **state)
{
    (void)state;
    static const char *const none[] = {"",      "sha256:",         HEX "1",          "sha256:" HEX,
                                       ONE "1", "sha256:" HEX "A", "sha512:" HEX "1"};
    assert_true(is_image_digest(ONE));
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_false(is_image_digest(none[i]));
}

static void images_of_a_run_are_those_without_a_digest(void **state)
{
    (void)state;
    char many[128];
    struct definition *definition;
    json_auto_t *object = json_pack(
        "{s:[{s:s}],s:[{s:s},{s:s},{s:s}],s:[]}", "preprocessing_pipeline", "image", "pre",
        "student_pipeline", "image", "gcc:14", "image", "gcc:14", "image", "gcc@" ONE, "students");
    definition = definition_take(object);
    check_json(images_of_run(definition), "{\"gcc:14\":true,\"pre\":true}");
    check_json(images_of_jobs(definition, JOB_STUDENT), "{\"gcc:14\":true}");
    check_json(images_of_jobs(definition, JOB_POST), "{}");
    definition_release(definition);
    json_t *stages = json_object_get(object, "student_pipeline");
    for (int i = 0; i < IMAGES_MAX + 5; i++) {
        snprintf(many, sizeof many, "image-%d", i);
        json_array_append_new(stages, json_pack("{s:s}", "image", many));
    }
    definition = definition_take(object);
    json_t *images = images_of_run(definition);
    assert_int_equal(json_object_size(images), IMAGES_MAX);
    json_decref(images);
    definition_release(definition);
}

static json_t *report(const char *image, const char *digest, const char *other, const char *second)
{
    return json_pack("[{s:s,s:s},{s:s,s:s}]", "image", image, "digest", digest, "image", other,
                     "digest", second);
}

static void first_digest_of_an_image_of_the_run_is_proposed(void **state)
{
    (void)state;
    json_auto_t *images = json_pack("{s:b,s:b}", "a", 1, "b", 1);
    json_auto_t *twice = report("a", ONE, "a", TWO), *odd = report("b", "latest", "c", ONE);
    check_json(images_reported(twice, images), "{\"a\":\"" ONE "\"}");
    check_json(images_reported(odd, images), "{}");
    check_json(images_reported(NULL, images), "{}");
}

static void what_differs_from_its_pin_is_drift(void **state)
{
    (void)state;
    json_auto_t *pins = json_pack("{s:s}", "a", ONE);
    json_auto_t *equal = report("a", ONE, "b", TWO), *named = report("b@" ONE, TWO, "b@" ONE, ONE);
    json_auto_t *twice = report("a", TWO, "a", TWO);
    check_json(images_drifted(equal, pins), "NULL");
    check_json(images_drifted(NULL, pins), "NULL");
    check_json(images_drifted(twice, pins),
               "[{\"image\":\"a\",\"pinned\":\"" ONE "\",\"reported\":\"" TWO "\"}]");
    check_json(images_drifted(named, pins),
               "[{\"image\":\"b@" ONE "\",\"pinned\":\"" ONE "\",\"reported\":\"" TWO "\"}]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digests_are_sha256_in_lower_case),
        cmocka_unit_test(images_of_a_run_are_those_without_a_digest),
        cmocka_unit_test(first_digest_of_an_image_of_the_run_is_proposed),
        cmocka_unit_test(what_differs_from_its_pin_is_drift),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
