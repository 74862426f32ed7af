#include "common/domain/job_files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "common/base/alloc.h"

#define EMPTY "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define SHARED "{\"path\":\"shared\",\"digest\":\"" EMPTY "\",\"size\":0,\"unpack\":true}"

static struct definition *definition_of(const char *text)
{
    struct bw_error error;
    struct definition *definition;
    assert_int_equal(definition_load(text, strlen(text), NULL, &definition, &error), BW_OK);
    return definition;
}

static void check_files(const struct definition *definition, enum job_kind kind, uint32_t index,
                        const char *expected)
{
    const struct job_id job = {.run = "6b05c5d2164163397800c81b", .kind = kind, .index = index};
    json_t *files = job_files_make(definition, &job);
    char *text = files == NULL ? bw_copy("none") : json_dumps(files, JSON_COMPACT);
    assert_string_equal(text, expected);
    free(text);
    json_decref(files);
}

static void students_jobs_have_what_the_job_before_them_shares(void **state)
{
    (void)state;
    struct definition *definition = definition_of(
        "{\"student_pipeline\":[],\"preprocessing_pipeline\":[{\"image\":\"x\"}],"
        "\"students\":[{},{}],\"student_files\":[[],[{\"path\":\"a\",\"digest\":\"" EMPTY
        "\",\"size\":0}]]}");
    assert_true(definition_has_pre(definition));
    check_files(definition, JOB_STUDENT, 0, "none");
    definition_set_shared(definition, json_loads(SHARED, 0, NULL));
    check_files(definition, JOB_STUDENT, 0, "[" SHARED "]");
    check_files(definition, JOB_STUDENT, 1,
                "[{\"path\":\"input/a\",\"digest\":\"" EMPTY "\",\"size\":0}," SHARED "]");
    check_files(definition, JOB_PRE, 0, "none");
    check_files(definition, JOB_POST, 0, "none");
    definition_release(definition);
}

static void only_the_first_answer_about_what_is_shared_is_kept(void **state)
{
    (void)state;
    struct definition *definition = definition_of("{\"student_pipeline\":[],\"students\":[{}]}");
    assert_null(definition_shared(definition));
    definition_set_shared(definition, json_null());
    definition_set_shared(definition, json_loads(SHARED, 0, NULL));
    check_files(definition, JOB_STUDENT, 0, "none");
    definition_release(definition);
}

static void files_become_the_last_member_of_a_hand_out(void **state)
{
    (void)state;
    json_t *files = json_loads("[1]", 0, NULL);
    char *flat = job_files_add(bw_copy("{\"a\":{}}"), 1, files);
    assert_string_equal(flat, "{\"a\":{},\"files\":[1]}");
    char *nested = job_files_add(bw_copy("{\"b\":{\"a\":1}}"), 2, files);
    assert_string_equal(nested, "{\"b\":{\"a\":1,\"files\":[1]}}");
    char *without = job_files_add(bw_copy("{\"a\":1}"), 1, NULL);
    assert_string_equal(without, "{\"a\":1}");
    free(flat);
    free(nested);
    free(without);
    json_decref(files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(students_jobs_have_what_the_job_before_them_shares),
        cmocka_unit_test(only_the_first_answer_about_what_is_shared_is_kept),
        cmocka_unit_test(files_become_the_last_member_of_a_hand_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
