/* How long jobs take: what is learned from results, and what of it a later leader knows. */
#include "scheduler/rules/job_times.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

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

static struct run run_of(const char *course, const char *assignment)
{
    struct run run = {.students = 1};
    snprintf(run.course, sizeof run.course, "%s", course);
    snprintf(run.assignment, sizeof run.assignment, "%s", assignment);
    run.protocol = protocol_by_course(course[0] != '\0');
    return run;
}

static void learn(struct job_times_table *table, const struct run *run, int64_t ms, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        job_times_learn(table, run, JOB_STUDENT, ms);
}

/* The mean by which a student's job of the run is estimated, to the second. */
static long mean_s(const struct job_times_table *table, const struct run *run,
                   enum job_times_level *level)
{
    struct job_times *times = job_times_of(table, run, JOB_STUDENT, level);
    return times != NULL ? lround(job_times_mean(times) / 1000) : 0;
}

static void an_assignment_of_which_little_is_known_is_like_its_course(void **state)
{
    struct scheduler *scheduler = *state;
    struct job_times_table *table = &scheduler->job_times;
    struct run first = run_of("cs", "hw1"), second = run_of("cs", "hw2"), other = run_of("ee", "x");
    enum job_times_level level;
    assert_int_equal(mean_s(table, &first, &level), 0);
    assert_int_equal(level, JOB_TIMES_NONE);
    learn(table, &first, 10000, 20);
    assert_int_equal(mean_s(table, &first, &level), 10);
    assert_int_equal(level, JOB_TIMES_ASSIGNMENT);
    assert_int_equal(mean_s(table, &second, &level), 10);
    assert_int_equal(level, JOB_TIMES_COURSE);
    assert_int_equal(mean_s(table, &other, &level), 10);
    assert_int_equal(level, JOB_TIMES_ALL);
    learn(table, &second, 40000, 5);
    assert_int_equal(mean_s(table, &second, &level), 40);
    assert_int_equal(level, JOB_TIMES_ASSIGNMENT);
}

static void a_classic_run_is_known_by_its_name_or_its_limits(void **state)
{
    struct scheduler *scheduler = *state;
    struct job_times_table *table = &scheduler->job_times;
    struct run named = run_of("", ""), plain = named, course = run_of("cs", "hw1");
    enum job_times_level level;
    snprintf(named.name, sizeof named.name, "final");
    plain.timeout_ms[JOB_STUDENT] = 60000;
    learn(table, &named, 10000, 5);
    learn(table, &plain, 30000, 5);
    assert_int_equal(mean_s(table, &named, &level), 10);
    assert_int_equal(mean_s(table, &plain, &level), 30);
    assert_int_equal(level, JOB_TIMES_ASSIGNMENT);
    assert_int_equal(mean_s(table, &course, &level), 0); /* other graders, other machines */
}

static void a_job_before_the_students_is_known_apart_from_them(void **state)
{
    struct scheduler *scheduler = *state;
    struct run run = run_of("cs", "hw1");
    enum job_times_level level;
    learn(&scheduler->job_times, &run, 10000, 5);
    struct job_times *times = job_times_of(&scheduler->job_times, &run, JOB_PRE, &level);
    assert_int_equal(lround(job_times_mean(times) / 1000), 10); /* nothing better is known */
    job_times_learn(&scheduler->job_times, &run, JOB_PRE, 90000);
    times = job_times_of(&scheduler->job_times, &run, JOB_PRE, &level);
    assert_int_equal(lround(job_times_mean(times) / 1000), 90);
    assert_int_equal(mean_s(&scheduler->job_times, &run, &level), 10);
}

static void the_table_is_bounded(void **state)
{
    struct scheduler *scheduler = *state;
    struct job_times_table *table = &scheduler->job_times;
    enum job_times_level level;
    struct run first = run_of("cs", "a0");
    for (unsigned i = 0; i < JOB_TIMES_MAX + 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "a%u", i);
        struct run run = run_of("cs", name);
        learn(table, &run, 1000, 5);
    }
    assert_int_equal(HASH_COUNT(table->times), JOB_TIMES_MAX);
    assert_int_equal(mean_s(table, &first, &level), 1);
    assert_int_equal(level, JOB_TIMES_COURSE); /* which is learned all the time */
    size_t count, deleted = 0;
    struct job_times_record *records = job_times_take_dirty(table, &count);
    for (size_t i = 0; i < count; i++)
        deleted += records[i].sketch == NULL;
    assert_int_equal(count, JOB_TIMES_SAVED_AT_ONCE);
    assert_int_equal(deleted, 12); /* ten, and the keys of the course and of all */
    job_times_records_free(records, count);
}

/* ---- What the leader keeps ---- */

static void pass(struct scheduler *scheduler, int64_t ms)
{
    scheduler->now_ms += ms;
    scheduler->date_ms += ms;
    job_times_tick(scheduler);
}

/* The database job that was submitted; NULL: none. The caller frees it. */
static struct db_job *take(struct scheduler *scheduler)
{
    struct command *command = command_list_take(&scheduler->commands);
    if (command == NULL)
        return NULL;
    assert_int_equal(command->kind, COMMAND_SUBMIT_DB_JOB);
    struct db_job *db_job = command->db_job;
    command->db_job = NULL;
    command_free(command);
    return db_job;
}

static void complete(struct scheduler *scheduler, struct db_job *db_job, enum bw_code code)
{
    db_job->code = code;
    job_times_completed(scheduler, db_job);
    db_job_free(db_job);
}

/* Gives a read one record. */
static void give(struct db_job *db_job, const char *key, const char *sketch)
{
    db_job->times.records = bw_alloc(sizeof *db_job->times.records);
    db_job->times.count = 1;
    snprintf(db_job->times.records->key, JOB_TIMES_KEY_SIZE, "%s", key);
    db_job->times.records->sketch = bw_copy(sketch);
}

static void what_was_learned_is_added_to_what_was_read_and_saved(void **state)
{
    struct scheduler *scheduler = *state;
    struct run run = run_of("cs", "hw1");
    enum job_times_level level;
    pass(scheduler, 0);
    struct db_job *read = take(scheduler);
    assert_int_equal(read->kind, DB_JOB_READ_TIMES);
    learn(&scheduler->job_times, &run, 10000, 5);
    pass(scheduler, 60000);
    assert_null(take(scheduler)); /* nothing is saved before it was read */
    struct quantile_sketch stored = {0};
    for (unsigned i = 0; i < 5; i++)
        quantile_sketch_add(&stored, 30000);
    char *text = quantile_sketch_text(&stored);
    give(read, "1/1/cs/hw1", text);
    free(text);
    complete(scheduler, read, BW_OK);
    assert_int_equal(mean_s(&scheduler->job_times, &run, &level), 20);
    pass(scheduler, 10000);
    struct db_job *save = take(scheduler);
    assert_int_equal(save->kind, DB_JOB_SAVE_TIMES);
    assert_int_equal(save->times.count, 3);
    complete(scheduler, save, BW_OK);
    pass(scheduler, 10000);
    assert_null(take(scheduler));
}

static void what_could_not_be_saved_is_saved_later(void **state)
{
    struct scheduler *scheduler = *state;
    struct run run = run_of("cs", "hw1");
    pass(scheduler, 0);
    complete(scheduler, take(scheduler), BW_UNAVAILABLE);
    pass(scheduler, 1000);
    complete(scheduler, take(scheduler), BW_OK); /* the read, again */
    learn(&scheduler->job_times, &run, 10000, 1);
    pass(scheduler, 10000);
    struct db_job *save = take(scheduler);
    scheduler_reset(scheduler); /* a recovery: the outcome comes late */
    save->code = BW_OK;
    job_times_completed_late(scheduler, save);
    db_job_free(save);
    pass(scheduler, 10000);
    save = take(scheduler);
    assert_int_equal(save->times.count, 3);
    db_job_free(save);
}

static void a_new_term_reads_again_and_ignores_what_the_last_one_asked_for(void **state)
{
    struct scheduler *scheduler = *state;
    struct run run = run_of("cs", "hw1");
    enum job_times_level level;
    pass(scheduler, 0);
    struct db_job *late = take(scheduler);
    learn(&scheduler->job_times, &run, 10000, 5);
    scheduler->term = 2;
    pass(scheduler, 0);
    struct db_job *read = take(scheduler);
    assert_int_equal(mean_s(&scheduler->job_times, &run, &level), 0);
    give(late, "1/1/cs/hw1", "9 100:576");
    complete(scheduler, late, BW_OK);
    assert_int_equal(mean_s(&scheduler->job_times, &run, &level), 0);
    give(read, "1/1/cs/hw1", "x");
    complete(scheduler, read, BW_OK); /* what is no sketch is left out */
    assert_int_equal(mean_s(&scheduler->job_times, &run, &level), 0);
    assert_true(scheduler->job_times.is_read);
}

/* ---- What is learned ---- */

static void a_job_counts_as_long_as_its_worker_had_it(void **state)
{
    struct scheduler *scheduler = *state;
    struct run run = run_of("cs", "hw1");
    enum job_times_level level;
    snprintf(run.id, sizeof run.id, "%024x", 1);
    struct active_run *active = queue_add(&scheduler->queue, &run);
    struct live_lease lease = {.run = active,
                               .leased_ms = scheduler->now_ms - 1000, /* it was recovered */
                               .leased_at_ms = DATE_MS - 20000};
    struct result result = {.outcome = OUTCOME_CANCELLED};
    job_times_note_result(scheduler, &lease, &result);
    assert_int_equal(mean_s(&scheduler->job_times, &active->run, &level), 0);
    result.outcome = OUTCOME_FAILED;
    job_times_note_result(scheduler, &lease, &result);
    assert_int_equal(mean_s(&scheduler->job_times, &active->run, &level), 20);
    result = (struct result){.outcome = OUTCOME_SUCCEEDED,
                             .started_ms = DATE_MS - 70000,
                             .finished_ms = DATE_MS - 10000};
    job_times_note_result(scheduler, &lease, &result);
    assert_int_equal(mean_s(&scheduler->job_times, &active->run, &level), 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_assignment_of_which_little_is_known_is_like_its_course,
                                        setup, fake_scheduler_free),
        cmocka_unit_test_setup_teardown(a_classic_run_is_known_by_its_name_or_its_limits, setup,
                                        fake_scheduler_free),
        cmocka_unit_test_setup_teardown(a_job_before_the_students_is_known_apart_from_them, setup,
                                        fake_scheduler_free),
        cmocka_unit_test_setup_teardown(the_table_is_bounded, setup, fake_scheduler_free),
        cmocka_unit_test_setup_teardown(what_was_learned_is_added_to_what_was_read_and_saved, setup,
                                        fake_scheduler_free),
        cmocka_unit_test_setup_teardown(what_could_not_be_saved_is_saved_later, setup,
                                        fake_scheduler_free),
        cmocka_unit_test_setup_teardown(
            a_new_term_reads_again_and_ignores_what_the_last_one_asked_for, setup,
            fake_scheduler_free),
        cmocka_unit_test_setup_teardown(a_job_counts_as_long_as_its_worker_had_it, setup,
                                        fake_scheduler_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
