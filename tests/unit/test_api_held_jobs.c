#include "api/grading/held_jobs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#define FIRST "6b05c5d2164163397800c81b10000000"
#define SECOND "6b05c5d2164163397800c81b10000001"

static size_t parse(const char *text, struct held_job jobs[HELD_JOBS_MAX])
{
    struct bw_error error;
    size_t count;
    assert_int_equal(held_jobs_parse(text, jobs, &count, &error), BW_OK);
    return count;
}

static void a_list_of_ids_is_read_in_its_order(void **state)
{
    struct held_job jobs[HELD_JOBS_MAX];
    (void)state;
    assert_int_equal(parse("", jobs), 0);
    assert_int_equal(parse(FIRST, jobs), 1);
    assert_string_equal(jobs[0].id, FIRST);
    assert_int_equal(parse(SECOND "," FIRST, jobs), 2);
    assert_string_equal(jobs[0].id, SECOND);
    assert_string_equal(jobs[1].id, FIRST);
    assert_false(jobs[0].is_lost || jobs[1].is_lost);
}

static void assert_refused(const char *text, const char *part)
{
    struct held_job jobs[HELD_JOBS_MAX];
    struct bw_error error;
    size_t count;
    assert_int_equal(held_jobs_parse(text, jobs, &count, &error), BW_BAD_REQUEST);
    assert_non_null(strstr(error.message, part));
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    assert_refused("x", "'x' does not begin with the id of a grading job");
    assert_refused(",", "',' does not begin");
    assert_refused(FIRST ",,", "',' does not begin");
    assert_refused(FIRST ", " SECOND, "' 6b05");
    assert_refused(FIRST SECOND, "does not begin");
    assert_refused("6B05C5D2164163397800C81B10000000", "does not begin");
}

static void more_than_the_limit_is_refused(void **state)
{
    char text[(HELD_JOBS_MAX + 1) * (JOB_ID_LENGTH + 1)] = "";
    struct held_job jobs[HELD_JOBS_MAX];
    size_t length = 0;
    (void)state;
    for (int i = 0; i <= HELD_JOBS_MAX; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%s", i > 0 ? "," : "",
                                   FIRST);
    assert_refused(text, "jobs: more than 100 ids");
    text[HELD_JOBS_MAX * (JOB_ID_LENGTH + 1) - 1] = '\0';
    assert_int_equal(parse(text, jobs), HELD_JOBS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_of_ids_is_read_in_its_order),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(more_than_the_limit_is_refused),
    };
    return cmocka_run_group_tests_name("held_jobs", tests, NULL, NULL);
}
