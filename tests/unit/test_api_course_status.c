#include "api/course/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN "0123456789abcdef01234567"
#define PRE RUN "00000000"
#define FIRST RUN "10000000"
#define SECOND RUN "10000001"
#define POST RUN "20000000"

/* A started run with all three pipelines and two students; its facts are in the order pre,
 * students, post. */
static struct run run_in(enum run_phase phase)
{
    return (struct run){.id = RUN,
                        .has_pre = true,
                        .has_post = true,
                        .students = 2,
                        .started_ms = 1,
                        .phase = phase};
}

static const struct job_fact waits = {0}, runs = {.attempts = 1, .is_live = true},
                             succeeded = {.outcome = OUTCOME_SUCCEEDED, .attempts = 1},
                             failed = {.outcome = OUTCOME_FAILED, .attempts = 1},
                             cancelled = {.outcome = OUTCOME_CANCELLED};

/* The complete answer; new reference. */
static json_t *course_status_answer(const struct run *run, const struct job_fact *facts,
                                    const char *waiting_for)
{
    struct course_answer answer = {
        .kind = COURSE_ANSWER_STATUS, .run = run, .facts = facts, .waiting_for = waiting_for};
    struct text_buffer text = {NULL};
    while (!course_answer_write(&answer, &text))
        continue;
    json_t *value = json_loadb(text.bytes, text.length, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(value);
    text_buffer_clear(&text);
    return value;
}

static void assert_status(const struct run *run, const struct job_fact *facts, const char *state,
                          const char *rest)
{
    char expected[1024];
    json_auto_t *status = course_status_answer(run, facts, NULL);
    snprintf(expected, sizeof expected, "{\"state\": \"%s\", %s}", state, rest);
    json_auto_t *wanted = json_loads(expected, 0, NULL);
    assert_non_null(wanted);
    if (!json_equal(status, wanted))
        fail_msg("%s is not %s", json_dumps(status, 0), expected);
}

#define STATES(pre, students, post)                                            \
    "\"pre_processing_job_state\": " pre ", \"student_jobs_state\": " students \
    ", \"post_processing_job_state\": " post
#define JOB(id, state) "\"" id "\": \"grading job " state "\""

static void steps_are_shown_once_they_have_begun(void **state)
{
    (void)state;
    struct run run = run_in(RUN_PRE);
    assert_status(&run, (struct job_fact[]){runs, waits, waits, waits},
                  "pre processing job has been scheduled",
                  STATES("{" JOB(PRE, "is running") "}", "{}", "null"));
    assert_status(&run, (struct job_fact[]){succeeded, runs, waits, waits},
                  "students grading jobs have been scheduled",
                  STATES("{" JOB(PRE, "was successful") "}",
                         "{" JOB(FIRST, "is running") "," JOB(SECOND, "has been scheduled") "}",
                         "null"));
    assert_status(&run, (struct job_fact[]){succeeded, failed, succeeded, waits},
                  "post processing job has been scheduled",
                  STATES("{" JOB(PRE, "was successful") "}",
                         "{" JOB(FIRST, "failed") "," JOB(SECOND, "was successful") "}",
                         "{" JOB(POST, "has been scheduled") "}"));
    assert_status(&run, (struct job_fact[]){succeeded, failed, succeeded, succeeded},
                  "grading run is complete",
                  STATES("{" JOB(PRE, "was successful") "}",
                         "{" JOB(FIRST, "failed") "," JOB(SECOND, "was successful") "}",
                         "{" JOB(POST, "was successful") "}"));
}

static void steps_after_a_failure_have_not_begun(void **state)
{
    (void)state;
    struct run run = run_in(RUN_FAILED);
    assert_status(&run, (struct job_fact[]){failed, waits, waits, waits}, "grading run failed",
                  STATES("{" JOB(PRE, "failed") "}", "{}", "null"));
    assert_status(&run, (struct job_fact[]){succeeded, succeeded, succeeded, failed},
                  "grading run failed",
                  STATES("{" JOB(PRE, "was successful") "}",
                         "{" JOB(FIRST, "was successful") "," JOB(SECOND, "was successful") "}",
                         "{" JOB(POST, "failed") "}"));
}

static void cancelled_run_shows_the_steps_that_had_begun(void **state)
{
    (void)state;
    struct run run = run_in(RUN_CANCELLED);
    assert_status(&run, (struct job_fact[]){succeeded, succeeded, cancelled, cancelled},
                  "grading run was cancelled",
                  STATES("{" JOB(PRE, "was successful") "}",
                         "{" JOB(FIRST, "was successful") "," JOB(SECOND, "failed") "}", "null"));
}

static void steps_that_the_config_lacks_are_null_and_no_students_an_empty_object(void **state)
{
    (void)state;
    struct run run = {.id = RUN, .started_ms = 1, .phase = RUN_FINISHED};
    assert_status(&run, (struct job_fact[]){waits}, "grading run is complete",
                  STATES("null", "{}", "null"));
    struct run created = {.id = RUN, .students = 1};
    assert_status(&created, (struct job_fact[]){waits}, "ready to be started",
                  STATES("null", "{}", "null"));
}

static void waiting_for_key_exists_only_while_a_run_waits(void **state)
{
    (void)state;
    const struct run run = {.id = "6b05c5d2164163397800c81b", .students = 1, .started_ms = 1};
    const struct job_fact facts[1] = {0};
    json_auto_t *fresh = course_status_answer(&run, facts, NULL);
    assert_int_equal(json_object_size(fresh), 4);
    json_auto_t *waiting = course_status_answer(&run, facts, "nobody is there");
    assert_string_equal(json_string_value(json_object_get(waiting, "waiting_for")),
                        "nobody is there");
}

static void owners_of_failures_are_a_key_only_if_there_are_any(void **state)
{
    (void)state;
    struct run run = run_in(RUN_FAILED);
    const struct job_fact owned = {.outcome = OUTCOME_FAILED, .owner = OWNER_INFRASTRUCTURE};
    const struct job_fact facts[] = {succeeded, owned, failed, owned};
    json_auto_t *status = course_status_answer(&run, facts, "more graders");
    char *text = json_dumps(json_object_get(status, "owners"), JSON_COMPACT);
    assert_string_equal(text, "{\"" FIRST "\":\"infrastructure\",\"" POST "\":\"infrastructure\"}");
    assert_non_null(json_object_get(status, "waiting_for"));
    free(text);
    const struct job_fact other[] = {succeeded, failed, failed, succeeded};
    json_auto_t *unowned = course_status_answer(&run, other, NULL);
    assert_null(json_object_get(unowned, "owners"));
    struct course_answer env = {.kind = COURSE_ANSWER_ENV, .run = &run, .facts = facts};
    env.run = &(struct run){.id = RUN, .students = 0, .started_ms = 1, .phase = RUN_FINISHED};
    struct text_buffer written = {NULL};
    while (!course_answer_write(&env, &written))
        continue;
    json_auto_t *environment = json_loadb(written.bytes, written.length, 0, NULL);
    assert_non_null(environment);
    assert_int_equal(json_object_size(environment), 3);
    text_buffer_clear(&written);
}

static void students_keep_their_order(void **state)
{
    (void)state;
    struct run run = {.id = RUN, .students = 300, .started_ms = 1, .phase = RUN_STUDENTS};
    struct job_fact *facts = calloc(run.students, sizeof *facts);
    json_auto_t *status = course_status_answer(&run, facts, NULL);
    const char *id, *before = "";
    json_t *text;
    json_object_foreach (json_object_get(status, "student_jobs_state"), id, text) {
        assert_true(strcmp(before, id) < 0);
        before = id;
    }
    assert_int_equal(json_object_size(json_object_get(status, "student_jobs_state")), 300);
    free(facts);
}

static void the_answer_keeps_its_order_of_keys(void **state)
{
    (void)state;
    struct run run = run_in(RUN_PRE);
    const struct job_fact facts[] = {runs, waits, waits, waits};
    struct course_answer answer = {.kind = COURSE_ANSWER_STATUS, .run = &run, .facts = facts};
    struct text_buffer text = {NULL};
    while (!course_answer_write(&answer, &text))
        continue;
    char *written = text_buffer_take(&text);
    assert_string_equal(written,
                        "{\"state\":\"pre processing job has been scheduled\","
                        "\"pre_processing_job_state\":{\"" PRE "\":\"grading job is running\"},"
                        "\"post_processing_job_state\":null,\"student_jobs_state\":{}}");
    free(written);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_shown_once_they_have_begun),
        cmocka_unit_test(steps_after_a_failure_have_not_begun),
        cmocka_unit_test(cancelled_run_shows_the_steps_that_had_begun),
        cmocka_unit_test(steps_that_the_config_lacks_are_null_and_no_students_an_empty_object),
        cmocka_unit_test(waiting_for_key_exists_only_while_a_run_waits),
        cmocka_unit_test(owners_of_failures_are_a_key_only_if_there_are_any),
        cmocka_unit_test(students_keep_their_order),
        cmocka_unit_test(the_answer_keeps_its_order_of_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
