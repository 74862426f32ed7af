#include "api/auth/course_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

static enum bw_code parse(const char *text, struct course_list *list, struct bw_error *error)
{
    return course_config_parse(text, strlen(text), NULL, list, error);
}

static void courses_are_read_with_hashes_of_their_tokens(void **state)
{
    (void)state;
    struct course_list list;
    struct bw_error error;
    static const char text[] =
        "{\"cs225\": {\"tokens\": [\"one\", \"two\"], \"query_tokens\": [\"look\"]}, "
        "\"cs-241_x\": {\"tokens\": []}, \"bare\": {}}";
    assert_int_equal(parse(text, &list, &error), BW_OK);
    assert_int_equal(list.count, 3);
    assert_string_equal(list.items[0].name, "cs225");
    assert_int_equal(list.items[0].tokens.count, 2);
    assert_true(token_hash_matches(&list.items[0].tokens.items[1], "two"));
    assert_false(token_hash_matches(&list.items[0].tokens.items[0], "two"));
    assert_true(token_hash_matches(&list.items[0].query_tokens.items[0], "look"));
    assert_int_equal(list.items[2].tokens.count, 0);
    course_list_clear(&list);
}

static void shares_and_classes_are_read(void **state)
{
    (void)state;
    struct course_list list;
    struct bw_error error;
    static const char text[] = "{\"a\": {\"weight\": 200, \"max_running\": 0, \"classes\": "
                               "[\"exam\", \"batch\"]}, \"b\": {}}";
    assert_int_equal(parse(text, &list, &error), BW_OK);
    assert_int_equal(list.items[0].weight, 200);
    assert_true(list.items[0].has_max_running);
    assert_int_equal(list.items[0].max_running, 0);
    assert_int_equal(list.items[0].classes, 1U << RUN_CLASS_EXAM | 1U << RUN_CLASS_BATCH);
    assert_int_equal(list.items[1].weight, 0);
    assert_false(list.items[1].has_max_running);
    assert_int_equal(list.items[1].classes, 0);
    course_list_clear(&list);
}

static void equal_tokens_have_unequal_hashes(void **state)
{
    (void)state;
    struct course_list list;
    struct bw_error error;
    assert_int_equal(
        parse("{\"a\": {\"tokens\": [\"x\"]}, \"b\": {\"tokens\": [\"x\"]}}", &list, &error),
        BW_OK);
    assert_string_not_equal(list.items[0].tokens.items[0].hash, list.items[1].tokens.items[0].hash);
    course_list_clear(&list);
}

static void invalid_config_is_refused_without_showing_a_token(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sentence;
    } rows[] = {
        {"no json", "not valid JSON"},
        {"[]", "must be an object"},
        {"{\"a\": []}", "a: must be an object"},
        {"{\"a\": {\"token\": [\"secret\"]}}", "a: unknown key 'token'"},
        {"{\"a\": {\"tokens\": \"secret\"}}", "a.tokens: must be a list"},
        {"{\"a\": {\"tokens\": [\"\"]}}", "a.tokens[0]: must be 1 to 500"},
        {"{\"a\": {\"tokens\": [\"has secret\"]}}", "a.tokens[0]: must be 1 to 500"},
        {"{\"a\": {\"tokens\": [], \"tokens\": []}}", "twice"},
        {"{\"a\": {\"weight\": 0}}", "a.weight: must be between 1 and 10000"},
        {"{\"a\": {\"weight\": \"9\"}}", "a.weight: must be an integer"},
        {"{\"a\": {\"max_running\": -1}}", "a.max_running: must be between 0 and 100000"},
        {"{\"a\": {\"classes\": []}}", "a.classes: must have a class at least"},
        {"{\"a\": {\"classes\": \"exam\"}}", "a.classes: must be a list"},
        {"{\"a\": {\"classes\": [\"vip\"]}}", "a.classes[0]: must be exam, interactive"},
        {"{\"a b\": {}}", "'a b' can't be the name of a course"},
        {"{\"\": {}}", "can't be the name of a course"},
        {"{\"0123456789abcdef01234567\": {}}", "24 hex digits are the id of a grading run"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct course_list list;
        struct bw_error error;
        assert_int_equal(parse(rows[i].text, &list, &error), BW_BAD_REQUEST);
        assert_null(strstr(error.message, "secret"));
        if (strcmp(rows[i].sentence, "twice") != 0)
            assert_non_null(strstr(error.message, rows[i].sentence));
    }
}

static void missing_file_is_named(void **state)
{
    (void)state;
    struct course_list list;
    struct bw_error error;
    assert_int_equal(course_config_read("/nowhere/courses.json", NULL, &list, &error),
                     BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, "--course-config /nowhere/courses.json: No such file"));
}

static void tokens_of_the_file_are_accepted(void **state)
{
    (void)state;
    static const char text[] =
        "{\"cs101\": {\"tokens\": [\"staff-token-1\"], \"query_tokens\": [\"student-token\"]}}";
    struct known_tokens *known = known_tokens_new();
    struct course_list list;
    struct bw_error error;
    assert_int_equal(course_config_parse(text, strlen(text), known, &list, &error), BW_OK);
    assert_true(known_tokens_has(known, "staff-token-1"));
    assert_true(known_tokens_has(known, "student-token"));
    assert_false(known_tokens_has(known, "staff-token-2"));
    course_list_clear(&list);
    known_tokens_free(known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(courses_are_read_with_hashes_of_their_tokens),
        cmocka_unit_test(shares_and_classes_are_read),
        cmocka_unit_test(equal_tokens_have_unequal_hashes),
        cmocka_unit_test(invalid_config_is_refused_without_showing_a_token),
        cmocka_unit_test(missing_file_is_named),
        cmocka_unit_test(tokens_of_the_file_are_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
