#include "common/domain/job.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define RUN "0123456789abcdef01234567"

static void an_id_is_read_back_as_it_was_made(void **state)
{
    (void)state;
    static const struct {
        enum job_kind kind;
        uint32_t index;
        const char *text;
    } cases[] = {
        {JOB_PRE, 0, RUN "00000000"},
        {JOB_STUDENT, 0, RUN "10000000"},
        {JOB_STUDENT, 1, RUN "10000001"},
        {JOB_STUDENT, 0xabcdef, RUN "10abcdef"},
        {JOB_STUDENT, JOB_MAX_INDEX, RUN "1fffffff"},
        {JOB_POST, 0, RUN "20000000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[JOB_ID_SIZE], again[JOB_ID_SIZE];
        struct job_id id;
        assert_string_equal(job_id_make(RUN, cases[i].kind, cases[i].index, text), cases[i].text);
        assert_true(job_id_parse(text, &id));
        assert_string_equal(id.run, RUN);
        assert_int_equal(id.kind, cases[i].kind);
        assert_int_equal(id.index, cases[i].index);
        assert_string_equal(job_id_format(&id, again), text);
    }
}

static void invalid_id_is_refused_and_nothing_is_written(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "0",
        RUN,
        RUN "1000000",
        RUN "100000000",
        RUN "1000000A",
        RUN "1000000g",
        RUN "1000 000",
        RUN "1000000\n",
        "../../../../../../../../../../..",
        "0123456789ABCDEF0123456710000000",
        RUN "30000000", /* unknown kind */
        RUN "f0000000",
        RUN "00000001", /* a run has only one job of this kind */
        RUN "20000001",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct job_id id, before;
        memset(&id, 0x5A, sizeof id);
        before = id;
        assert_false(job_id_parse(texts[i], &id));
        assert_memory_equal(&id, &before, sizeof id);
    }
}

static void an_id_is_lower_case_hex_of_its_length(void **state)
{
    (void)state;
    assert_true(is_hex_id(RUN, RUN_ID_LENGTH));
    assert_false(is_hex_id(RUN, RUN_ID_LENGTH - 1));
    assert_false(is_hex_id(RUN, RUN_ID_LENGTH + 1));
    assert_false(is_hex_id("0123456789abcdef0123456F", RUN_ID_LENGTH));
    assert_false(is_hex_id("0123456789abcdef0123456-", RUN_ID_LENGTH));
    assert_false(is_hex_id("", RUN_ID_LENGTH));
}

static void outcomes_are_read_back_by_name(void **state)
{
    (void)state;
    for (int outcome = OUTCOME_SUCCEEDED; outcome <= OUTCOME_CANCELLED; outcome++)
        assert_int_equal(outcome_parse(outcome_name((enum job_outcome)outcome)), outcome);
    assert_null(outcome_name(OUTCOME_NONE));
    assert_int_equal(outcome_parse("Succeeded"), OUTCOME_NONE);
    assert_int_equal(outcome_parse(""), OUTCOME_NONE);
}

static void kinds_have_names(void **state)
{
    (void)state;
    assert_string_equal(job_kind_name(JOB_PRE), "pre-processing");
    assert_string_equal(job_kind_name(JOB_STUDENT), "student");
    assert_string_equal(job_kind_name(JOB_POST), "post-processing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_is_read_back_as_it_was_made),
        cmocka_unit_test(invalid_id_is_refused_and_nothing_is_written),
        cmocka_unit_test(an_id_is_lower_case_hex_of_its_length),
        cmocka_unit_test(outcomes_are_read_back_by_name),
        cmocka_unit_test(kinds_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
