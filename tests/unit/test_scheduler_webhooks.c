/* Which database jobs the events of webhooks have. */
#include "scheduler/rules/webhooks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_scheduler.h"

#define RUN "0123456789abcdef01234567"

enum { NOW_MS = 1000000, AT_ONCE = 200 };
static const int64_t DATE_MS = 1700000000000;

static int setup(void **state)
{
    struct scheduler_settings settings = {.heartbeat_ms = 10000, .max_attempts = 3};
    *state = fake_scheduler_new(&settings, NOW_MS, DATE_MS);
    return 0;
}

static void lose_workers(struct scheduler *scheduler, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        struct known_worker worker = {.held = 1};
        snprintf(worker.id, sizeof worker.id, "w%u", i);
        webhooks_worker_lost(scheduler, &worker);
    }
}

/* How many events the only job that is submitted has, with rising numbers; 0: there is no job. */
static size_t complete(struct scheduler *scheduler, enum bw_code code)
{
    size_t count = 0;
    int64_t number = 0;
    struct command *command = command_list_take(&scheduler->commands);
    if (command == NULL)
        return 0;
    assert_int_equal(command->kind, COMMAND_SUBMIT_DB_JOB);
    assert_int_equal(command->db_job->kind, DB_JOB_RECORD_EVENTS);
    const struct webhook_event *event = command->db_job->events.first;
    for (; event != NULL; event = event->next, count++) {
        assert_true(event->number > number);
        assert_string_equal(event->run, command->db_job->events.first->run);
        number = event->number;
    }
    command->db_job->code = code;
    webhooks_completed(scheduler, command->db_job);
    command_free(command);
    assert_null(command_list_take(&scheduler->commands));
    return count;
}

static void workers_that_are_lost_at_once_have_few_database_jobs(void **state)
{
    struct scheduler *scheduler = *state;
    lose_workers(scheduler, 0, AT_ONCE + 3);
    assert_int_equal(complete(scheduler, BW_OK), 0);
    webhooks_tick(scheduler);
    assert_int_equal(complete(scheduler, BW_OK), AT_ONCE);
    webhooks_tick(scheduler);
    assert_int_equal(complete(scheduler, BW_OK), 3);
    webhooks_tick(scheduler);
    assert_int_equal(complete(scheduler, BW_OK), 0);
}

static void events_that_were_not_recorded_are_submitted_again_before_later_ones(void **state)
{
    struct scheduler *scheduler = *state;
    lose_workers(scheduler, 0, 2);
    webhooks_tick(scheduler);
    assert_int_equal(complete(scheduler, BW_UNAVAILABLE), 2);
    lose_workers(scheduler, 2, 1);
    webhooks_tick(scheduler);
    assert_int_equal(complete(scheduler, BW_OK), 0); /* it waits for a while */
    scheduler->now_ms += 1000;
    webhooks_tick(scheduler);
    assert_int_equal(complete(scheduler, BW_OK), 3);
}

static void events_of_a_run_have_their_own_database_job(void **state)
{
    struct scheduler *scheduler = *state;
    struct run run = {.students = 1, .has_stages[JOB_STUDENT] = true, .id = RUN};
    struct active_run *added = queue_add(&scheduler->queue, &run);
    struct pause pause = {.kind = PAUSE_RUN, .name = RUN, .at_ms = DATE_MS};
    lose_workers(scheduler, 0, 1);
    (void)pause_table_add(&scheduler->pauses, &pause);
    pause_table_count(&scheduler->pauses, scheduler->date_ms);
    webhooks_check_pause(scheduler, added);
    lose_workers(scheduler, 1, 1);
    for (int i = 0; i < 3; i++) {
        webhooks_tick(scheduler);
        assert_int_equal(complete(scheduler, BW_OK), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(workers_that_are_lost_at_once_have_few_database_jobs, setup,
                                        fake_scheduler_free),
        cmocka_unit_test_setup_teardown(
            events_that_were_not_recorded_are_submitted_again_before_later_ones, setup,
            fake_scheduler_free),
        cmocka_unit_test_setup_teardown(events_of_a_run_have_their_own_database_job, setup,
                                        fake_scheduler_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
