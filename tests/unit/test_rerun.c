#include "common/domain/rerun.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

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

static const enum job_outcome outcomes[] = {OUTCOME_SUCCEEDED, OUTCOME_FAILED, OUTCOME_CANCELLED,
                                            OUTCOME_NONE, OUTCOME_FAILED};

/* Selects among five students; writes the positions as digits. BW_OK or the refusal. */
static enum bw_code select_of_five(const char *request, char positions[8])
{
    json_t *asked = read_json(request),
           *students = read_json("[{'N':'a'},{'N':'b','T':1},{'N':'c'},{'N':'a','T':1},{}]");
    uint32_t *selected, count;
    enum bw_code code = json_check(asked, rerun_fields, "", NULL, &error);
    if (code == BW_OK)
        code = rerun_select(asked, students, outcomes, &selected, &count, &error);
    if (code == BW_OK) {
        for (uint32_t i = 0; i < count; i++)
            positions[i] = (char)('0' + selected[i]);
        positions[count] = '\0';
        free(selected);
    }
    json_decref(asked);
    json_decref(students);
    return code;
}

static void students_are_selected_by_outcome_position_or_environment(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"{'select':'all'}", "01234"},
        {"{'select':'failed'}", "14"},
        {"{'select':'cancelled'}", "2"},
        {"{'signature':'0123456789abcdef'}", "14"}, /* whose outcomes were filtered before */
        {"{'students':[4,0,4]}", "04"},
        {"{'students':[{'N':'a'}]}", "03"},
        {"{'students':[{'N':'a','T':1},1]}", "13"},
        {"{'students':[{'T':1},{'N':'b'}],'priority':5}", "13"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char positions[8];
        assert_int_equal(select_of_five(pairs[i][0], positions), BW_OK);
        assert_string_equal(positions, pairs[i][1]);
    }
}

static void wrong_requests_are_refused_with_their_reason(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"{}", "exactly one"},
        {"{'select':'all','students':[1]}", "exactly one"},
        {"{'select':'some'}", "select: must be all, failed or cancelled"},
        {"{'select':'all','signature':'0123456789abcdef'}", "exactly one"},
        {"{'signature':'0123'}", "signature: must be the signature of a failure: 16 hex digits"},
        {"{'students':[5]}", "students[0]: the grading run has no such student"},
        {"{'students':[0,{'N':'z'}]}", "students[1]: the grading run has no such student"},
        {"{'students':[{'N':'a','T':2}]}", "students[0]: the grading run has no such student"},
        {"{'students':[]}", "no student"},
        {"{'students':[1.5]}", "students[0]: must be the position"},
        {"{'students':[null]}", "students[0]: must be the position"},
        {"{'students':{}}", "students: must be a list, not an object"},
        {"{'select':'all','priority':-101}", "priority"},
        {"{'select':'all','class':'now'}", "class: must be exam, interactive, normal or batch"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char positions[8];
        assert_int_equal(select_of_five(pairs[i][0], positions), BW_BAD_REQUEST);
        assert_non_null(strstr(error.message, pairs[i][1]));
    }
}

static void priority_is_ten_below_the_earlier_run_unless_it_is_stated(void **state)
{
    (void)state;
    json_t *stated = read_json("{'priority':7}"), *unstated = read_json("{}");
    assert_int_equal(rerun_priority(stated, 0), 7);
    assert_int_equal(rerun_priority(unstated, 0), -10);
    assert_int_equal(rerun_priority(unstated, 100), 90);
    assert_int_equal(rerun_priority(unstated, -95), -100);
    json_decref(stated);
    json_decref(unstated);
}

/* The definition of a rerun of the students at 1 and 2 of a run in either protocol's form. */
static struct definition *rerun_of(const char *earlier_text, const char *request_text)
{
    static const uint32_t selected[] = {1, 2};
    json_t *earlier_object = read_json(earlier_text), *request = read_json(request_text);
    struct definition *earlier = definition_take(earlier_object);
    json_t *object = rerun_object(earlier, selected, 2);
    assert_null(json_object_get(object, "rerun"));
    struct definition *rerun = rerun_define(object, "0123456789abcdef01234567", request, selected,
                                            2);
    assert_int_equal(definition_summary(earlier).students, 3);
    json_decref(object);
    json_decref(request);
    json_decref(earlier_object);
    definition_release(earlier);
    return rerun;
}

static void definition_of_a_rerun_has_the_selected_students_and_their_positions(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "{'students':[{'N':'a'},{'N':'b'},{'N':'c'}],'student_pipeline':[{'image':'x'}],'rerun':{}}",
        "{'course':'c','assignment':'d','config':{'student_pipeline':[{'image':'x'}]},"
        "'run':{'students_env':[{'N':'a'},{'N':'b'},{'N':'c'}]}}",
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct definition *rerun = rerun_of(forms[i], "{'select':'failed'}");
        json_t *students = read_json("[{'N':'b'},{'N':'c'}]"), *positions = read_json("[1,2]");
        assert_true(json_equal(definition_students(rerun), students));
        assert_true(json_equal(rerun_students(rerun), positions));
        json_decref(students);
        json_decref(positions);
        definition_release(rerun);
    }
}

static void assert_scheduling(const char *form, const char *request, enum run_class run_class)
{
    struct definition *rerun = rerun_of(form, request);
    struct definition_summary summary = definition_summary(rerun);
    char *requires = definition_requires(rerun);
    assert_int_equal(summary.run_class, run_class);
    assert_string_equal(summary.submitter, "ann");
    assert_string_equal(requires, "cpu,gpu");
    free(requires);
    definition_release(rerun);
}

static void rerun_inherits_class_tags_and_submitter_but_may_state_a_class(void **state)
{
    (void)state;
    static const char *const forms[] = {
        "{'students':[{'N':'a'},{'N':'b'},{'N':'c'}],'student_pipeline':[{'image':'x'}],"
        "'class':'exam','requires':['gpu','cpu'],'submitter':'ann'}",
        "{'course':'c','assignment':'d','config':{'student_pipeline':[{'image':'x'}]},"
        "'run':{'students_env':[{'N':'a'},{'N':'b'},{'N':'c'}],"
        "'class':'exam','requires':['gpu','cpu'],'submitter':'ann'}}",
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        assert_scheduling(forms[i], "{'select':'failed'}", RUN_CLASS_EXAM);
        assert_scheduling(forms[i], "{'select':'failed','class':'batch'}", RUN_CLASS_BATCH);
    }
}

static void canonical_text_of_a_rerun_is_that_of_its_request(void **state)
{
    (void)state;
    static const char *const earlier = "{'students':[{},{},{}],'student_pipeline':[{'image':'x'}]}";
    struct definition *one = rerun_of(earlier, "{'select':'failed','priority':1}"),
                      *same = rerun_of(earlier, "{'priority':1,'select':'failed'}"),
                      *other = rerun_of(earlier, "{'select':'all'}");
    char *one_text = definition_canonical_text(one), *same_text = definition_canonical_text(same),
         *other_text = definition_canonical_text(other);
    assert_string_equal(one_text, same_text);
    assert_string_not_equal(one_text, other_text);
    free(one_text);
    free(same_text);
    free(other_text);
    definition_release(one);
    definition_release(same);
    definition_release(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(students_are_selected_by_outcome_position_or_environment),
        cmocka_unit_test(wrong_requests_are_refused_with_their_reason),
        cmocka_unit_test(priority_is_ten_below_the_earlier_run_unless_it_is_stated),
        cmocka_unit_test(definition_of_a_rerun_has_the_selected_students_and_their_positions),
        cmocka_unit_test(rerun_inherits_class_tags_and_submitter_but_may_state_a_class),
        cmocka_unit_test(canonical_text_of_a_rerun_is_that_of_its_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
