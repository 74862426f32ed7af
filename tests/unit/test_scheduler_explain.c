/* What is said of jobs, runs and graders that wait, where it takes a moment that a test of the
 * whole can't hold: and that it is over when what is said would change it has happened. */
#include "scheduler/rules/explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/domain/wait_reason.h"
#include "fake_scheduler.h"
#include "scheduler/rules/dispatch.h"
#include "scheduler/rules/lease_lifecycle.h"
#include "scheduler/rules/replica_signals.h"
#include "scheduler/rules/sharing.h"

enum { NOW_MS = 1000000, MOST_TEXT = 400, MANY_COURSES = 25 };

static const int64_t DATE_MS = 1700000000000;
static const char run_a[] = "00000000000000000000000a";

static int setup(void **state)
{
    const struct scheduler_settings settings = {
        .heartbeat_ms = 10000, .job_timeout_ms = 3600000, .max_attempts = 2};
    struct scheduler *scheduler = fake_scheduler_new(&settings, NOW_MS, DATE_MS);
    replica_table_add(&scheduler->replicas, "r1", "http://r1:1")->in_contact = true;
    *state = scheduler;
    return 0;
}

static void park(struct scheduler *scheduler, const char *id)
{
    static int64_t polls = 0;
    (void)replica_park(&scheduler->replicas, replica_table_find(&scheduler->replicas, "r1"),
                       worker_table_find(&scheduler->workers, id), ++polls, false);
}

/* A grader that takes one job at a time. */
static struct known_worker *add_grader(struct scheduler *scheduler, const char *id)
{
    struct worker worker = {
        .epoch = 1, .is_alive = true, .concurrency = 1, .protocol = PROTOCOL_COURSE};
    snprintf(worker.id, sizeof worker.id, "%s", id);
    replica_signals_take_worker(scheduler, &worker);
    return worker_table_find(&scheduler->workers, id);
}

/* A run whose students' jobs may be handed out. */
static struct active_run *add_run(struct scheduler *scheduler, const char *id, const char *course,
                                  uint32_t students)
{
    struct run run = {.students = students,
                      .protocol = PROTOCOL_COURSE,
                      .has_stages = {true, true, true},
                      .started_ms = DATE_MS};
    snprintf(run.id, sizeof run.id, "%s", id);
    snprintf(run.course, sizeof run.course, "%s", course);
    struct active_run *added = queue_add(&scheduler->queue, &run);
    added->phase = RUN_STUDENTS;
    sharing_take_run(scheduler, added);
    queue_open_slots(added, 0, students);
    return added;
}

static const char *job_of(const char *run, uint32_t index)
{
    static char id[JOB_ID_SIZE];
    return job_id_make(run, JOB_STUDENT, index, id);
}

/* Compares "STATE: REASON REASON " with an answer, which it frees. */
static void assert_said(json_t *answer, const char *expected)
{
    char text[MOST_TEXT];
    json_t *reason;
    size_t i;
    snprintf(text, sizeof text, "%s:", json_string_value(json_object_get(answer, "state")));
    json_array_foreach (json_object_get(answer, "reasons"), i, reason) {
        size_t length = strlen(text);
        assert_non_null(json_object_get(reason, "detail"));
        assert_non_null(json_object_get(reason, "changes_when"));
        snprintf(text + length, sizeof text - length, " %s",
                 json_string_value(json_object_get(reason, "reason")));
    }
    assert_string_equal(text, expected);
    json_decref(answer);
}

static json_int_t number_of(const json_t *answer, size_t reason, const char *key)
{
    const json_t *list = json_object_get(answer, "reasons");
    return json_integer_value(json_object_get(json_array_get(list, reason), key));
}

static void hand_out(struct scheduler *scheduler)
{
    while (dispatch_round(scheduler))
        ;
    command_list_clear(&scheduler->commands);
}

static void assert_handed_out(struct scheduler *scheduler, const char *job)
{
    hand_out(scheduler);
    assert_non_null(lease_table_find(&scheduler->leases, job));
}

static void what_is_not_known_is_unknown(void **state)
{
    struct scheduler *scheduler = *state;
    add_run(scheduler, run_a, "one", 1);
    json_t *answers[] = {explain_job(scheduler, job_of(run_a, 1)), explain_job(scheduler, "x"),
                         explain_run(scheduler, "00000000000000000000000b"),
                         explain_worker(scheduler, "nobody")};
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        assert_true(json_is_true(json_object_get(answers[i], "unknown")));
        json_decref(answers[i]);
    }
}

static void new_leader_hands_nothing_out_before_it_has_the_replicas_word(void **state)
{
    struct scheduler *scheduler = *state;
    add_run(scheduler, run_a, "one", 1);
    add_grader(scheduler, "w1");
    park(scheduler, "w1");
    scheduler->opens_ms = NOW_MS + 1500;
    hand_out(scheduler);
    json_t *answer = explain_job(scheduler, job_of(run_a, 0));
    assert_int_equal(number_of(answer, 0, "retry_in_ms"), 1500);
    assert_said(answer, "waiting: leader_starting");
    assert_said(explain_worker(scheduler, "w1"), "waiting: leader_starting");
    scheduler->now_ms += 1500;
    assert_said(explain_job(scheduler, job_of(run_a, 0)), "waiting: ready");
    assert_said(explain_worker(scheduler, "w1"), "waiting: ready");
    assert_handed_out(scheduler, job_of(run_a, 0));
}

static void leader_that_stops_hands_nothing_out(void **state)
{
    struct scheduler *scheduler = *state;
    add_run(scheduler, run_a, "one", 1);
    add_grader(scheduler, "w1");
    park(scheduler, "w1");
    scheduler->is_stopping = true;
    hand_out(scheduler);
    assert_said(explain_job(scheduler, job_of(run_a, 0)), "waiting: leader_stopping");
    scheduler->is_stopping = false; /* the next one leads */
    assert_handed_out(scheduler, job_of(run_a, 0));
}

static void job_is_explained_at_each_step_of_its_hand_out(void **state)
{
    struct scheduler *scheduler = *state;
    const char *job = job_of(run_a, 0);
    add_run(scheduler, run_a, "one", 1);
    add_grader(scheduler, "w1");
    park(scheduler, "w1");
    assert_handed_out(scheduler, job);
    struct live_lease *lease = lease_table_find(&scheduler->leases, job);
    assert_said(explain_job(scheduler, job), "waiting: handing_out");
    lease_set_state(lease, LEASE_DELIVERED);
    assert_said(explain_job(scheduler, job), "running:");
    assert_said(explain_run(scheduler, run_a), "running:");
    lease_set_state(lease, LEASE_UNCONFIRMED);
    assert_said(explain_job(scheduler, job), "running:");
    assert_said(explain_worker(scheduler, "w1"),
                "working: grader_unconfirmed grader_full grader_not_asking no_job");
    lease_set_state(lease, LEASE_ENDING);
    assert_said(explain_job(scheduler, job), "waiting: attempt_ending");
}

static void grader_that_may_not_have_its_job_gets_that_one_first(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *run = add_run(scheduler, run_a, "one", 2);
    struct known_worker *worker = add_grader(scheduler, "w1");
    worker->concurrency = 2;
    park(scheduler, "w1");
    assert_handed_out(scheduler, job_of(run_a, 0));
    struct live_lease *lease = lease_table_find(&scheduler->leases, job_of(run_a, 0));
    lease_set_state(lease, LEASE_UNCONFIRMED);
    assert_said(explain_job(scheduler, job_of(run_a, 1)), "waiting: grader_unconfirmed");
    lease_set_state(lease, LEASE_DELIVERED);
    park(scheduler, "w1");
    assert_handed_out(scheduler, job_of(run_a, 1));
    assert_int_equal(run->live, 2);
}

static void job_of_a_cancelled_run_and_a_withheld_one_are_about_to_end(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *run = add_run(scheduler, run_a, "one", 3);
    add_grader(scheduler, "w1");
    (void)queue_withhold(run, 1);
    assert_said(explain_job(scheduler, job_of(run_a, 1)), "waiting: superseded");
    park(scheduler, "w1");
    assert_handed_out(scheduler, job_of(run_a, 0));
    assert_null(lease_table_find(&scheduler->leases, job_of(run_a, 1)));
    run->run.cancelled_ms = DATE_MS;
    queue_close(run);
    assert_said(explain_job(scheduler, job_of(run_a, 2)), "waiting: cancelled");
    assert_said(explain_run(scheduler, run_a), "waiting: handing_out");
    run->run.summary[2] = summary_make(OUTCOME_CANCELLED, 0, OWNER_UNSAID, JOB_STUDENT);
    assert_said(explain_job(scheduler, job_of(run_a, 2)), "ended:");
}

static void retry_waits_until_it_is_due(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *run = add_run(scheduler, run_a, "one", 1);
    const struct retry retry = {.slot = 0, .attempt = 3, .due_ms = NOW_MS + 4000};
    queue_open_slots(run, 1, 1);
    queue_retry(run, &retry, NOW_MS);
    add_grader(scheduler, "w1");
    park(scheduler, "w1");
    hand_out(scheduler);
    json_t *answer = explain_job(scheduler, job_of(run_a, 0));
    assert_int_equal(number_of(answer, 0, "retry_in_ms"), 4000);
    assert_int_equal(number_of(answer, 0, "attempt"), 3);
    assert_said(answer, "waiting: retry_not_due");
    answer = explain_worker(scheduler, "w1");
    assert_int_equal(number_of(answer, 0, "jobs"), 1);
    assert_said(answer, "waiting: retry_not_due");
    scheduler->now_ms += 4000;
    (void)queue_wake(&scheduler->queue, scheduler->now_ms);
    assert_handed_out(scheduler, job_of(run_a, 0));
}

static void poll_at_a_replica_that_does_not_answer_gets_nothing(void **state)
{
    struct scheduler *scheduler = *state;
    struct known_replica *replica = replica_table_find(&scheduler->replicas, "r1");
    add_run(scheduler, run_a, "one", 1);
    add_grader(scheduler, "w1");
    park(scheduler, "w1");
    replica->in_contact = false;
    hand_out(scheduler);
    assert_said(explain_job(scheduler, job_of(run_a, 0)), "waiting: replica_silent");
    assert_said(explain_worker(scheduler, "w1"), "waiting: replica_silent");
    replica->in_contact = true;
    assert_handed_out(scheduler, job_of(run_a, 0));
}

static void job_of_the_next_phase_waits_for_all_of_this_one(void **state)
{
    struct scheduler *scheduler = *state;
    struct run run = {.students = 2,
                      .protocol = PROTOCOL_COURSE,
                      .has_pre = true,
                      .has_post = true,
                      .has_stages = {true, true, true},
                      .started_ms = DATE_MS};
    snprintf(run.id, sizeof run.id, "%s", run_a);
    struct active_run *added = queue_add(&scheduler->queue, &run);
    added->phase = RUN_PRE;
    sharing_take_run(scheduler, added);
    queue_open_slots(added, 0, 1);
    add_grader(scheduler, "w1");
    json_t *answer = explain_run(scheduler, run_a);
    char *waiting = json_dumps(json_object_get(answer, "waiting"), JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(waiting, "[{\"jobs\":3,\"reason\":\"preprocessing_not_done\"},"
                                 "{\"jobs\":1,\"reason\":\"grader_not_asking\"}]");
    free(waiting);
    assert_said(answer, "waiting: grader_not_asking");
    assert_said(explain_job(scheduler, job_of(run_a, 0)), "waiting: preprocessing_not_done");
    park(scheduler, "w1");
    hand_out(scheduler);
    assert_int_equal(added->live, 1);
}

static void only_so_many_courses_ahead_are_named(void **state)
{
    struct scheduler *scheduler = *state;
    char id[RUN_ID_SIZE], course[16];
    for (unsigned i = 0; i < MANY_COURSES; i++) {
        snprintf(id, sizeof id, "%024x", 0x100 + i);
        snprintf(course, sizeof course, "course-%u", i);
        add_run(scheduler, id, course, 2);
    }
    add_run(scheduler, run_a, "own", 3);
    add_grader(scheduler, "w1");
    json_t *answer = explain_job(scheduler, job_of(run_a, 2));
    const json_t *ahead = json_object_get(json_array_get(json_object_get(answer, "reasons"), 0),
                                          "ahead");
    assert_int_equal(number_of(answer, 0, "count"), 2 + 2 * MANY_COURSES);
    assert_int_equal(number_of(answer, 0, "of_run"), 2);
    assert_int_equal(json_array_size(ahead), 21);
    assert_string_equal(json_string_value(json_object_get(json_array_get(ahead, 0), "course")),
                        "own");
    assert_true(json_is_null(json_object_get(json_array_get(ahead, 20), "course")));
    assert_int_equal(json_integer_value(json_object_get(json_array_get(ahead, 20), "jobs")),
                     2 * (MANY_COURSES - 19));
    assert_int_equal(number_of(answer, 1, "courses"), MANY_COURSES);
    assert_said(answer, "waiting: jobs_ahead share_used_up grader_not_asking");
}

/* The estimate of what goes first is what goes first. */
static void jobs_that_are_said_to_be_ahead_are_handed_out_before(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *own = add_run(scheduler, run_a, "own", 4);
    add_run(scheduler, "00000000000000000000000b", "other", 7);
    add_grader(scheduler, "w1");
    own->course->weight = 200;
    json_t *answer = explain_job(scheduler, job_of(run_a, 3));
    json_int_t ahead = number_of(answer, 0, "count");
    json_decref(answer);
    for (json_int_t i = 0; i <= ahead; i++) {
        assert_null(lease_table_find(&scheduler->leases, job_of(run_a, 3)));
        char id[WORKER_ID_SIZE];
        snprintf(id, sizeof id, "grader-%d", (int)i);
        add_grader(scheduler, id);
        park(scheduler, id);
        hand_out(scheduler);
    }
    assert_non_null(lease_table_find(&scheduler->leases, job_of(run_a, 3)));
}

static void every_reason_has_a_word_of_its_own(void **state)
{
    (void)state;
    for (unsigned i = 0; i < WAIT_REASONS; i++) {
        assert_int_equal(wait_reason_first(wait_bit((enum wait_reason)i, true)), i);
        for (unsigned j = 0; j < i; j++)
            assert_string_not_equal(wait_reason_word((enum wait_reason)i),
                                    wait_reason_word((enum wait_reason)j));
    }
}

#define EXPLAIN_TEST(name) cmocka_unit_test_setup_teardown(name, setup, fake_scheduler_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EXPLAIN_TEST(what_is_not_known_is_unknown),
        EXPLAIN_TEST(new_leader_hands_nothing_out_before_it_has_the_replicas_word),
        EXPLAIN_TEST(leader_that_stops_hands_nothing_out),
        EXPLAIN_TEST(job_is_explained_at_each_step_of_its_hand_out),
        EXPLAIN_TEST(grader_that_may_not_have_its_job_gets_that_one_first),
        EXPLAIN_TEST(job_of_a_cancelled_run_and_a_withheld_one_are_about_to_end),
        EXPLAIN_TEST(retry_waits_until_it_is_due),
        EXPLAIN_TEST(poll_at_a_replica_that_does_not_answer_gets_nothing),
        EXPLAIN_TEST(job_of_the_next_phase_waits_for_all_of_this_one),
        EXPLAIN_TEST(only_so_many_courses_ahead_are_named),
        EXPLAIN_TEST(jobs_that_are_said_to_be_ahead_are_handed_out_before),
        cmocka_unit_test(every_reason_has_a_word_of_its_own),
    };
    return cmocka_run_group_tests_name("explain", tests, NULL, NULL);
}
