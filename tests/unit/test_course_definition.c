#include "common/domain/course_definition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/domain/run_definition.h"

#define RUN "0123456789abcdef01234567"

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    return value;
}

static json_t *make(const char *config_text, const char *run_text)
{
    struct bw_error error;
    json_t *object = NULL;
    json_auto_t *config = parse(config_text), *run = parse(run_text);
    assert_int_equal(course_definition_make("c", "a", config, run, &object, &error), BW_OK);
    return object;
}

/* A job's hand-out, parsed. */
static json_t *hand_out(const json_t *object, enum job_kind kind, uint32_t index,
                        enum course_grader grader)
{
    struct bw_error error;
    struct job_id job = {.run = RUN, .kind = kind, .index = index};
    char *text;
    assert_int_equal(course_job_payload(object, &job, grader, &text, &error), BW_OK);
    json_t *payload = parse(text);
    free(text);
    return payload;
}

static void assert_json(const json_t *value, const char *expected)
{
    json_auto_t *wanted = parse(expected);
    if (!json_equal(value, wanted)) {
        char *text = json_dumps(value, JSON_ENCODE_ANY);
        fail_msg("%s is not %s", text, expected);
    }
}

static void null_and_an_empty_list_mean_no_step(void **state)
{
    (void)state;
    json_auto_t *object = make("{\"student_pipeline\": [], \"pre_processing_pipeline\": null, "
                               "\"post_processing_pipeline\": []}",
                               "{\"students_env\": []}");
    assert_null(course_definition_pipeline(object, JOB_PRE));
    assert_null(course_definition_pipeline(object, JOB_POST));
    assert_non_null(course_definition_pipeline(object, JOB_STUDENT));
    assert_true(is_course_definition(object));
    assert_true(course_definition_is_sound(object));
}

static void env_is_merged_and_the_later_value_wins(void **state)
{
    (void)state;
    json_auto_t *object = make(
        "{\"student_pipeline\": [{\"image\": \"x\", \"env\": {\"A\": 2, \"B\": 2, \"GRADING_RUN_ID\": 0}}], "
        "\"env\": {\"A\": 1, \"C\": {\"$D\": null}}}",
        "{\"students_env\": [{}, {\"B\": 3, \"GRADING_JOB_ID\": 0}]}");
    json_auto_t *payload = hand_out(object, JOB_STUDENT, 1, COURSE_GRADER_SOCKET);
    assert_json(payload,
                "{\"grading_job_id\": \"" RUN "10000001\", \"stages\": [{\"image\": \"x\", "
                "\"env\": {\"A\": 2, \"B\": 3, \"C\": {\"$D\": null}, \"GRADING_RUN_ID\": 0, "
                "\"GRADING_JOB_ID\": \"" RUN "10000001\"}}]}");
}

static void hand_out_by_http_has_an_envelope_and_by_socket_none(void **state)
{
    (void)state;
    json_auto_t *object = make("{\"student_pipeline\": [{\"image\": \"x\", \"logs\": true}, "
                               "{\"image\": \"y\", \"logs\": false}]}",
                               "{\"students_env\": [{}]}");
    json_auto_t *wrapped = hand_out(object, JOB_STUDENT, 0, COURSE_GRADER_HTTP);
    json_auto_t *bare = hand_out(object, JOB_STUDENT, 0, COURSE_GRADER_SOCKET);
    assert_string_equal(json_string_value(json_object_get(wrapped, "status")), "success");
    const json_t *stages = json_object_get(json_object_get(wrapped, "data"), "stages");
    assert_true(json_is_true(json_object_get(json_array_get(stages, 0), "logs")));
    stages = json_object_get(bare, "stages");
    assert_null(json_object_get(json_array_get(stages, 0), "logs"));
    assert_true(json_is_false(json_object_get(json_array_get(stages, 1), "logs")));
    assert_int_equal(json_object_size(bare), 2);
}

static void jobs_that_a_run_does_not_have_are_not_found(void **state)
{
    (void)state;
    struct bw_error error;
    char *text = NULL;
    json_auto_t *object = make("{\"student_pipeline\": []}", "{\"students_env\": [{}]}");
    static const struct job_id jobs[] = {
        {RUN, JOB_STUDENT, 1}, {RUN, JOB_PRE, 0}, {RUN, JOB_POST, 0}};
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        assert_int_equal(course_job_payload(object, &jobs[i], COURSE_GRADER_HTTP, &text, &error),
                         BW_NOT_FOUND);
    assert_null(text);
}

static void env_of_a_job_shows_distinct_values_over_its_stages(void **state)
{
    (void)state;
    json_auto_t *object = make(
        "{\"student_pipeline\": [], \"post_processing_pipeline\": [{\"image\": \"x\", \"env\": {\"A\": 1, \"B\": 1}}, "
        "{\"image\": \"x\", \"env\": {\"A\": 1, \"B\": 2}}]}",
        "{\"students_env\": [], \"post_processing_env\": {\"P\": \"p\"}}");
    const struct job_id job = {RUN, JOB_POST, 0};
    json_auto_t *env = course_job_env(object, &job);
    assert_json(env,
                "{\"A\": [1], \"B\": [1, 2], \"P\": [\"p\"], \"GRADING_RUN_ID\": [\"" RUN "\"], "
                "\"GRADING_JOB_ID\": [\"" RUN "20000000\"]}");
}

struct shared {
    const json_t *object;
    int differing;
};

static void *read_shared(void *context)
{
    struct shared *shared = context;
    const struct job_id job = {RUN, JOB_STUDENT, 1};
    for (int i = 0; i < 2000; i++) {
        json_auto_t *env = course_job_env(shared->object, &job);
        shared->differing += json_object_size(env) != 4;
    }
    return NULL;
}

/* For ThreadSanitizer: replicas share the definitions in their cache. */
static void threads_may_share_a_definition(void **state)
{
    (void)state;
    json_auto_t *object = make(
        "{\"student_pipeline\": [{\"image\": \"x\", \"env\": {\"A\": \"a\"}}]}",
        "{\"students_env\": [{\"N\": \"1\"}, {\"N\": \"2\"}]}");
    struct shared shared[2] = {{.object = object}, {.object = object}};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_shared, &shared[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(shared[i].differing, 0);
    }
}

static void stored_text_is_read_back_unchanged(void **state)
{
    (void)state;
    struct bw_error error;
    json_auto_t *object = make("{\"student_pipeline\": [{\"image\": \"x\", \"timeout\": 2}], "
                               "\"pre_processing_pipeline\": [{\"image\": \"y\"}]}",
                               "{\"students_env\": [{}, {}]}");
    struct definition *definition = definition_take(object), *loaded;
    char *text = definition_text(definition);
    assert_int_equal(definition_load(text, strlen(text), NULL, &loaded, &error), BW_OK);
    assert_int_equal(definition_protocol(loaded), PROTOCOL_COURSE);
    struct definition_summary summary = definition_summary(loaded);
    assert_true(summary.has_pre && !summary.has_post && summary.student_has_stages);
    assert_int_equal(summary.students, 2);
    assert_int_equal(summary.timeout_ms[JOB_STUDENT], 2000);
    assert_true(json_equal(definition_object(loaded), object));
    definition_release(loaded);
    definition_release(definition);
    free(text);
}

static void invalid_definition_is_not_loaded(void **state)
{
    (void)state;
    struct bw_error error;
    struct definition *loaded = NULL;
    static const char *const texts[] = {
        "{\"config\": 5}", "{\"config\": {}, \"run\": {}}",
        "{\"config\": {\"student_pipeline\": [5]}, \"run\": {\"students_env\": []}}",
        "{\"config\": {\"student_pipeline\": []}, \"run\": {\"students_env\": [5]}}"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_not_equal(definition_load(texts[i], strlen(texts[i]), NULL, &loaded, &error),
                             BW_OK);
    assert_null(loaded);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(null_and_an_empty_list_mean_no_step),
        cmocka_unit_test(env_is_merged_and_the_later_value_wins),
        cmocka_unit_test(hand_out_by_http_has_an_envelope_and_by_socket_none),
        cmocka_unit_test(jobs_that_a_run_does_not_have_are_not_found),
        cmocka_unit_test(env_of_a_job_shows_distinct_values_over_its_stages),
        cmocka_unit_test(threads_may_share_a_definition),
        cmocka_unit_test(stored_text_is_read_back_unchanged),
        cmocka_unit_test(invalid_definition_is_not_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
