#include "common/domain/run_definition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"

#define RUN "0123456789abcdef01234567"

static struct bw_error error;

/* Reads JSON text in which ' stands for ". */
static json_t *read_json(const char *text)
{
    char *quoted = strdup(text);
    for (char *at = strchr(quoted, '\''); at != NULL; at = strchr(at, '\''))
        *at = '"';
    json_t *value = json_loads(quoted, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    free(quoted);
    return value;
}

static struct definition *make(const char *text)
{
    const struct submission_limits limits = {.max_job_bytes = 1024 * 1024};
    struct definition *definition = NULL;
    json_t *object = read_json(text);
    assert_int_equal(definition_new(object, &limits, &definition, &error), BW_OK);
    json_decref(object);
    return definition;
}

static void the_least_run_has_no_job(void **state)
{
    (void)state;
    struct definition *definition = make("{'students':[],'student_pipeline':[]}");
    struct definition_summary summary = definition_summary(definition);
    assert_false(summary.has_pre || summary.has_post || summary.student_has_stages);
    assert_int_equal(summary.students, 0);
    assert_int_equal(summary.priority, 0);
    assert_int_equal(summary.max_attempts, 0);
    assert_null(summary.name);
    definition_release(definition);
}

static void summary_describes_the_run(void **state)
{
    (void)state;
    struct definition *definition = make(
        "{'name':'hw1','priority':-100,'max_attempts':10,'students':[{},{}],"
        "'preprocessing_pipeline':[{'image':'a','timeout':1.0001},{'image':'b','timeout':2}],"
        "'student_pipeline':[{'image':'a','timeout':30},{'image':'b'}],"
        "'postprocessing_pipeline':[{'image':'c'}]}");
    struct definition_summary summary = definition_summary(definition);
    assert_true(summary.has_pre && summary.has_post && summary.student_has_stages);
    assert_int_equal(summary.students, 2);
    assert_int_equal(summary.priority, -100);
    assert_int_equal(summary.max_attempts, 10);
    assert_string_equal(summary.name, "hw1");
    assert_int_equal(summary.timeout_ms[JOB_PRE], 3001);
    assert_int_equal(summary.timeout_ms[JOB_STUDENT], 30000);
    assert_int_equal(summary.timeout_ms[JOB_POST], 0);
    assert_int_equal(summary.untimed_stages[JOB_PRE], 0);
    assert_int_equal(summary.untimed_stages[JOB_STUDENT], 1);
    assert_int_equal(summary.untimed_stages[JOB_POST], 1);
    definition_release(definition);
}

static void empty_pre_or_post_pipeline_has_no_job(void **state)
{
    (void)state;
    struct definition *definition = make(
        "{'students':[],'student_pipeline':[],'preprocessing_pipeline':[],'postprocessing_pipeline':[]}");
    struct definition_summary summary = definition_summary(definition);
    assert_false(summary.has_pre || summary.has_post);
    definition_release(definition);
}

static void the_text_is_what_was_submitted_in_its_order(void **state)
{
    (void)state;
    static const char text[] =
        "{\"students\":[{\"z\":\"1\",\"a\":\"2\"}],\"name\":\"ü\",\"env\":{},"
        "\"student_pipeline\":[{\"timeout\":1.5,\"image\":\"i\",\"env\":{\"z\":\"\",\"B\":\"x\"}}]}";
    struct definition *definition = make(text), *loaded = NULL;
    char *written = definition_text(definition);
    assert_string_equal(written, text);
    assert_int_equal(definition_load(written, strlen(written), NULL, &loaded, &error), BW_OK);
    char *again = definition_text(loaded);
    assert_string_equal(again, text);
    assert_int_equal(definition_size(loaded), definition_size(definition));
    assert_true(definition_size(loaded) > strlen(text));
    free(again);
    free(written);
    definition_release(loaded);
    definition_release(definition);
}

static void stored_definition_is_not_checked_again_but_must_be_a_run(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{\"students\":[],\"student_pipeline\":[{\"image\":\"i\",\"privileged\":true}]}",
        "{\"students\":[],\"student_pipeline\":[],\"a_later_key\":[1]}",
    };
    static const char *const bad[] = {
        "",
        "[]",
        "null",
        "{}",
        "{\"students\":[]}",
        "{\"students\":{},\"student_pipeline\":[]}",
        "{\"students\":[1],\"student_pipeline\":[]}",
        "{\"students\":[{\"A\":1}],\"student_pipeline\":[]}",
        "{\"students\":[],\"student_pipeline\":[1]}",
        "{\"students\":[],\"student_pipeline\":[{\"env\":[]}]}",
        "{\"students\":[],\"student_pipeline\":[],\"env\":{\"A\":null}}",
        "{\"students\":[],\"student_pipeline\":[],\"preprocessing_pipeline\":{}}",
    };
    struct definition *definition = NULL;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(definition_load(good[i], strlen(good[i]), NULL, &definition, &error),
                         BW_OK);
        definition_release(definition);
    }
    definition = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(definition_load(bad[i], strlen(bad[i]), NULL, &definition, &error),
                         BW_BAD_REQUEST);
    assert_null(definition);
}

static const char whole_run[] =
    "{'env':{'R':'run'},'students':[{'NETID':'a'},{'NETID':'b=c','R':'mine'}],"
    "'preprocessing_pipeline':[{'image':'pre'}],"
    "'student_pipeline':[{'image':'one','env':{'NETID':'','X':'$R','L':'l'},'timeout':2.5,'host_name':'h'},"
    "{'entrypoint':['sh','-c'],'image':'two'}],"
    "'postprocessing_pipeline':[{'env':{'A':'$R'},'image':'post'}]}";

static void assert_payload(const char *text, enum job_kind kind, uint32_t index, const char *wanted)
{
    struct definition *definition = make(text);
    struct job_id job = {.run = RUN, .kind = kind, .index = index};
    char *payload = NULL, *quoted = strdup(wanted);
    for (char *at = strchr(quoted, '\''); at != NULL; at = strchr(at, '\''))
        *at = '"';
    assert_int_equal(definition_job_payload(definition, &job, 2, &payload, &error), BW_OK);
    assert_string_equal(payload, quoted);
    free(payload);
    free(quoted);
    definition_release(definition);
}

static void a_students_job_carries_its_stages_with_their_expanded_env_in_place(void **state)
{
    (void)state;
    assert_payload(
        whole_run, JOB_STUDENT, 1,
        "{'job_id':'" RUN "10000001','attempt':2,'stages':["
        "{'image':'one','env':['R=run','NETID=b=c','R=mine','NETID=b=c','X=run','L=l'],'timeout':2.5,'host_name':'h'},"
        "{'entrypoint':['sh','-c'],'image':'two','env':['R=run','NETID=b=c','R=mine']}]}");
}

static void pre_and_post_processing_carry_the_students(void **state)
{
    (void)state;
    assert_payload(whole_run, JOB_PRE, 0,
                   "{'job_id':'" RUN
                   "00000000','attempt':2,'stages':[{'image':'pre','env':['R=run']}],"
                   "'students':[{'NETID':'a'},{'NETID':'b=c','R':'mine'}]}");
    assert_payload(whole_run, JOB_POST, 0,
                   "{'job_id':'" RUN
                   "20000000','attempt':2,'stages':[{'env':['R=run','A=run'],'image':'post'}],"
                   "'students':[{'NETID':'a'},{'NETID':'b=c','R':'mine'}]}");
}

static void a_stage_without_any_env_has_an_empty_list(void **state)
{
    (void)state;
    assert_payload("{'students':[{}],'student_pipeline':[{'image':'i'}]}", JOB_STUDENT, 0,
                   "{'job_id':'" RUN "10000000','attempt':2,'stages':[{'image':'i','env':[]}]}");
}

static void missing_job_is_not_found(void **state)
{
    (void)state;
    struct definition *definition = make(
        "{'students':[{}],'student_pipeline':[],'preprocessing_pipeline':[]}");
    const struct job_id jobs[] = {{RUN, JOB_STUDENT, 1}, {RUN, JOB_PRE, 0}, {RUN, JOB_POST, 0}};
    char *payload = NULL;
    for (size_t i = 0; i < sizeof jobs / sizeof *jobs; i++)
        assert_int_equal(definition_job_payload(definition, &jobs[i], 1, &payload, &error),
                         BW_NOT_FOUND);
    assert_null(payload);
    definition_release(definition);
}

static void a_status_shows_the_stages_with_env_as_an_object(void **state)
{
    (void)state;
    struct definition *definition = make(whole_run);
    json_t *stages = definition_student_stages(definition, "", 1);
    json_t *wanted = read_json(
        "[{'image':'one','env':{'R':'mine','NETID':'b=c','X':'run','L':'l'},'timeout':2.5,'host_name':'h'},"
        "{'entrypoint':['sh','-c'],'image':'two','env':{'R':'mine','NETID':'b=c'}}]");
    assert_true(json_equal(stages, wanted));
    assert_null(definition_student_stages(definition, "", 2));
    json_decref(stages);
    json_decref(wanted);
    definition_release(definition);
}

static void definition_is_kept_while_referenced(void **state)
{
    (void)state;
    struct definition *definition = make(whole_run);
    assert_ptr_equal(definition_hold(definition), definition);
    definition_release(definition);
    assert_int_equal(definition_summary(definition).students, 2);
    definition_release(definition);
    definition_release(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_run_has_no_job),
        cmocka_unit_test(summary_describes_the_run),
        cmocka_unit_test(empty_pre_or_post_pipeline_has_no_job),
        cmocka_unit_test(the_text_is_what_was_submitted_in_its_order),
        cmocka_unit_test(stored_definition_is_not_checked_again_but_must_be_a_run),
        cmocka_unit_test(a_students_job_carries_its_stages_with_their_expanded_env_in_place),
        cmocka_unit_test(pre_and_post_processing_carry_the_students),
        cmocka_unit_test(a_stage_without_any_env_has_an_empty_list),
        cmocka_unit_test(missing_job_is_not_found),
        cmocka_unit_test(a_status_shows_the_stages_with_env_as_an_object),
        cmocka_unit_test(definition_is_kept_while_referenced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
