#include "common/domain/env.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static struct bw_error error;

/* The expanded list as text, entries separated by |; or the sentence of the refusal. */
static const char *expand(const json_t *stage, const json_t *run, const json_t *student)
{
    static char text[1024];
    json_t *list = NULL;
    memset(&error, 0, sizeof error);
    enum bw_code resolved = env_resolve(stage, run, student, "p[0].env", &error);
    enum bw_code code = env_expand(stage, run, student, "p[0].env", &list, &error);
    assert_int_equal(code, resolved);
    if (code != BW_OK) {
        assert_int_equal(code, BW_BAD_REQUEST);
        assert_null(list);
        return error.message;
    }
    size_t index, length = 0;
    json_t *entry;
    text[0] = '\0';
    json_array_foreach (list, index, entry)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%s",
                                   index > 0 ? "|" : "", json_string_value(entry));
    json_decref(list);
    return text;
}

/* The same from JSON text, in which ' stands for "; NULL: no env. */
static const char *expand_text(const char *stage, const char *run, const char *student)
{
    const char *const texts[] = {stage, run, student};
    json_t *envs[3];
    for (int i = 0; i < 3; i++) {
        char quoted[512];
        snprintf(quoted, sizeof quoted, "%s", texts[i] != NULL ? texts[i] : "null");
        for (char *at = strchr(quoted, '\''); at != NULL; at = strchr(at, '\''))
            *at = '"';
        envs[i] = json_loads(quoted, JSON_DECODE_ANY, NULL);
        assert_non_null(envs[i]);
    }
    const char *text = expand(texts[0] != NULL ? envs[0] : NULL, texts[1] != NULL ? envs[1] : NULL,
                              texts[2] != NULL ? envs[2] : NULL);
    for (int i = 0; i < 3; i++)
        json_decref(envs[i]);
    return text;
}

enum in_stage { ABSENT, EMPTY, REFERENCE, LITERAL, LONE_DOLLAR, IN_STAGE_COUNT };

/* An independent implementation of the rule: the expansion of a value of this `form`; NULL:
 * refused. X is the variable. */
static const char *expected_value(enum in_stage form, const char *run_value,
                                  const char *student_value)
{
    if (form == LITERAL)
        return "li=te$ral";
    if (form == LONE_DOLLAR)
        return NULL;
    return run_value != NULL ? run_value : student_value;
}

static void check_combination(enum in_stage form, const char *name, const char *run_value,
                              const char *student_value)
{
    static const char *const written[] = {
        [EMPTY] = "", [REFERENCE] = "$X", [LITERAL] = "li=te$ral", [LONE_DOLLAR] = "$"};
    json_t *stage = json_pack("{s:s*}", name, form == ABSENT ? NULL : written[form]);
    json_t *run = json_pack("{s:s, s:s*, s:s}", "R1", "a=b", "X", run_value, "R2", "$R1");
    json_t *student = json_pack("{s:s, s:s*, s:s}", "S1", "", "X", student_value, "S2", "=");
    char wanted[512];
    /* "" in a variable other than X refers to that variable, which has no value */
    const char *value = form == EMPTY && strcmp(name, "X") != 0
                            ? NULL
                            : expected_value(form, run_value, student_value);
    int length = snprintf(wanted, sizeof wanted,
                          "R1=a=b%s%s|R2=$R1|S1=%s%s|S2==", run_value != NULL ? "|X=" : "",
                          run_value != NULL ? run_value : "", student_value != NULL ? "|X=" : "",
                          student_value != NULL ? student_value : "");
    const char *text = expand(stage, run, student);
    if (form == ABSENT || value != NULL) {
        if (form != ABSENT)
            snprintf(wanted + length, sizeof wanted - (size_t)length, "|%s=%s", name, value);
        assert_string_equal(text, wanted);
    } else {
        assert_non_null(strstr(text, "p[0].env: "));
        assert_non_null(strstr(text, name));
        assert_non_null(strstr(text, "neither the run's nor the student's env has"));
    }
    json_decref(stage);
    json_decref(run);
    json_decref(student);
}

static void every_combination_expands_by_the_rule(void **state)
{
    (void)state;
    static const char *const names[] = {"X", "Y"};
    static const char *const run_values[] = {NULL, "run", "r=u=n", "", "$X"};
    static const char *const student_values[] = {NULL, "student", "s=", "", "$S1"};
    for (int form = ABSENT; form < IN_STAGE_COUNT; form++)
        for (size_t name = 0; name < 2; name++)
            for (size_t run = 0; run < 5; run++)
                for (size_t student = 0; student < 5; student++)
                    check_combination((enum in_stage)form, names[name], run_values[run],
                                      student_values[student]);
}

static void list_has_the_entries_of_run_student_and_stage_in_order(void **state)
{
    (void)state;
    assert_string_equal(
        expand_text("{'z':'1','a':'2','Z':'3'}", "{'y':'4','b':'5'}", "{'x':'6','c':'7'}"),
        "y=4|b=5|x=6|c=7|z=1|a=2|Z=3");
}

static void name_may_repeat_and_references_prefer_the_run(void **state)
{
    (void)state;
    assert_string_equal(expand_text("{'A':'','B':'$A'}", "{'A':'run'}", "{'A':'student'}"),
                        "A=run|A=student|A=run|B=run");
}

static void references_are_followed_once(void **state)
{
    (void)state;
    assert_string_equal(expand_text("{'A':'$B'}", "{'B':'$C','C':'c'}", NULL), "B=$C|C=c|A=$C");
    assert_string_equal(expand_text("{'A':'$B','B':'$A'}", "{'A':'$B','B':''}", NULL),
                        "A=$B|B=|A=|B=$B");
}

static void references_ignore_the_stages_own_variables(void **state)
{
    (void)state;
    assert_string_equal(
        expand_text("{'A':'1','B':'$A'}", "{}", "{}"),
        "p[0].env: B refers to 'A', which neither the run's nor the student's env has");
}

static void only_a_leading_dollar_makes_a_reference(void **state)
{
    (void)state;
    assert_string_equal(expand_text("{'A':'x$X','B':' $X'}", "{'X':'1'}", NULL), "X=1|A=x$X|B= $X");
    static const char *const stages[] = {"{'A':'$X '}",  "{'A':'${X}'}", "{'A':'$$X'}",
                                         "{'A':'$X$X'}", "{'A':'$x'}",   "{'A':'$'}"};
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++)
        assert_non_null(
            strstr(expand_text(stages[i], "{'X':'1'}", NULL), "p[0].env: A refers to '"));
}

static void without_a_student_the_error_names_only_the_run(void **state)
{
    (void)state;
    assert_string_equal(expand_text("{'NETID':''}", NULL, NULL),
                        "p[0].env: NETID refers to 'NETID', which the run's env doesn't have");
}

static void hostile_reference_is_escaped_in_the_error(void **state)
{
    (void)state;
    char value[2000] = "$\n\x1b";
    memset(value + 3, 'x', sizeof value - 4);
    json_t *stage = json_pack("{s:s}", "A", value);
    assert_non_null(strstr(expand(stage, NULL, NULL), "'\\x0a\\x1bxxx"));
    assert_true(strlen(error.message) < 200);
    json_decref(stage);
}

static void no_env_at_all_is_an_empty_list(void **state)
{
    (void)state;
    assert_string_equal(expand_text(NULL, NULL, NULL), "");
    assert_string_equal(expand_text("{}", "{}", "{}"), "");
}

static void later_entry_wins_in_the_object(void **state)
{
    (void)state;
    json_t *list = json_pack("[s,s,s,s]", "A=run", "B=x=y=", "A=student", "C=");
    json_t *object = env_object(list),
           *wanted = json_pack("{s:s,s:s,s:s}", "A", "student", "B", "x=y=", "C", "");
    assert_true(json_equal(object, wanted));
    json_decref(object);
    json_decref(wanted);
    json_decref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_combination_expands_by_the_rule),
        cmocka_unit_test(list_has_the_entries_of_run_student_and_stage_in_order),
        cmocka_unit_test(name_may_repeat_and_references_prefer_the_run),
        cmocka_unit_test(references_are_followed_once),
        cmocka_unit_test(references_ignore_the_stages_own_variables),
        cmocka_unit_test(only_a_leading_dollar_makes_a_reference),
        cmocka_unit_test(without_a_student_the_error_names_only_the_run),
        cmocka_unit_test(hostile_reference_is_escaped_in_the_error),
        cmocka_unit_test(no_env_at_all_is_an_empty_list),
        cmocka_unit_test(later_entry_wins_in_the_object),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
