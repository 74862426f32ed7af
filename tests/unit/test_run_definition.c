#include "common/domain/run_definition.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/json.h"

#define RUN "0123456789abcdef01234567"

static const struct definition_limits usual = {.allow_privileged = false,
                                               .max_job_bytes = 1024 * 1024};
static const struct definition_limits lax = {.allow_privileged = true};
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

/* Takes `object`, which is released, or says why not. */
static struct definition *take(json_t *object, const struct definition_limits *limits)
{
    struct definition *definition = NULL;
    memset(&error, 0, sizeof error);
    enum bw_code code = definition_new(object, limits, &definition, &error);
    bool is_large = strstr(error.message, "-bytes)") != NULL; /* more than a limit */
    assert_int_equal(code, definition != NULL ? BW_OK : is_large ? BW_TOO_LARGE : BW_BAD_REQUEST);
    json_decref(object);
    return definition;
}

static struct definition *make(const char *text)
{
    struct definition *definition = take(read_json(text), &usual);
    assert_string_equal(error.message, "");
    return definition;
}

/* Why `text` is refused; "" if it isn't. */
static const char *refusal(const char *text)
{
    definition_release(take(read_json(text), &usual));
    return error.message;
}

/* The same for a run whose only student stage also has `member`. */
static const char *stage_refusal(const char *member)
{
    char text[1024];
    snprintf(text, sizeof text, "{'students':[],'student_pipeline':[{'image':'i',%s}]}", member);
    return refusal(text);
}

static void assert_cases(const char *(*ask)(const char *text), const char *const cases[][2],
                         size_t count)
{
    for (size_t i = 0; i < count; i++)
        assert_string_equal(ask(cases[i][0]), cases[i][1]);
}

#define ASSERT_CASES(ask, cases) assert_cases(ask, cases, sizeof cases / sizeof *cases)

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

static void a_summary_says_what_the_run_consists_of(void **state)
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

static void an_empty_pre_or_post_pipeline_is_no_job(void **state)
{
    (void)state;
    struct definition *definition = make(
        "{'students':[],'student_pipeline':[],'preprocessing_pipeline':[],'postprocessing_pipeline':[]}");
    struct definition_summary summary = definition_summary(definition);
    assert_false(summary.has_pre || summary.has_post);
    definition_release(definition);
}

static void what_is_wrong_in_a_run_is_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"[]", "the value: must be an object, not a list"},
        {"{}", "student_pipeline: is required"},
        {"{'student_pipeline':[]}", "students: is required"},
        {"{'students':[],'student_pipeline':null}", "student_pipeline: must not be null"},
        {"{'students':{},'student_pipeline':[]}", "students: must be a list, not an object"},
        {"{'students':[{'A':''},{},{},{'NETID':7}],'student_pipeline':[]}",
         "students[3].NETID: must be a string, not a number"},
        {"{'students':[{'A':null}],'student_pipeline':[]}",
         "students[0].A: must be a string, not null"},
        {"{'students':[],'student_pipeline':[{'imge':'x'}]}",
         "student_pipeline[0]: unknown key 'imge'"},
        {"{'students':[],'student_pipeline':[{}]}", "student_pipeline[0].image: is required"},
        {"{'students':[],'student_pipeline':[],'studnets':[]}", "unknown key 'studnets'"},
        {"{'students':[],'student_pipeline':[],'env':[]}", "env: must be an object, not a list"},
        {"{'students':[],'student_pipeline':[],'env':{'a-b':''}}",
         "env: 'a-b' can't be the name of an environment variable: it must match [A-Za-z_][A-Za-z0-9_]*"},
        {"{'students':[],'student_pipeline':[],'priority':101}",
         "priority: must be between -100 and 100, not 101"},
        {"{'students':[],'student_pipeline':[],'priority':0.5}", "priority: must be an integer"},
        {"{'students':[],'student_pipeline':[],'max_attempts':0}",
         "max_attempts: must be between 1 and 10, not 0"},
        {"{'students':[],'student_pipeline':[],'name':''}", "name: must not be empty"},
        {"{'students':[],'student_pipeline':[],'name':'a\\nb'}",
         "name: must not contain control characters"},
        {"{'students':[],'student_pipeline':[],'postprocessing_pipeline':[{'image':'x'},[]]}",
         "postprocessing_pipeline[1]: must be an object, not a list"},
    };
    ASSERT_CASES(refusal, cases);
}

static void what_is_wrong_in_a_stage_is_named(void **state)
{
    (void)state;
    static const char cpus[] =
        "student_pipeline[0].cpuset_cpus: must be a list of processors, like 0-2 or 0,1";
    static const char memory[] =
        "student_pipeline[0].memory: must be a number with an optional unit b, k, m or g, like 512m";
    static const char *const cases[][2] = {
        {"'env':{'A':1}", "student_pipeline[0].env.A: must be a string, not a number"},
        {"'entrypoint':'sh'", "student_pipeline[0].entrypoint: must be a list, not a string"},
        {"'entrypoint':['sh',1]",
         "student_pipeline[0].entrypoint[1]: must be a string, not a number"},
        {"'networking':1", "student_pipeline[0].networking: must be true or false, not a number"},
        {"'host_name':''", "student_pipeline[0].host_name: must not be empty"},
        {"'timeout':0", "student_pipeline[0].timeout: must be more than 0 seconds"},
        {"'timeout':-1", "student_pipeline[0].timeout: must be between 0 and 604800, not -1"},
        {"'timeout':604801",
         "student_pipeline[0].timeout: must be between 0 and 604800, not 604801"},
        {"'timeout':'1'", "student_pipeline[0].timeout: must be a number, not a string"},
        {"'memory':'512mb'", memory},
        {"'memory':'m'", memory},
        {"'memory':'-1'", memory},
        {"'memory':512", "student_pipeline[0].memory: must be a string, not a number"},
        {"'cpuset_cpus':'all'", cpus},
        {"'cpuset_cpus':',0'", cpus},
        {"'cpuset_cpus':'0,'", cpus},
        {"'cpuset_cpus':'3-'", cpus},
        {"'cpuset_cpus':'0-1-2'", cpus},
        {"'cpuset_cpus':'2-1'", cpus},
        {"'cpuset_cpus':'123456'", cpus},
        {"'cpuset_cpus':'0 1'", cpus},
        {"'logs':'yes'", "student_pipeline[0].logs: must be true or false, not a string"},
        {"'enable_networking':true,'networking':false",
         "student_pipeline[0]: 'enable_networking' and 'networking' mean the same, but differ"},
        {"'host_name':'a','hostname':'b'",
         "student_pipeline[0]: 'host_name' and 'hostname' mean the same, but differ"},
    };
    ASSERT_CASES(stage_refusal, cases);
}

static void what_a_stage_may_say_is_taken(void **state)
{
    (void)state;
    static const char *const members[] = {
        "'env':{}",
        "'entrypoint':[]",
        "'entrypoint':['']",
        "'enable_networking':true,'networking':true",
        "'host_name':'a','hostname':'a'",
        "'timeout':0.5",
        "'timeout':604800",
        "'memory':'512'",
        "'memory':'1G'",
        "'memory':'64m'",
        "'cpuset_cpus':'0-2,4'",
        "'privileged':false",
        "'logs':false",
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++)
        assert_string_equal(stage_refusal(members[i]), "");
}

static void privileged_is_refused_unless_the_operator_allows_it(void **state)
{
    (void)state;
    static const char text[] =
        "{'students':[],'student_pipeline':[{'image':'i','privileged':true}]}";
    assert_non_null(strstr(refusal(text), "student_pipeline[0].privileged: "));
    assert_non_null(strstr(error.message, "--allow-privileged"));
    struct definition *definition = take(read_json(text), &lax);
    assert_non_null(definition);
    definition_release(definition);
}

static void a_reference_that_nothing_resolves_is_named_with_its_place(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{'env':{'A':''},'students':[{'NETID':'a','B':''},{'NETID':'b'}],"
         "'student_pipeline':[{'image':'i','env':{'NETID':''}},{'image':'i','env':{'X':'$A','Y':'$B'}}]}",
         "student_pipeline[1].env, student 1: Y refers to 'B', which neither the run's nor the student's env has"},
        {"{'students':[{'NETID':'a'}],'student_pipeline':[],'preprocessing_pipeline':[{'image':'i','env':{'NETID':''}}]}",
         "preprocessing_pipeline[0].env: NETID refers to 'NETID', which the run's env doesn't have"},
        {"{'students':[],'student_pipeline':[],'postprocessing_pipeline':[{'image':'i'},{'image':'i','env':{'A':'$'}}]}",
         "postprocessing_pipeline[1].env: A refers to '', which the run's env doesn't have"},
    };
    ASSERT_CASES(refusal, cases);
}

static void with_no_students_their_pipeline_is_not_resolved(void **state)
{
    (void)state;
    assert_string_equal(
        refusal(
            "{'students':[],'student_pipeline':[{'image':'i','env':{'A':'$NOWHERE','B':'$'}}]}"),
        "");
}

/* Why a run is refused whose stage refers `times` times to a value of 2,000 bytes in the env of
 * `owner`. */
static const char *refusal_of_references(int times, const char *owner)
{
    char value[2001], name[16];
    memset(value, 'v', 2000);
    value[2000] = '\0';
    json_t *env = json_object();
    for (int i = 0; i < times; i++) {
        snprintf(name, sizeof name, "N%d", i);
        json_object_set_new(env, name, json_string("$BIG"));
    }
    bool is_run = strcmp(owner, "run") == 0;
    json_t *has_it = json_pack("{s:s}", "BIG", value), *has_not = json_object();
    json_t *object = json_pack("{s:o, s:[o], s:[{s:s, s:o}]}", "env", is_run ? has_it : has_not,
                               "students", is_run ? has_not : has_it, "student_pipeline", "image",
                               "i", "env", env);
    definition_release(take(object, &usual));
    return error.message;
}

static void a_jobs_environments_are_bounded_as_they_will_be_expanded(void **state)
{
    (void)state;
    static const char *const owners[] = {"run", "student"};
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(refusal_of_references(500, owners[i]), "");
        const char *refusal = refusal_of_references(600, owners[i]);
        assert_non_null(
            strstr(refusal, "student_pipeline[0].env, student 0: the job's stages take 12"));
        assert_non_null(strstr(refusal, "the limit is 1048576 (--max-job-bytes)"));
    }
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
    assert_int_equal(definition_load(written, strlen(written), &loaded, &error), BW_OK);
    char *again = definition_text(loaded);
    assert_string_equal(again, text);
    assert_int_equal(definition_size(loaded), definition_size(definition));
    assert_true(definition_size(loaded) > strlen(text));
    free(again);
    free(written);
    definition_release(loaded);
    definition_release(definition);
}

static void what_is_stored_is_not_judged_again_but_must_be_a_run(void **state)
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
        assert_int_equal(definition_load(good[i], strlen(good[i]), &definition, &error), BW_OK);
        definition_release(definition);
    }
    definition = NULL;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(definition_load(bad[i], strlen(bad[i]), &definition, &error),
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

static void a_job_that_the_run_has_not_is_not_found(void **state)
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
    json_t *stages = definition_student_stages(definition, 1);
    json_t *wanted = read_json(
        "[{'image':'one','env':{'R':'mine','NETID':'b=c','X':'run','L':'l'},'timeout':2.5,'host_name':'h'},"
        "{'entrypoint':['sh','-c'],'image':'two','env':{'R':'mine','NETID':'b=c'}}]");
    assert_true(json_equal(stages, wanted));
    assert_null(definition_student_stages(definition, 2));
    json_decref(stages);
    json_decref(wanted);
    definition_release(definition);
}

static void a_definition_lives_as_long_as_it_is_held(void **state)
{
    (void)state;
    struct definition *definition = make(whole_run);
    assert_ptr_equal(definition_hold(definition), definition);
    definition_release(definition);
    assert_int_equal(definition_summary(definition).students, 2);
    definition_release(definition);
    definition_release(NULL);
}

static json_t *class_of(size_t students, size_t stages, size_t references)
{
    json_t *list = json_array(), *pipeline = json_array();
    for (size_t i = 0; i < students; i++) {
        char id[32];
        snprintf(id, sizeof id, "student-%zu", i);
        json_array_append_new(list, json_pack("{s:s, s:s}", "NETID", id, "SECTION", "B"));
    }
    for (size_t i = 0; i < stages; i++) {
        json_t *env = json_object();
        for (size_t j = 0; j < references; j++) {
            char name[32];
            snprintf(name, sizeof name, "V%zu", j);
            json_object_set_new(env, name, json_string(j % 2 == 0 ? "$NETID" : "$COURSE"));
        }
        json_array_append_new(pipeline, json_pack("{s:s, s:o}", "image", "alpine", "env", env));
    }
    return json_pack("{s:{s:s}, s:o, s:o}", "env", "COURSE", "cs", "students", list,
                     "student_pipeline", pipeline);
}

static int64_t milliseconds_to_take(size_t students, size_t stages, size_t references)
{
    json_t *object = class_of(students, stages, references);
    int64_t start_ms = clock_boot_ms();
    struct definition *definition = take(object, &usual);
    int64_t took_ms = clock_boot_ms() - start_ms;
    assert_non_null(definition);
    definition_release(definition);
    print_message("%zu students, %zu stages of %zu references: %lld ms\n", students, stages,
                  references, (long long)took_ms);
    return took_ms;
}

static void a_large_class_is_checked_quickly(void **state)
{
    (void)state;
    assert_true(milliseconds_to_take(10000, 5, 10) < 1000);
    assert_true(milliseconds_to_take(100000, 100, 100) < 10000); /* 10^9 references */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_run_has_no_job),
        cmocka_unit_test(a_summary_says_what_the_run_consists_of),
        cmocka_unit_test(an_empty_pre_or_post_pipeline_is_no_job),
        cmocka_unit_test(what_is_wrong_in_a_run_is_named),
        cmocka_unit_test(what_is_wrong_in_a_stage_is_named),
        cmocka_unit_test(what_a_stage_may_say_is_taken),
        cmocka_unit_test(privileged_is_refused_unless_the_operator_allows_it),
        cmocka_unit_test(a_reference_that_nothing_resolves_is_named_with_its_place),
        cmocka_unit_test(with_no_students_their_pipeline_is_not_resolved),
        cmocka_unit_test(a_jobs_environments_are_bounded_as_they_will_be_expanded),
        cmocka_unit_test(the_text_is_what_was_submitted_in_its_order),
        cmocka_unit_test(what_is_stored_is_not_judged_again_but_must_be_a_run),
        cmocka_unit_test(a_students_job_carries_its_stages_with_their_expanded_env_in_place),
        cmocka_unit_test(pre_and_post_processing_carry_the_students),
        cmocka_unit_test(a_stage_without_any_env_has_an_empty_list),
        cmocka_unit_test(a_job_that_the_run_has_not_is_not_found),
        cmocka_unit_test(a_status_shows_the_stages_with_env_as_an_object),
        cmocka_unit_test(a_definition_lives_as_long_as_it_is_held),
        cmocka_unit_test(a_large_class_is_checked_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
