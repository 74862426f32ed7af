/* Which samples of the load the leader takes, and how samples are bounded and merged. */
#include "scheduler/rules/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
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

static struct active_run *add_run(struct scheduler *scheduler, unsigned number, const char *course,
                                  uint32_t students)
{
    struct run run = {.students = students, .started_ms = DATE_MS - 60000};
    snprintf(run.id, sizeof run.id, "%024x", number);
    snprintf(run.course, sizeof run.course, "%s", course);
    run.protocol = protocol_by_course(course[0] != '\0');
    struct active_run *added = queue_add(&scheduler->queue, &run);
    queue_open_slots(added, 0, students);
    return added;
}

static void pass(struct scheduler *scheduler, int64_t ms)
{
    scheduler->now_ms += ms;
    scheduler->date_ms += ms;
    history_tick(scheduler);
}

/* The sample that is to be recorded, the only command; at_ms 0: there is none. The caller clears
 * it. */
static struct history_sample take(struct scheduler *scheduler)
{
    struct history_sample sample = {0};
    struct command *command = command_list_take(&scheduler->commands);
    if (command == NULL)
        return sample;
    assert_int_equal(command->kind, COMMAND_SUBMIT_DB_JOB);
    assert_int_equal(command->db_job->kind, DB_JOB_RECORD_SAMPLE);
    sample = command->db_job->sample;
    memset(&command->db_job->sample, 0, sizeof command->db_job->sample);
    command_free(command);
    assert_null(command_list_take(&scheduler->commands));
    return sample;
}

static void a_step_has_one_sample(void **state)
{
    struct scheduler *scheduler = *state;
    history_tick(scheduler);
    assert_int_equal(take(scheduler).at_ms, 0);
    pass(scheduler, HISTORY_STEP_MS - 1);
    assert_int_equal(take(scheduler).at_ms, 0);
    pass(scheduler, 1);
    struct history_sample sample = take(scheduler);
    assert_int_equal(sample.at_ms, DATE_MS + HISTORY_STEP_MS);
    assert_int_equal(sample.term, 1);
    history_sample_clear(&sample);
    pass(scheduler, 100);
    assert_int_equal(take(scheduler).at_ms, 0);
}

static void a_sample_has_the_load_of_each_course(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *large = add_run(scheduler, 1, "large", 10);
    struct active_run *classic = add_run(scheduler, 2, "", 3);
    add_run(scheduler, 3, "small", 1);
    history_note_hand_out(scheduler, large, 4000);
    history_note_hand_out(scheduler, large, -1);
    history_note_result(scheduler, large, OUTCOME_FAILED);
    history_note_result(scheduler, classic, OUTCOME_SUCCEEDED);
    large->live = 2;
    pass(scheduler, HISTORY_STEP_MS);
    struct history_sample sample = take(scheduler);
    assert_int_equal(sample.count, 3);
    const struct history_course *first = &sample.courses[0], *second = &sample.courses[1];
    assert_string_equal(first->name, "large");
    assert_int_equal(first->load.queued, 10);
    assert_int_equal(first->load.running, 2);
    assert_int_equal(first->load.handed_out, 2);
    assert_int_equal(first->load.results[OUTCOME_FAILED], 1);
    assert_int_equal(first->load.oldest_ms, 60000 + HISTORY_STEP_MS);
    assert_string_equal(second->name, "");
    assert_int_equal(second->load.queued, 3);
    assert_int_equal(second->load.results[OUTCOME_SUCCEEDED], 1);
    assert_int_equal(duration_buckets_count(&sample.waits), 1);
    assert_in_range(duration_buckets_quantile(&sample.waits, 0.5), 3600, 4400);
    history_sample_clear(&sample);
}

static void counts_begin_anew_after_a_sample_and_survive_a_recovery(void **state)
{
    struct scheduler *scheduler = *state;
    history_note_hand_out(scheduler, add_run(scheduler, 1, "a", 1), 10);
    scheduler_reset(scheduler);
    history_note_hand_out(scheduler, add_run(scheduler, 1, "a", 1), 10);
    pass(scheduler, HISTORY_STEP_MS);
    struct history_sample sample = take(scheduler);
    assert_int_equal(sample.courses[0].load.handed_out, 2);
    history_sample_clear(&sample);
    pass(scheduler, HISTORY_STEP_MS);
    sample = take(scheduler);
    assert_int_equal(sample.courses[0].load.handed_out, 0);
    assert_int_equal(sample.courses[0].load.queued, 1);
    assert_int_equal(duration_buckets_count(&sample.waits), 0);
    history_sample_clear(&sample);
}

static void a_new_term_begins_at_zero(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *run = add_run(scheduler, 1, "a", 1);
    history_note_hand_out(scheduler, run, 10);
    scheduler->term = 2;
    pass(scheduler, 3 * HISTORY_STEP_MS);
    assert_int_equal(take(scheduler).at_ms, 0); /* another leader has had these steps */
    pass(scheduler, HISTORY_STEP_MS);
    struct history_sample sample = take(scheduler);
    assert_int_equal(sample.courses[0].load.handed_out, 0);
    history_sample_clear(&sample);
}

static void a_clock_that_is_set_back_delays_no_sample(void **state)
{
    struct scheduler *scheduler = *state;
    pass(scheduler, 0);
    pass(scheduler, -3600000);
    assert_int_equal(take(scheduler).at_ms, 0);
    pass(scheduler, HISTORY_STEP_MS);
    struct history_sample sample = take(scheduler);
    assert_int_equal(sample.at_ms, DATE_MS - 3600000 + HISTORY_STEP_MS);
    history_sample_clear(&sample);
}

static void graders_are_counted_once(void **state)
{
    struct scheduler *scheduler = *state;
    struct known_worker *workers[5];
    for (unsigned i = 0; i < 5; i++) {
        char id[8];
        snprintf(id, sizeof id, "w%u", i);
        workers[i] = worker_table_add(&scheduler->workers, id, 1, i != 4, scheduler->now_ms);
    }
    workers[1]->held = 2;
    workers[1]->is_paused = true;
    workers[2]->is_paused = true;
    snprintf(workers[3]->fault, sizeof workers[3]->fault, "no engine");
    pass(scheduler, 0);
    pass(scheduler, HISTORY_STEP_MS);
    struct history_sample sample = take(scheduler);
    assert_int_equal(sample.graders.working, 1);
    assert_int_equal(sample.graders.idle, 1);
    assert_int_equal(sample.graders.paused, 1);
    assert_int_equal(sample.graders.faulty, 1);
    history_sample_clear(&sample);
    workers[1]->held = 0;
}

static void the_least_loads_are_counted_together(void **state)
{
    struct history_sample sample = {0};
    (void)state;
    for (unsigned i = 0; i < HISTORY_COURSES_MAX + 7; i++) {
        char name[8];
        snprintf(name, sizeof name, "c%u", i);
        history_sample_add(&sample, PROTOCOL_CLASSIC, name)->load.queued = i;
    }
    history_sample_bound(&sample);
    assert_int_equal(sample.count, HISTORY_COURSES_MAX);
    assert_int_equal(sample.courses[0].load.queued, HISTORY_COURSES_MAX + 6);
    assert_int_equal(sample.other_courses, 6); /* one has no load */
    assert_int_equal(sample.others.queued, 1 + 2 + 3 + 4 + 5 + 6);
    history_sample_clear(&sample);
}

static void a_merged_sample_has_the_counts_of_both_and_the_later_state(void **state)
{
    struct history_sample earlier = {.at_ms = 10000, .graders = {.working = 3}}, later = earlier;
    (void)state;
    later.at_ms = 20000;
    later.graders.working = 1;
    struct history_load *gone = &history_sample_add(&earlier, PROTOCOL_CLASSIC, "gone")->load;
    gone->queued = 5;
    gone->handed_out = 4;
    history_sample_add(&earlier, PROTOCOL_CLASSIC, "both")->load.results[OUTCOME_SUCCEEDED] = 2;
    struct history_load *both = &history_sample_add(&later, PROTOCOL_CLASSIC, "both")->load;
    both->results[OUTCOME_SUCCEEDED] = 3;
    both->queued = 9;
    history_sample_merge(&earlier, &later);
    assert_int_equal(earlier.at_ms, 20000);
    assert_int_equal(earlier.graders.working, 1);
    assert_int_equal(earlier.courses[0].load.queued, 0);
    assert_int_equal(earlier.courses[0].load.handed_out, 4);
    assert_int_equal(earlier.courses[1].load.queued, 9);
    assert_int_equal(earlier.courses[1].load.results[OUTCOME_SUCCEEDED], 5);
    history_sample_clear(&earlier);
    history_sample_clear(&later);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_step_has_one_sample, setup, fake_scheduler_free),
        cmocka_unit_test_setup_teardown(a_sample_has_the_load_of_each_course, setup,
                                        fake_scheduler_free),
        cmocka_unit_test_setup_teardown(counts_begin_anew_after_a_sample_and_survive_a_recovery,
                                        setup, fake_scheduler_free),
        cmocka_unit_test_setup_teardown(a_new_term_begins_at_zero, setup, fake_scheduler_free),
        cmocka_unit_test_setup_teardown(a_clock_that_is_set_back_delays_no_sample, setup,
                                        fake_scheduler_free),
        cmocka_unit_test_setup_teardown(graders_are_counted_once, setup, fake_scheduler_free),
        cmocka_unit_test(the_least_loads_are_counted_together),
        cmocka_unit_test(a_merged_sample_has_the_counts_of_both_and_the_later_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
