#include "common/domain/course_submission_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#include "common/domain/submission_limits.h"

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    return value;
}

/* What checking says of a config; "" if it is fine. */
static const char *config_refusal(const char *text, bool allow_privileged)
{
    static struct bw_error error;
    const struct submission_limits limits = {.allow_privileged = allow_privileged};
    json_auto_t *config = parse(text);
    error.message[0] = '\0';
    if (json_check(config, course_config_fields, "", &limits, &error) == BW_OK)
        return "";
    return error.message;
}

static void config_takes_what_the_page_lists(void **state)
{
    (void)state;
    static const char *const fine[] = {
        "{\"student_pipeline\": []}",
        "{\"student_pipeline\": [{\"image\": \"x\"}], \"pre_processing_pipeline\": null, \"env\": null}",
        "{\"student_pipeline\": [], \"post_processing_pipeline\": [], \"env\": {\"A\": [1, null]}}",
        "{\"student_pipeline\": [{\"image\": \"x\", \"env\": {\"a.b\": 1}, \"entrypoint\": [\"ls\"], "
        "\"networking\": true, \"privileged\": false, \"logs\": true, \"hostname\": \"h\", "
        "\"memory\": \"2g\", \"cpuset_cpus\": \"0\", \"timeout\": 1.5, "
        "\"cpus\": 0.5, \"pids\": 64, \"disk\": \"1g\", \"user\": \"1000:staff\", \"read_only\": true, "
        "\"secret_env\": [\"a.b\"]}]}",
    };
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++)
        assert_string_equal(config_refusal(fine[i], false), "");
}

static void config_is_refused_by_a_sentence_that_names_the_key(void **state)
{
    (void)state;
    static const struct {
        const char *text, *sentence;
    } rows[] = {
        {"{}", "student_pipeline: is required"},
        {"{\"student_pipeline\": null}", "student_pipeline: must not be null"},
        {"{\"student_pipeline\": [null]}", "student_pipeline[0]: must be an object, not null"},
        {"{\"student_pipeline\": [{}]}", "student_pipeline[0].image: is required"},
        {"{\"student_pipeline\": [{\"image\": \"\"}]}",
         "student_pipeline[0].image: must not be empty"},
        {"{\"student_pipeline\": [{\"image\": \"x\", \"users\": 1}]}",
         "student_pipeline[0]: unknown key 'users'"},
        {"{\"student_pipeline\": [], \"pre_processing_pipeline\": [{}]}",
         "pre_processing_pipeline[0].image: is required"},
        {"{\"student_pipeline\": [], \"post_processing_pipeline\": 5}",
         "post_processing_pipeline: must be a list, not a number"},
        {"{\"student_pipeline\": [], \"env\": []}", "env: must be an object or null, not a list"},
        {"{\"student_pipeline\": [], \"env\": {\"A=B\": \"1\"}}",
         "env: 'A=B' can't be the name of an environment variable: it must not be empty or "
         "contain '='"},
        {"{\"student_pipeline\": [{\"image\": \"x\", \"env\": {\"\": \"1\"}}]}",
         "student_pipeline[0].env: '' can't be the name of an environment variable: it must not be "
         "empty or contain '='"},
        {"{\"student_pipeline\": [{\"image\": \"x\", \"timeout\": 0}]}",
         "student_pipeline[0].timeout: must be more than 0 seconds"},
        {"{\"student_pipeline\": [{\"image\": \"x\", \"cpus\": 0}]}",
         "student_pipeline[0].cpus: must be between 0.01 and 1024, not 0"},
        {"{\"student_pipeline\": [{\"image\": \"x\", \"pids\": 0}]}",
         "student_pipeline[0].pids: must be between 1 and 4194304, not 0"},
        {"{\"student_pipeline\": [{\"image\": \"x\", \"disk\": \"1gb\"}]}",
         "student_pipeline[0].disk: must be a number with an optional unit b, k, m or g, like 512m"},
        {"{\"student_pipeline\": [{\"image\": \"x\", \"user\": \"a:\"}]}",
         "student_pipeline[0].user: must be a user, or a user and a group, by name or number, like "
         "1000:1000 or nobody"},
        {"{\"student_pipeline\": [{\"image\": \"x\", \"read_only\": 1}]}",
         "student_pipeline[0].read_only: must be true or false, not a number"},
        {"{\"student_pipeline\": [{\"image\": \"x\", \"results\": \"/a\"}]}",
         "student_pipeline[0].results: must be the path of a file in a directory, of letters, "
         "digits, '.', '_' and '-', like /job/results.json"},
        {"{\"student_pipeline\": [{\"image\": \"x\", \"secret_env\": [1]}]}",
         "student_pipeline[0].secret_env[0]: must be a string, not a number"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(config_refusal(rows[i].text, false), rows[i].sentence);
}

static void privileged_depends_on_the_operator(void **state)
{
    (void)state;
    static const char text[] = "{\"student_pipeline\": [{\"image\": \"x\", \"privileged\": true}]}";
    assert_non_null(strstr(config_refusal(text, false), "--allow-privileged"));
    assert_string_equal(config_refusal(text, true), "");
}

static void env_for_a_step_that_the_config_lacks_is_refused(void **state)
{
    (void)state;
    struct bw_error error;
    json_auto_t *config = parse("{\"student_pipeline\": [], \"pre_processing_pipeline\": []}");
    json_auto_t *run = parse("{\"students_env\": [], \"pre_processing_env\": {}}");
    assert_int_equal(course_submission_check_steps(config, run, &error), BW_BAD_REQUEST);
    assert_string_equal(error.message, "pre_processing_env is given, but the assignment's config "
                                       "has no pre_processing_pipeline");
}

static void env_for_a_step_that_the_config_has_is_taken(void **state)
{
    (void)state;
    struct bw_error error;
    json_auto_t *config = parse("{\"student_pipeline\": [], \"post_processing_pipeline\": [{}]}");
    json_auto_t *run = parse("{\"students_env\": [], \"post_processing_env\": {}}");
    assert_int_equal(course_submission_check_steps(config, run, &error), BW_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_takes_what_the_page_lists),
        cmocka_unit_test(config_is_refused_by_a_sentence_that_names_the_key),
        cmocka_unit_test(privileged_depends_on_the_operator),
        cmocka_unit_test(env_for_a_step_that_the_config_lacks_is_refused),
        cmocka_unit_test(env_for_a_step_that_the_config_has_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
