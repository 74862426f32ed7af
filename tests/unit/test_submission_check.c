/* What a submission of the classic protocol may contain, checked as the API does: by
 * definition_new. */
#include "common/domain/submission_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/domain/run_definition.h"

static const struct submission_limits usual = {.allow_privileged = false,
                                               .max_job_bytes = 1024 * 1024};
static const struct submission_limits lax = {.allow_privileged = true};
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
static struct definition *take(json_t *object, const struct submission_limits *limits)
{
    struct definition *definition = NULL;
    memset(&error, 0, sizeof error);
    enum bw_code code = definition_new(object, limits, &definition, &error);
    bool is_large = strstr(error.message, "-bytes)") != NULL; /* more than a limit */
    assert_int_equal(code, definition != NULL ? BW_OK : is_large ? BW_TOO_LARGE : BW_BAD_REQUEST);
    json_decref(object);
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
    static const char cpuset[] =
        "student_pipeline[0].cpuset_cpus: must be a list of processors, like 0-2 or 0,1";
    static const char memory[] =
        "student_pipeline[0].memory: must be a number with an optional unit b, k, m or g, like 512m";
    static const char disk[] =
        "student_pipeline[0].disk: must be a number with an optional unit b, k, m or g, like 512m";
    static const char results[] = "student_pipeline[0].results: must be the path of a file in a "
                                  "directory, of letters, digits, '.', '_' and '-', like "
                                  "/job/results.json";
    static const char user[] = "student_pipeline[0].user: must be a user, or a user and a group, "
                               "by name or number, like 1000:1000 or nobody";
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
        {"'cpuset_cpus':'all'", cpuset},
        {"'cpuset_cpus':',0'", cpuset},
        {"'cpuset_cpus':'0,'", cpuset},
        {"'cpuset_cpus':'3-'", cpuset},
        {"'cpuset_cpus':'0-1-2'", cpuset},
        {"'cpuset_cpus':'2-1'", cpuset},
        {"'cpuset_cpus':'123456'", cpuset},
        {"'cpuset_cpus':'0 1'", cpuset},
        {"'cpus':0", "student_pipeline[0].cpus: must be between 0.01 and 1024, not 0"},
        {"'cpus':0.009", "student_pipeline[0].cpus: must be between 0.01 and 1024, not 0.009"},
        {"'cpus':-1", "student_pipeline[0].cpus: must be between 0.01 and 1024, not -1"},
        {"'cpus':1024.5", "student_pipeline[0].cpus: must be between 0.01 and 1024, not 1024.5"},
        {"'cpus':'2'", "student_pipeline[0].cpus: must be a number, not a string"},
        {"'cpus':null", "student_pipeline[0].cpus: must not be null"},
        {"'pids':0", "student_pipeline[0].pids: must be between 1 and 4194304, not 0"},
        {"'pids':4194305", "student_pipeline[0].pids: must be between 1 and 4194304, not 4194305"},
        {"'pids':1.5", "student_pipeline[0].pids: must be an integer"},
        {"'pids':true", "student_pipeline[0].pids: must be an integer, not true"},
        {"'disk':'1t'", disk},
        {"'disk':'0.5g'", disk},
        {"'disk':''", "student_pipeline[0].disk: must not be empty"},
        {"'disk':512", "student_pipeline[0].disk: must be a string, not a number"},
        {"'user':''", "student_pipeline[0].user: must not be empty"},
        {"'user':1000", "student_pipeline[0].user: must be a string, not a number"},
        {"'user':'-1'", user},
        {"'user':'.'", user},
        {"'user':'a b'", user},
        {"'user':'a\\n'", user},
        {"'user':'ü'", user},
        {"'user':':0'", user},
        {"'user':'0:'", user},
        {"'user':'0:-'", user},
        {"'user':'0:0:0'", user},
        {"'results':''", "student_pipeline[0].results: must not be empty"},
        {"'results':true", "student_pipeline[0].results: must be a string, not true"},
        {"'results':'results.json'", results},
        {"'results':'/results.json'", results},
        {"'results':'/job/'", results},
        {"'results':'/job//a'", results},
        {"'results':'/job/./a'", results},
        {"'results':'/job/../a'", results},
        {"'results':'/job/..'", results},
        {"'results':'/job/a,b'", results},
        {"'results':'/job/a b'", results},
        {"'read_only':'yes'", "student_pipeline[0].read_only: must be true or false, not a string"},
        {"'secret_env':'A'", "student_pipeline[0].secret_env: must be a list, not a string"},
        {"'secret_env':['A','']",
         "student_pipeline[0].secret_env: '' can't be the name of an environment variable: it "
         "must have 1 to 255 bytes, and no '='"},
        {"'secret_env':['A=b']",
         "student_pipeline[0].secret_env: 'A=b' can't be the name of an environment variable: it "
         "must have 1 to 255 bytes, and no '='"},
        {"'logs':'yes'", "student_pipeline[0].logs: must be true or false, not a string"},
        {"'enable_networking':true,'networking':false",
         "student_pipeline[0]: 'enable_networking' and 'networking' mean the same, but differ"},
        {"'host_name':'a','hostname':'b'",
         "student_pipeline[0]: 'host_name' and 'hostname' mean the same, but differ"},
    };
    ASSERT_CASES(stage_refusal, cases);
}

static void user_is_at_most_256_bytes_long(void **state)
{
    char member[300];
    (void)state;
    snprintf(member, sizeof member, "'user':'%0256d'", 1);
    assert_string_equal(stage_refusal(member), "");
    snprintf(member, sizeof member, "'user':'%0257d'", 1);
    assert_string_equal(stage_refusal(member), "student_pipeline[0].user: must be at most 256 "
                                               "bytes long, not 257");
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
        "'cpus':0.01",
        "'cpus':1024",
        "'pids':1",
        "'pids':4194304",
        "'disk':'10g'",
        "'user':'1000'",
        "'user':'1000:1000'",
        "'user':'www-data:_x.y'",
        "'read_only':true",
        "'results':'/job/results.json'",
        "'results':'/a/..b/...'",
        "'secret_env':['TOKEN','a.b']",
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
        cmocka_unit_test(what_is_wrong_in_a_run_is_named),
        cmocka_unit_test(what_is_wrong_in_a_stage_is_named),
        cmocka_unit_test(user_is_at_most_256_bytes_long),
        cmocka_unit_test(what_a_stage_may_say_is_taken),
        cmocka_unit_test(privileged_is_refused_unless_the_operator_allows_it),
        cmocka_unit_test(a_reference_that_nothing_resolves_is_named_with_its_place),
        cmocka_unit_test(with_no_students_their_pipeline_is_not_resolved),
        cmocka_unit_test(a_jobs_environments_are_bounded_as_they_will_be_expanded),
        cmocka_unit_test(a_large_class_is_checked_quickly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
