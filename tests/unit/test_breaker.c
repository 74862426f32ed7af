/* When the breaker of a run pauses it. */
#include "common/domain/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>

#define ONE "0123456789abcdef"
#define OTHER "fedcba9876543210"

static void equal_failures_of_the_first_jobs_make_it_due(void **state)
{
    (void)state;
    struct breaker breaker = {.limit = 3};
    for (int i = 0; i < 3; i++) {
        assert_false(breaker_is_due(&breaker));
        breaker_note(&breaker, OUTCOME_FAILED, ONE);
    }
    assert_true(breaker_is_due(&breaker));
    assert_string_equal(breaker.signature, ONE);
    breaker_note(&breaker, OUTCOME_SUCCEEDED, ""); /* that job was running already */
    assert_true(breaker_is_due(&breaker));
    breaker.is_over = true;
    assert_false(breaker_is_due(&breaker));
}

static void job_that_ends_otherwise_decides_that_it_never_is(void **state)
{
    (void)state;
    const struct {
        enum job_outcome outcome;
        const char *signature;
    } others[] = {{OUTCOME_SUCCEEDED, ""}, {OUTCOME_FAILED, OTHER}, {OUTCOME_FAILED, ""}};
    for (size_t other = 0; other < 3; other++) {
        struct breaker breaker = {.limit = 2};
        breaker_note(&breaker, OUTCOME_FAILED, ONE);
        breaker_note(&breaker, others[other].outcome, others[other].signature);
        for (int i = 0; i < 5; i++)
            breaker_note(&breaker, OUTCOME_FAILED, ONE);
        assert_false(breaker_is_due(&breaker));
    }
}

static void first_failure_without_a_signature_decides_too(void **state)
{
    (void)state;
    struct breaker breaker = {.limit = 2};
    breaker_note(&breaker, OUTCOME_FAILED, "");
    assert_true(breaker.is_over);
}

static void cancelled_and_superseded_jobs_do_not_count(void **state)
{
    (void)state;
    struct breaker breaker = {.limit = 2};
    breaker_note(&breaker, OUTCOME_SUPERSEDED, "");
    breaker_note(&breaker, OUTCOME_FAILED, ONE);
    breaker_note(&breaker, OUTCOME_CANCELLED, "");
    breaker_note(&breaker, OUTCOME_SUPERSEDED, "");
    assert_false(breaker_is_due(&breaker));
    breaker_note(&breaker, OUTCOME_FAILED, ONE);
    assert_true(breaker_is_due(&breaker));
}

static void run_without_a_breaker_is_never_paused(void **state)
{
    (void)state;
    struct breaker breaker = {.limit = 0};
    for (int i = 0; i < 50; i++)
        breaker_note(&breaker, OUTCOME_FAILED, ONE);
    assert_false(breaker_is_due(&breaker));
}

static void argument_is_an_integer_or_false(void **state)
{
    (void)state;
    const struct {
        json_t *value;
        enum bw_code code;
        uint32_t limit;
    } rows[] = {
        {json_false(), BW_OK, 0},
        {json_integer(2), BW_OK, 2},
        {json_integer(BREAKER_MAX), BW_OK, BREAKER_MAX},
        {json_integer(1), BW_BAD_REQUEST, 0},
        {json_integer(BREAKER_MAX + 1), BW_BAD_REQUEST, 0},
        {json_true(), BW_BAD_REQUEST, 0},
        {json_string("20"), BW_BAD_REQUEST, 0},
        {json_null(), BW_BAD_REQUEST, 0},
        {json_real(20.0), BW_BAD_REQUEST, 0},
    };
    struct bw_error error;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(breaker_check(rows[i].value, "breaker", NULL, &error), rows[i].code);
        if (rows[i].code == BW_OK)
            assert_int_equal(breaker_limit(rows[i].value), rows[i].limit);
        else
            assert_string_equal(error.message,
                                "breaker: must be an integer between 2 and 100000, or false");
        json_decref(rows[i].value);
    }
    assert_int_equal(breaker_limit(NULL), BREAKER_DEFAULT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_failures_of_the_first_jobs_make_it_due),
        cmocka_unit_test(job_that_ends_otherwise_decides_that_it_never_is),
        cmocka_unit_test(first_failure_without_a_signature_decides_too),
        cmocka_unit_test(cancelled_and_superseded_jobs_do_not_count),
        cmocka_unit_test(run_without_a_breaker_is_never_paused),
        cmocka_unit_test(argument_is_an_integer_or_false),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
