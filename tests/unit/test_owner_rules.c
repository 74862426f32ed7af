#include "common/domain/owner_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    return value;
}

static enum job_owner decide(const char *rules_text, const char *result_text, enum job_kind kind,
                             int *rule)
{
    json_t *rules = parse(rules_text), *result = parse(result_text);
    struct failure failure;
    failure_read(result, kind, &failure);
    enum job_owner owner = owner_rules_decide(rules, &failure, rule);
    json_decref(rules);
    json_decref(result);
    return owner;
}

#define SECOND_STAGE "{\"stages\": [{\"exit_code\": 0}, {\"exit_code\": 75, \"signal\": 9}]}"

static void a_rule_fits_if_all_that_it_names_fits(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *result;
        bool fits;
    } rows[] = {
        {"{}", "\"any\"", true},
        {"{\"kind\": \"student\"}", "\"any\"", true},
        {"{\"kind\": \"preprocessing\"}", "\"any\"", false},
        {"{\"exit_code\": 75}", SECOND_STAGE, true},
        {"{\"exit_code\": 74}", SECOND_STAGE, false},
        {"{\"exit_code\": [70, 75]}", SECOND_STAGE, true},
        {"{\"exit_code\": [76, 80]}", SECOND_STAGE, false},
        {"{\"exit_code\": 0}", "\"any\"", false},
        {"{\"exit_code\": 0}", "[{\"exit_code\": null, \"error\": \"no such image\"}]", false},
        {"{\"stage\": 1}", SECOND_STAGE, true},
        {"{\"stage\": 0}", SECOND_STAGE, false},
        {"{\"stage\": 0}", "\"any\"", false},
        {"{\"stage\": 1, \"exit_code\": 75, \"signal\": 9}", SECOND_STAGE, true},
        {"{\"stage\": 1, \"exit_code\": 75, \"signal\": 11}", SECOND_STAGE, false},
        {"{\"timed_out\": true}", "[{\"exit_code\": 137, \"timed_out\": true}]", true},
        {"{\"timed_out\": true}", SECOND_STAGE, false},
        {"{\"timed_out\": false}", SECOND_STAGE, true},
        {"{\"timed_out\": false}", "\"any\"", false},
        {"{\"oom_killed\": true}", "[{\"exit_code\": 137, \"oom_killed\": true}]", true},
        {"{\"oom_killed\": true}", "[{\"exit_code\": 137, \"oom_killed\": 1}]", false},
        {"{\"exit_code\": 75}", "[{\"stages\": [{\"exit_code\": 75}]}]", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char rules[200];
        int rule;
        snprintf(rules, sizeof rules, "[{\"owner\": \"infrastructure\"%s%s]",
                 strcmp(rows[i].rule, "{}") == 0 ? "" : ", ", rows[i].rule + 1);
        enum job_owner owner = decide(rules, rows[i].result, JOB_STUDENT, &rule);
        if (owner != (rows[i].fits ? OWNER_INFRASTRUCTURE : OWNER_STUDENT) ||
            rule != (rows[i].fits ? 0 : -1))
            fail_msg("%s of %s", rules, rows[i].result);
    }
}

static void the_first_rule_that_fits_decides(void **state)
{
    (void)state;
    static const char rules[] =
        "[{\"exit_code\": 1, \"owner\": \"course\"}, {\"exit_code\": [1, 2], \"owner\": \"student\"},"
        " {\"owner\": \"infrastructure\"}]";
    int rule;
    assert_int_equal(decide(rules, "[{\"exit_code\": 1}]", JOB_STUDENT, &rule), OWNER_COURSE);
    assert_int_equal(rule, 0);
    assert_int_equal(decide(rules, "[{\"exit_code\": 2}]", JOB_PRE, &rule), OWNER_STUDENT);
    assert_int_equal(rule, 1);
    assert_int_equal(decide(rules, "\"broken\"", JOB_POST, &rule), OWNER_INFRASTRUCTURE);
    assert_int_equal(rule, 2);
}

static void without_a_rule_the_kind_of_the_job_decides(void **state)
{
    (void)state;
    struct failure failure;
    int rule;
    failure_read(NULL, JOB_POST, &failure);
    assert_int_equal(owner_rules_decide(NULL, &failure, &rule), OWNER_COURSE);
    assert_int_equal(rule, -1);
    assert_int_equal(decide("[]", "[{\"exit_code\": 1}]", JOB_STUDENT, &rule), OWNER_STUDENT);
}

static void rules_are_checked(void **state)
{
    (void)state;
    static const struct json_field fields[] = {{.name = OWNER_RULES_KEY,
                                                .kind = FIELD_LIST,
                                                .maximum = OWNER_RULES_MAX,
                                                .fields = owner_rule_fields},
                                               {.name = NULL}};
    static const struct {
        const char *rule, *sentence; /* NULL: accepted */
    } rows[] = {
        {"{\"owner\": \"student\"}", NULL},
        {"{\"owner\": \"course\", \"stage\": 0, \"exit_code\": [0, 255], \"signal\": 64}", NULL},
        {"{\"owner\": \"infrastructure\", \"kind\": \"postprocessing\", \"timed_out\": false}",
         NULL},
        {"{}", "owner_rules[0].owner: is required"},
        {"{\"owner\": \"client\"}", "owner_rules[0].owner: 'client' is not one of student, course"},
        {"{\"owner\": \"student\", \"kind\": \"x\"}", "owner_rules[0].kind: 'x' is not one of pre"},
        {"{\"owner\": \"student\", \"stage\": 100}", "owner_rules[0].stage: "},
        {"{\"owner\": \"student\", \"stage\": \"first\"}", "owner_rules[0].stage: "},
        {"{\"owner\": \"student\", \"exit_code\": 256}",
         "owner_rules[0].exit_code: must be an integer from 0 to 255, or a list of two"},
        {"{\"owner\": \"student\", \"exit_code\": [2, 1]}", "owner_rules[0].exit_code: must be"},
        {"{\"owner\": \"student\", \"exit_code\": [1]}", "owner_rules[0].exit_code: must be"},
        {"{\"owner\": \"student\", \"exit_code\": null}", "owner_rules[0].exit_code: must be"},
        {"{\"owner\": \"student\", \"signal\": 0}", "owner_rules[0].signal: "},
        {"{\"owner\": \"student\", \"timed_out\": 1}", "owner_rules[0].timed_out: "},
        {"{\"owner\": \"student\", \"exit\": 1}", "owner_rules[0]: unknown key 'exit'"},
        {"\"student\"", "owner_rules[0]: must be an object"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bw_error error = {""};
        json_t *object = json_pack("{s:[o]}", OWNER_RULES_KEY, parse(rows[i].rule));
        enum bw_code code = json_check(object, fields, "", NULL, &error);
        bool is_right = rows[i].sentence == NULL
                            ? code == BW_OK
                            : code == BW_BAD_REQUEST &&
                                  strstr(error.message, rows[i].sentence) == error.message;
        if (!is_right)
            fail_msg("%s: %s", rows[i].rule, error.message);
        json_decref(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rule_fits_if_all_that_it_names_fits),
        cmocka_unit_test(the_first_rule_that_fits_decides),
        cmocka_unit_test(without_a_rule_the_kind_of_the_job_decides),
        cmocka_unit_test(rules_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
