/* What is foretold of jobs, runs and courses, against what comes true when graders work it off. */
#include "scheduler/rules/estimate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/date.h"
#include "common/store/run_jobs.h"
#include "scheduler/rules/foretold.h"
#include "scheduler/rules/pausing.h"
#include "scheduler/rules/query_answers.h"
#include "scheduler/rules/run_progress.h"
#include "scheduler/rules/sharing.h"
#include "tests/unit/fake_scheduler.h"

static const int64_t DATE_MS = 1700000000000;

static int setup(void **state)
{
    struct scheduler_settings settings = {.heartbeat_ms = 10000, .max_attempts = 3};
    struct scheduler *scheduler = fake_scheduler_new(&settings, 1000000, DATE_MS);
    scheduler->term = 1;
    *state = scheduler;
    return 0;
}

static void add_graders(struct scheduler *scheduler, const char *prefix, unsigned count,
                        const char *tags)
{
    for (unsigned i = 0; i < count; i++) {
        char id[16];
        snprintf(id, sizeof id, "%s%u", prefix, i);
        struct known_worker *worker = worker_table_add(&scheduler->workers, id, 1, true,
                                                       scheduler->now_ms);
        worker->protocol = PROTOCOL_COURSE;
        worker->tags = bw_copy(tags);
        sharing_take_worker(scheduler, worker);
    }
}

static struct run run_of(unsigned number, const char *course, uint32_t students)
{
    struct run run = {.students = students,
                      .started_ms = DATE_MS - 60000,
                      .protocol = PROTOCOL_COURSE,
                      .has_stages = {true, true, true}};
    snprintf(run.id, sizeof run.id, "%024x", number);
    snprintf(run.course, sizeof run.course, "%s", course);
    snprintf(run.assignment, sizeof run.assignment, "hw1");
    return run;
}

static struct active_run *start(struct scheduler *scheduler, struct run run)
{
    run.summary = bw_alloc(run.students + 2);
    struct active_run *added = queue_add(&scheduler->queue, &run);
    added->phase = RUN_STUDENTS;
    queue_open_slots(added, run.has_pre, run.has_pre + run.students);
    return added;
}

/* From 2 to 10 seconds. */
static double draw(unsigned short *dice)
{
    return 2000 + erand48(dice) * 8000;
}

static void learn(struct scheduler *scheduler, const struct active_run *run)
{
    unsigned short dice[3] = {1, 2, 3};
    for (unsigned i = 0; i < 1000; i++)
        job_times_learn(&scheduler->job_times, &run->run, JOB_STUDENT, llround(draw(dice)));
}

/* The end of so many jobs, one after another at the first grader that is free. */
static double play(unsigned short *dice, unsigned jobs, unsigned graders)
{
    double free_ms[64] = {0}, end_ms = 0;
    for (unsigned i = 0; i < jobs; i++) {
        unsigned first = 0;
        for (unsigned j = 1; j < graders; j++)
            first = free_ms[j] < free_ms[first] ? j : first;
        free_ms[first] += draw(dice);
        end_ms = fmax(end_ms, free_ms[first]);
    }
    return end_ms;
}

enum { PLAYED = 400 };

static int compare(const void *left, const void *right)
{
    double one = *(const double *)left, other = *(const double *)right;
    return (one > other) - (one < other);
}

/* The median of what is played is foretold within `part`, and nine of ten ends come before p90,
 * give or take. */
static void check_end(struct moment end, unsigned jobs, unsigned graders, double part)
{
    static double ends[PLAYED];
    unsigned short dice[3] = {4, 5, 6};
    unsigned within = 0;
    for (unsigned i = 0; i < PLAYED; i++) {
        ends[i] = play(dice, jobs, graders);
        within += ends[i] <= end.p90_ms;
    }
    qsort(ends, PLAYED, sizeof *ends, compare);
    double median = ends[PLAYED / 2];
    if (fabs(end.p50_ms - median) > part * median || within < PLAYED * 3 / 4)
        fail_msg("%u jobs, %u graders: foretold %g and %g, the median is %g, %u of %d are before",
                 jobs, graders, end.p50_ms, end.p90_ms, median, within, (int)PLAYED);
}

static void the_end_of_a_run_comes_true(void **state)
{
    static const unsigned cases[][2] = {{1, 1},    {5, 8},    {8, 8},    {20, 1},  {30, 10},
                                        {100, 10}, {500, 10}, {500, 60}, {60, 50}, {3000, 24}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        void *made;
        struct estimate estimate;
        setup(&made);
        struct scheduler *scheduler = made;
        add_graders(scheduler, "w", cases[i][1], "");
        struct active_run *run = start(scheduler, run_of(1, "cs", cases[i][0]));
        learn(scheduler, run);
        estimate_run(scheduler, run, &estimate);
        assert_null(estimate.reason);
        assert_int_equal(estimate.level, JOB_TIMES_ASSIGNMENT);
        assert_int_equal(estimate.seen, 1000);
        assert_true(estimate.slots >= cases[i][1] && estimate.slots <= cases[i][1]);
        check_end(estimate.ends, cases[i][0], cases[i][1], cases[i][0] >= 100 ? 0.05 : 0.2);
        check_end(estimate.more[2], cases[i][0], cases[i][1] + 4, cases[i][0] >= 100 ? 0.06 : 0.25);
        fake_scheduler_free(&made);
    }
}

static long ends_s(struct scheduler *scheduler, struct active_run *run)
{
    struct estimate estimate;
    estimate_run(scheduler, run, &estimate);
    assert_null(estimate.reason);
    return lround(estimate.ends.p50_ms / 1000);
}

/* 100 jobs of 6 seconds at 10 graders take a minute. */
static void others_take_their_share(void **state)
{
    struct scheduler *scheduler = *state;
    add_graders(scheduler, "w", 10, "");
    struct active_run *run = start(scheduler, run_of(1, "cs", 100));
    learn(scheduler, run);
    long alone_s = ends_s(scheduler, run);
    assert_in_range(alone_s, 58, 66);
    struct active_run *other = start(scheduler, run_of(2, "ee", 10000));
    assert_in_range(ends_s(scheduler, run), 2 * alone_s - 10, 2 * alone_s + 4);
    queue_order_set_weight(run->course, 300);
    assert_in_range(ends_s(scheduler, run), alone_s * 4 / 3 - 8, alone_s * 4 / 3 + 4);
    assert_in_range(ends_s(scheduler, other), 6000, 6100);
    struct run exam = run_of(3, "ex", 100);
    exam.run_class = RUN_CLASS_EXAM;
    start(scheduler, exam);
    assert_in_range(ends_s(scheduler, run), 60 + alone_s * 4 / 3 - 8, 60 + alone_s * 4 / 3 + 4);
}

/* In a course, too: the student with one job is not behind the one with a thousand. */
static void submitters_have_equal_shares(void **state)
{
    struct scheduler *scheduler = *state;
    add_graders(scheduler, "w", 10, "");
    struct run flood = run_of(1, "cs", 1000), one = run_of(2, "cs", 1), last = run_of(3, "cs", 1);
    snprintf(flood.submitter, sizeof flood.submitter, "ada");
    snprintf(one.submitter, sizeof one.submitter, "grace");
    snprintf(last.submitter, sizeof last.submitter, "ada");
    struct active_run *flooding = start(scheduler, flood), *small = start(scheduler, one);
    struct active_run *behind = start(scheduler, last);
    learn(scheduler, flooding);
    assert_in_range(ends_s(scheduler, small), 2, 10);
    assert_in_range(ends_s(scheduler, flooding), 590, 620);
    assert_in_range(ends_s(scheduler, behind), 590, 620);
}

static void a_limit_of_the_course_and_its_graders_tags_count(void **state)
{
    struct scheduler *scheduler = *state;
    add_graders(scheduler, "w", 10, "");
    add_graders(scheduler, "gpu", 2, "gpu");
    struct active_run *run = start(scheduler, run_of(1, "cs", 120));
    learn(scheduler, run);
    assert_in_range(ends_s(scheduler, run), 58, 68);
    run->course->max_running = 2;
    assert_in_range(ends_s(scheduler, run), 350, 370);
    struct run special = run_of(2, "ee", 20);
    special.requires = bw_copy("gpu");
    assert_in_range(ends_s(scheduler, start(scheduler, special)), 60, 85);
}

static struct live_lease *lease(struct scheduler *scheduler, struct active_run *run, uint32_t slot,
                                const char *worker, int64_t age_ms)
{
    char job[JOB_ID_SIZE];
    struct live_lease *added = lease_table_add(
        &scheduler->leases, run, slot, run_slot_job_id(&run->run, slot, job), 1,
        worker_table_find(&scheduler->workers, worker), LEASE_DELIVERED);
    added->leased_ms = scheduler->now_ms - age_ms;
    added->leased_at_ms = scheduler->date_ms - age_ms;
    added->deadline_ms = added->leased_ms + 60000;
    return added;
}

/* The date in seconds from now; -1: it is null. */
static double date_s(const json_t *answer, const char *key, const char *quantile)
{
    const json_t *date = json_object_get(json_object_get(answer, key), quantile);
    return date != NULL ? (double)(date_parse(json_string_value(date)) - DATE_MS) / 1000 : -1;
}

static void a_job_waits_for_those_before_it(void **state)
{
    struct scheduler *scheduler = *state;
    char job[JOB_ID_SIZE];
    add_graders(scheduler, "w", 4, "");
    struct active_run *run = start(scheduler, run_of(1, "cs", 100));
    learn(scheduler, run);
    json_t *first = estimate_subject_json(scheduler, run_slot_job_id(&run->run, 3, job));
    assert_true(date_s(first, "starts", "p50") < 0.1);
    assert_true(fabs(date_s(first, "ends", "p50") - 6) < 0.5);
    assert_true(fabs(date_s(first, "ends", "p90") - 9.2) < 0.5);
    json_decref(first);
    json_t *last = estimate_subject_json(scheduler, run_slot_job_id(&run->run, 60, job));
    assert_true(fabs(date_s(last, "starts", "p50") - 60 * 6 / 4.0) < 4);
    assert_true(date_s(last, "starts", "p90") > date_s(last, "starts", "p50") + 4);
    assert_string_equal(json_string_value(json_object_get(last, "basis")), "assignment");
    assert_int_equal(json_integer_value(json_object_get(last, "graders")), 4);
    const json_t *more = json_array_get(json_object_get(last, "more_graders"), 2);
    assert_int_equal(json_integer_value(json_object_get(more, "graders")), 4);
    assert_true(date_parse(json_string_value(json_object_get(more, "p50"))) < DATE_MS + 60000);
    json_decref(last);
}

static void a_job_that_runs_is_known_to_take_longer(void **state)
{
    struct scheduler *scheduler = *state;
    char job[JOB_ID_SIZE];
    add_graders(scheduler, "w", 2, "");
    struct active_run *run = start(scheduler, run_of(1, "cs", 2));
    learn(scheduler, run);
    queue_open_slots(run, 2, 2);
    lease(scheduler, run, 0, "w0", 8000);
    lease(scheduler, run, 1, "w1", 30000);
    json_t *answer = estimate_subject_json(scheduler, run_slot_job_id(&run->run, 0, job));
    assert_true(fabs(date_s(answer, "starts", "p50") + 8) < 0.01);
    assert_true(fabs(date_s(answer, "ends", "p50") - 1) < 0.2);
    json_decref(answer);
    answer = estimate_subject_json(scheduler, run_slot_job_id(&run->run, 1, job));
    assert_true(fabs(date_s(answer, "ends", "p50") - 15) < 0.2); /* longer than all before it */
    assert_true(fabs(date_s(answer, "ends", "p90") - 30) < 0.2); /* its deadline */
    json_decref(answer);
    answer = estimate_subject_json(scheduler, run->run.id);
    assert_true(date_s(answer, "ends", "p90") >= 15);
    assert_true(json_is_null(json_object_get(answer, "starts")));
    assert_int_equal(json_array_size(json_object_get(answer, "more_graders")), 0);
    json_decref(answer);
}

static void steps_before_and_after_the_students_count(void **state)
{
    struct scheduler *scheduler = *state;
    struct run run = run_of(1, "cs", 10);
    run.has_pre = run.has_post = true;
    add_graders(scheduler, "w", 10, "");
    struct active_run *active = start(scheduler, run);
    learn(scheduler, active);
    long students_s = ends_s(scheduler, active);
    for (unsigned i = 0; i < 5; i++) {
        job_times_learn(&scheduler->job_times, &active->run, JOB_PRE, 60000);
        job_times_learn(&scheduler->job_times, &active->run, JOB_POST, 20000);
    }
    assert_in_range(ends_s(scheduler, active), students_s + 12, students_s + 22);
    active->phase = RUN_PRE;
    queue_open_slots(active, 0, 1);
    assert_in_range(ends_s(scheduler, active), 60 + 20 + 8, 60 + 20 + 12);
    active->phase = RUN_POST;
    queue_open_slots(active, 11, 12);
    assert_in_range(ends_s(scheduler, active), 19, 22);
}

static void check_reason(struct scheduler *scheduler, const char *id, const char *reason)
{
    json_t *answer = estimate_subject_json(scheduler, id);
    assert_true(json_is_null(json_object_get(answer, "starts")));
    assert_true(json_is_null(json_object_get(answer, "ends")));
    const char *found = json_string_value(json_object_get(answer, "reason"));
    assert_non_null(found);
    assert_non_null(strstr(found, reason));
    json_decref(answer);
}

static void there_is_a_reason_for_no_estimate(void **state)
{
    struct scheduler *scheduler = *state;
    char job[JOB_ID_SIZE];
    struct active_run *run = start(scheduler, run_of(1, "cs", 2));
    run_slot_job_id(&run->run, 1, job);
    check_reason(scheduler, "00000000000000000000dead", "was not started, or has ended");
    check_reason(scheduler, run->run.id, "how long they take is not known");
    check_reason(scheduler, job, "how long they take is not known");
    learn(scheduler, run);
    check_reason(scheduler, run->run.id, "no grader that may run it is alive");
    check_reason(scheduler, job, "no grader that may run it is alive");
    add_graders(scheduler, "w", 1, "");
    struct pause pause = {.kind = PAUSE_RUN, .at_ms = DATE_MS};
    snprintf(pause.name, sizeof pause.name, "%s", run->run.id);
    pausing_recovered(scheduler, &pause, 1);
    check_reason(scheduler, run->run.id, "paused");
    check_reason(scheduler, job, "paused");
    pausing_recovered(scheduler, NULL, 0);
    assert_in_range(ends_s(scheduler, run), 11, 14);
    run->run.summary[1] = summary_make(OUTCOME_SUCCEEDED, 1, OWNER_UNSAID, JOB_STUDENT);
    check_reason(scheduler, job, "has its result");
    run->run.cancelled_ms = DATE_MS;
    check_reason(scheduler, run->run.id, "is ending");
}

static void a_course_is_done_when_its_last_lane_is(void **state)
{
    struct scheduler *scheduler = *state;
    struct run batch = run_of(2, "cs", 50);
    batch.run_class = RUN_CLASS_BATCH;
    add_graders(scheduler, "w", 10, "");
    json_t *answer = estimate_course_json(scheduler, "cs");
    assert_non_null(strstr(json_string_value(json_object_get(answer, "reason")), "no job"));
    json_decref(answer);
    learn(scheduler, start(scheduler, run_of(1, "cs", 100)));
    start(scheduler, batch);
    start(scheduler, run_of(3, "ee", 100));
    answer = estimate_course_json(scheduler, "cs");
    double ends_at_s = date_s(answer, "ends", "p50");
    assert_true(ends_at_s > 140 && ends_at_s < 165); /* 250 jobs of 6 s */
    json_decref(answer);
    answer = estimate_course_json(scheduler, "ee");
    ends_at_s = date_s(answer, "ends", "p50");
    assert_true(ends_at_s > 112 && ends_at_s < 132);
    json_decref(answer);
}

static int64_t metric(const struct scheduler *scheduler, enum scheduler_metric row)
{
    return metric_read(scheduler->metrics, row);
}

static void metrics_say_when_all_is_done_and_how_many_graders_are_wanted(void **state)
{
    struct scheduler *scheduler = *state;
    add_graders(scheduler, "w", 2, "");
    estimate_tick(scheduler);
    assert_int_equal(metric(scheduler, SCHEDULER_DONE_SECONDS_COURSE), 0);
    assert_int_equal(metric(scheduler, SCHEDULER_GRADERS_WANTED_COURSE), 0);
    struct active_run *run = start(scheduler, run_of(1, "cs", 1000));
    scheduler->now_ms += 10000;
    estimate_tick(scheduler);
    assert_int_equal(metric(scheduler, SCHEDULER_GRADERS_WANTED_COURSE), 1); /* no time is known */
    learn(scheduler, run);
    estimate_tick(scheduler);
    assert_int_equal(metric(scheduler, SCHEDULER_DONE_SECONDS_COURSE), 0); /* every ten seconds */
    scheduler->now_ms += 10000;
    estimate_tick(scheduler);
    assert_in_range(metric(scheduler, SCHEDULER_DONE_SECONDS_COURSE), 2900, 3100);
    assert_in_range(metric(scheduler, SCHEDULER_GRADERS_WANTED_COURSE), 10, 11);
    assert_int_equal(metric(scheduler, SCHEDULER_DONE_SECONDS_CLASSIC), 0);
}

static void pass(struct scheduler *scheduler, int64_t ms)
{
    for (; ms > 0; ms -= 1000) {
        scheduler->now_ms += 1000;
        scheduler->date_ms += 1000;
        estimate_tick(scheduler);
    }
}

static void what_was_foretold_is_compared_with_what_came_true(void **state)
{
    struct scheduler *scheduler = *state;
    add_graders(scheduler, "w", 1, "");
    struct active_run *run = start(scheduler, run_of(1, "cs", 20));
    learn(scheduler, run);
    pass(scheduler, 12000);
    assert_int_equal(run->foretold.count, 1);
    assert_int_equal(run->foretold.list[0].at_ms, DATE_MS + 11000);
    int64_t ends_ms = run->foretold.list[0].p50_ms;
    assert_in_range(ends_ms, DATE_MS + 11000 + 112000, DATE_MS + 11000 + 130000);
    pass(scheduler, 50000);
    assert_int_equal(run->foretold.count, 1);
    pass(scheduler, 15000); /* half of the time has passed */
    assert_int_equal(run->foretold.count, 2);
    run->foretold.count = 1;
    run->phase = RUN_FINISHED;
    scheduler->date_ms = DATE_MS + 11000 + 2 * (ends_ms - DATE_MS - 11000);
    foretold_run_ended(scheduler, run);
    assert_in_range(metric(scheduler, SCHEDULER_ESTIMATE_ERROR), 499000, 501000);
}

static void a_run_that_was_paused_or_cancelled_is_not_compared(void **state)
{
    struct scheduler *scheduler = *state;
    add_graders(scheduler, "w", 1, "");
    struct active_run *run = start(scheduler, run_of(1, "cs", 20));
    learn(scheduler, run);
    pass(scheduler, 12000);
    assert_int_equal(run->foretold.count, 1);
    run->is_paused = true;
    pass(scheduler, 5000);
    assert_int_equal(run->foretold.count, 0);
    run->is_paused = false;
    run->foretold_next_ms = scheduler->now_ms;
    pass(scheduler, 5000);
    assert_int_equal(run->foretold.count, 1);
    run->phase = RUN_CANCELLED;
    foretold_run_ended(scheduler, run);
    assert_int_equal(metric(scheduler, SCHEDULER_ESTIMATE_ERROR), 0);
}

static void what_was_foretold_is_saved_with_the_end(void **state)
{
    struct scheduler *scheduler = *state;
    struct result result = {.outcome = OUTCOME_SUCCEEDED};
    unsigned saves = 0;
    add_graders(scheduler, "w", 1, "");
    struct active_run *run = start(scheduler, run_of(1, "cs", 1));
    for (unsigned i = 0; i < 5; i++)
        job_times_learn(&scheduler->job_times, &run->run, JOB_STUDENT, 60000);
    pass(scheduler, 12000);
    run_slot_job_id(&run->run, 0, result.job);
    result_seen(scheduler, &result);
    assert_true(metric(scheduler, SCHEDULER_ESTIMATE_ERROR) > 0);
    for (struct command *command = command_list_take(&scheduler->commands); command != NULL;
         command = command_list_take(&scheduler->commands)) {
        if (command->kind == COMMAND_SUBMIT_DB_JOB && command->db_job->kind == DB_JOB_SAVE_RUN) {
            saves++;
            assert_int_equal(command->db_job->run.foretold.count, 1);
            assert_int_equal(command->db_job->run.foretold.list[0].at_ms, DATE_MS + 11000);
        }
        command_free(command);
    }
    assert_int_equal(saves, 1);
}

/* How many of so many queries about estimates the next callback answers. */
static size_t answered(struct scheduler *scheduler, struct known_replica *replica, unsigned queries)
{
    static int64_t number = 0;
    for (unsigned i = 0; i < queries; i++) {
        struct signal_query query = {.number = ++number, .kind = QUERY_ESTIMATE};
        snprintf(query.subject, sizeof query.subject, "%024x", 1);
        (void)replica_ask(replica, &query, scheduler->now_ms);
    }
    json_t *answers = query_answers_take(scheduler, replica);
    size_t count = json_array_size(answers);
    json_decref(answers);
    return count;
}

static void few_estimates_are_made_at_a_time(void **state)
{
    struct scheduler *scheduler = *state;
    struct known_replica *replica = replica_table_add(&scheduler->replicas, "r1", "http://r1:1");
    assert_int_equal(answered(scheduler, replica, 100), 64);
    assert_int_equal(answered(scheduler, replica, 0), 36);
    for (unsigned i = 1; i <= 10000; i++)
        start(scheduler, run_of(i, "cs", 1));
    assert_int_equal(answered(scheduler, replica, 100), 4);
    for (unsigned i = 10001; i <= 60000; i++)
        start(scheduler, run_of(i, "cs", 1));
    assert_int_equal(answered(scheduler, replica, 100), 1);
}

/* Tags and priorities make a lane each; the last one to be served has the end. */
static void a_course_of_many_lanes_is_done_with_its_last(void **state)
{
    struct scheduler *scheduler = *state;
    json_t *first, *all;
    add_graders(scheduler, "w", 1, "");
    for (unsigned i = 0; i < 100; i++) {
        struct run run = run_of(i + 1, "cs", 10);
        run.priority = (int)i;
        struct active_run *added = start(scheduler, run);
        if (i == 0)
            learn(scheduler, added);
    }
    all = estimate_course_json(scheduler, "cs");
    first = estimate_subject_json(scheduler,
                                  "000000000000000000000001"); /* of the least priority */
    const char *end = json_string_value(json_object_get(json_object_get(all, "ends"), "p50"));
    const char *other = json_string_value(json_object_get(json_object_get(first, "ends"), "p50"));
    assert_non_null(end);
    assert_memory_equal(end, other, strlen("2023-11-14T23:52")); /* to the minute, of 100 */
    json_decref(all);
    json_decref(first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fake_scheduler_free)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_end_of_a_run_comes_true),
        TEST(others_take_their_share),
        TEST(submitters_have_equal_shares),
        TEST(a_limit_of_the_course_and_its_graders_tags_count),
        TEST(a_job_waits_for_those_before_it),
        TEST(a_job_that_runs_is_known_to_take_longer),
        TEST(steps_before_and_after_the_students_count),
        TEST(there_is_a_reason_for_no_estimate),
        TEST(a_course_is_done_when_its_last_lane_is),
        TEST(metrics_say_when_all_is_done_and_how_many_graders_are_wanted),
        TEST(what_was_foretold_is_compared_with_what_came_true),
        TEST(a_run_that_was_paused_or_cancelled_is_not_compared),
        TEST(what_was_foretold_is_saved_with_the_end),
        TEST(few_estimates_are_made_at_a_time),
        TEST(a_course_of_many_lanes_is_done_with_its_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
