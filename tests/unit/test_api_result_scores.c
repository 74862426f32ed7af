#include "api/grading/result_scores.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json_write.h"

static const struct json_field fields[] = {
    RESULT_SCORES_FIELDS,
    {.name = "tests", .kind = FIELD_ANY, .check = result_scores_check_tests},
    {.name = NULL},
};

static json_t *parsed(const char *text)
{
    json_t *value = json_loads(text, 0, NULL);
    assert_non_null(value);
    return value;
}

/* The sentence that refuses the keys; "": they are taken. Valid until the next call. */
static const char *refusal_of(const char *text)
{
    static struct bw_error error;
    json_auto_t *arguments = parsed(text);
    error.message[0] = '\0';
    return json_check(arguments, fields, "", NULL, &error) == BW_OK ? "" : error.message;
}

/* The result that the keys give. Its tests are freed by the caller. */
static struct result taken(const json_t *arguments, enum job_outcome outcome,
                           char note[RESULT_SCORES_NOTE_SIZE])
{
    struct result result = {.outcome = outcome, .owner = OWNER_STUDENT};
    result_scores_take(arguments, &result, note);
    return result;
}

static void scores_of_the_right_types_are_taken(void **state)
{
    (void)state;
    static const char *const fine[] = {
        "{}",
        "{\"score\": -1.5, \"max_score\": 0}",
        "{\"score\": 1000000000, \"tests\": []}",
        "{\"owner\": \"course\"}",
        "{\"tests\": [{\"name\": \"a\"}, {\"name\": \"a\", \"score\": 1, \"max_score\": 2, "
        "\"status\": \"skipped\", \"output\": \"\", \"output_format\": \"md\", "
        "\"visibility\": \"hidden\"}]}",
    };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        assert_string_equal(refusal_of(fine[i]), "");
}

static void a_refusal_names_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"{\"score\": \"9\"}", "score: must be a number, not a string"},
        {"{\"score\": null}", "score: must not be null"},
        {"{\"score\": 1e10}", "score: must be between -1000000000 and 1000000000, not 10000000000"},
        {"{\"max_score\": true}", "max_score: must be a number, not true"},
        {"{\"owner\": \"client\"}", "owner: must be 'course', not 'client'"},
        {"{\"owner\": \"student\"}", "owner: must be 'course', not 'student'"},
        {"{\"tests\": {}}", "tests: must be a list, not an object"},
        {"{\"tests\": [{\"name\": \"a\"}, 5]}", "tests[1]: must be an object, not a number"},
        {"{\"tests\": [{}]}", "tests[0].name: is required"},
        {"{\"tests\": [{\"name\": \"\"}]}", "tests[0].name: must not be empty"},
        {"{\"tests\": [{\"name\": \"a\", \"points\": 1}]}", "tests[0]: unknown key 'points'"},
        {"{\"tests\": [{\"name\": \"a\", \"score\": null}]}", "tests[0].score: must not be null"},
        {"{\"tests\": [{\"name\": \"a\", \"status\": \"ok\"}]}",
         "tests[0].status: 'ok' is not one of passed, failed, error, skipped"},
        {"{\"tests\": [{\"name\": \"a\", \"output\": 1}]}",
         "tests[0].output: must be a string, not a number"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_string_equal(refusal_of(cases[i].text), cases[i].sentence);
}

static void what_is_sent_is_what_is_kept(void **state)
{
    (void)state;
    char note[RESULT_SCORES_NOTE_SIZE];
    json_auto_t *arguments = parsed("{\"score\": 0.1, \"tests\": [{\"name\": \"a\", "
                                    "\"score\": 0.1}], \"owner\": \"course\", \"result\": 1}");
    struct result result = taken(arguments, OUTCOME_FAILED, note);
    assert_true(result.has_score && !result.has_max_score);
    assert_true(result.score == 0.1);
    assert_string_equal(result.tests, "[{\"name\":\"a\",\"score\":0.1}]");
    assert_int_equal(result.owner, OWNER_COURSE);
    assert_string_equal(note, "");
    free(result.tests);
    json_auto_t *copied = json_object();
    result_scores_copy(arguments, copied);
    assert_int_equal(json_object_size(copied), 3);
}

static void without_keys_nothing_is_changed(void **state)
{
    (void)state;
    char note[RESULT_SCORES_NOTE_SIZE];
    struct result result = taken(NULL, OUTCOME_FAILED, note);
    assert_true(!result.has_score && !result.has_max_score && result.tests == NULL);
    assert_int_equal(result.owner, OWNER_STUDENT);
}

static void a_success_has_no_owner(void **state)
{
    (void)state;
    char note[RESULT_SCORES_NOTE_SIZE];
    json_auto_t *arguments = parsed("{\"owner\": \"course\"}");
    assert_int_equal(taken(arguments, OUTCOME_SUCCEEDED, note).owner, OWNER_STUDENT);
}

/* {"tests"}: `count` tests with an output of `length` bytes. New reference. */
static json_t *many(size_t count, size_t length)
{
    char *output = malloc(length + 1);
    memset(output, 'x', length);
    output[length] = '\0';
    json_t *tests = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(
            tests, json_pack("{s:o,s:s}", "name", json_sprintf("test %zu", i), "output", output));
    free(output);
    return json_pack("{s:o}", "tests", tests);
}

/* The tests that are kept of `count`. New reference. */
static json_t *kept(size_t count, size_t length, char note[RESULT_SCORES_NOTE_SIZE])
{
    json_auto_t *arguments = many(count, length);
    struct result result = taken(arguments, OUTCOME_SUCCEEDED, note);
    assert_true(strlen(result.tests) <= RESULT_TESTS_BYTES);
    json_t *tests = parsed(result.tests);
    free(result.tests);
    return tests;
}

static void a_thousand_tests_are_kept(void **state)
{
    (void)state;
    char note[RESULT_SCORES_NOTE_SIZE];
    json_auto_t *all = kept(RESULT_TESTS_MAX, 10, note);
    assert_int_equal(json_array_size(all), RESULT_TESTS_MAX);
    assert_string_equal(note, "");
    json_auto_t *some = kept(RESULT_TESTS_MAX + 5, 10, note);
    assert_int_equal(json_array_size(some), RESULT_TESTS_MAX);
    assert_string_equal(note, "5 of 1005 tests left out");
}

static void long_outputs_are_cut_before_tests_are_left_out(void **state)
{
    (void)state;
    char note[RESULT_SCORES_NOTE_SIZE];
    json_auto_t *one = kept(1, 2 * RESULT_TESTS_BYTES, note);
    assert_int_equal(json_array_size(one), 1);
    assert_string_equal(note, "outputs of tests over 262144 bytes cut");
    json_auto_t *tests = kept(1000, 5000, note);
    assert_int_equal(json_array_size(tests), 1000);
    assert_string_equal(note, "outputs of tests over 523 bytes cut");
    const char *output = json_string_value(json_object_get(json_array_get(tests, 0), "output"));
    assert_non_null(strstr(output, "bytes cut"));
}

static void an_integer_is_shown_as_one(void **state)
{
    (void)state;
    json_auto_t *whole = json_number_new(-9), *part = json_number_new(0.5);
    assert_true(json_is_integer(whole) && json_integer_value(whole) == -9);
    assert_true(json_is_real(part));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_of_the_right_types_are_taken),
        cmocka_unit_test(a_refusal_names_what_is_wrong),
        cmocka_unit_test(what_is_sent_is_what_is_kept),
        cmocka_unit_test(without_keys_nothing_is_changed),
        cmocka_unit_test(a_success_has_no_owner),
        cmocka_unit_test(a_thousand_tests_are_kept),
        cmocka_unit_test(long_outputs_are_cut_before_tests_are_left_out),
        cmocka_unit_test(an_integer_is_shown_as_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
