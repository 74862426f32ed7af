/* When old runs and orphans are removed, driven by ticks and by completed database jobs. */
#include "scheduler/rules/retention_schedule.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "scheduler/metrics.h"
#include "scheduler/rules/decide.h"

enum { NOW_MS = 1000000, MINUTE_MS = 60000, HOUR_MS = 3600000, TICK_MS = 100 };

static const int64_t DATE_MS = 1700000000000;

static struct scheduler *setup_with(int64_t retain_runs_ms, int64_t orphan_age_ms)
{
    static struct scheduler scheduler;
    const struct scheduler_settings settings = {.holder = "this",
                                                .heartbeat_ms = 10000,
                                                .job_timeout_ms = HOUR_MS,
                                                .retain_runs_ms = retain_runs_ms,
                                                .orphan_age_ms = orphan_age_ms,
                                                .max_attempts = 2};
    scheduler_init(&scheduler, &settings, scheduler_metrics_new());
    return &scheduler;
}

static void tear_down(struct scheduler *scheduler)
{
    metrics_free(scheduler->metrics);
    scheduler_destroy(scheduler);
}

/* A tick at that time. The removal of that kind that it began; NULL: none. All other commands are
 * dropped: what they would bring never comes. */
static struct db_job *tick(struct scheduler *scheduler, int64_t after_ms, enum db_job_kind kind)
{
    struct db_job *found = NULL;
    struct command *command;
    scheduler->now_ms = NOW_MS + after_ms;
    scheduler->date_ms = DATE_MS + after_ms;
    scheduler->stream_seen_ms = scheduler->now_ms;
    decide_tick(scheduler);
    while ((command = command_list_take(&scheduler->commands)) != NULL) {
        if (command->kind == COMMAND_SUBMIT_DB_JOB && command->db_job->kind == kind) {
            assert_null(found);
            found = command->db_job;
            command->db_job = NULL;
        }
        command_free(command);
    }
    return found;
}

static void complete(struct scheduler *scheduler, struct db_job *db_job, enum bw_code code)
{
    struct event *event = event_new(EVENT_DB_JOB, db_job->generation);
    db_job->code = code;
    event->db_job = db_job;
    decide_event(scheduler, event);
}

/* Asserts that a removal of that kind begins, and completes it. */
static void expect_removal(struct scheduler *scheduler, int64_t after_ms, enum db_job_kind kind)
{
    struct db_job *db_job = tick(scheduler, after_ms, kind);
    assert_non_null(db_job);
    complete(scheduler, db_job, BW_OK);
}

static void old_runs_are_removed_at_the_first_tick_and_every_minute(void **state)
{
    (void)state;
    struct scheduler *scheduler = setup_with(24 * HOUR_MS, HOUR_MS);
    struct db_job *db_job = tick(scheduler, 0, DB_JOB_REMOVE_RUNS);
    assert_non_null(db_job);
    assert_int_equal(db_job->removed.now_ms, DATE_MS);
    assert_int_equal(db_job->removed.retain_ms, 24 * HOUR_MS);
    assert_int_equal(db_job->removed.job_timeout_ms, HOUR_MS);
    complete(scheduler, db_job, BW_OK);
    assert_null(tick(scheduler, MINUTE_MS - TICK_MS, DB_JOB_REMOVE_RUNS));
    expect_removal(scheduler, MINUTE_MS, DB_JOB_REMOVE_RUNS);
    assert_null(tick(scheduler, MINUTE_MS + TICK_MS, DB_JOB_REMOVE_RUNS));
    tear_down(scheduler);
}

static void runs_that_are_kept_for_minutes_are_removed_more_often(void **state)
{
    (void)state;
    static const int64_t rows[][2] = {{5 * MINUTE_MS, 30000}, {2000, 1000}}; /* kept, pause */
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct scheduler *scheduler = setup_with(rows[i][0], HOUR_MS);
        expect_removal(scheduler, 0, DB_JOB_REMOVE_RUNS);
        assert_null(tick(scheduler, rows[i][1] - TICK_MS, DB_JOB_REMOVE_RUNS));
        expect_removal(scheduler, rows[i][1], DB_JOB_REMOVE_RUNS);
        tear_down(scheduler);
    }
}

static void runs_without_a_limit_are_kept_for_ever(void **state)
{
    (void)state;
    struct scheduler *scheduler = setup_with(0, HOUR_MS);
    assert_null(tick(scheduler, 0, DB_JOB_REMOVE_RUNS));
    assert_null(tick(scheduler, 24 * HOUR_MS, DB_JOB_REMOVE_RUNS));
    tear_down(scheduler);
}

static void one_removal_of_a_kind_goes_on_at_a_time(void **state)
{
    (void)state;
    struct scheduler *scheduler = setup_with(24 * HOUR_MS, HOUR_MS);
    struct db_job *runs = tick(scheduler, 0, DB_JOB_REMOVE_RUNS);
    assert_non_null(runs);
    struct db_job *orphans = tick(scheduler, HOUR_MS, DB_JOB_REMOVE_ORPHANS);
    assert_non_null(orphans);
    assert_null(tick(scheduler, 2 * HOUR_MS, DB_JOB_REMOVE_ORPHANS));
    assert_null(tick(scheduler, 3 * HOUR_MS, DB_JOB_REMOVE_RUNS));
    complete(scheduler, runs, BW_UNAVAILABLE);
    expect_removal(scheduler, 4 * HOUR_MS, DB_JOB_REMOVE_RUNS);
    complete(scheduler, orphans, BW_UNAVAILABLE);
    expect_removal(scheduler, 5 * HOUR_MS, DB_JOB_REMOVE_ORPHANS);
    tear_down(scheduler);
}

static void orphans_are_removed_every_orphan_age_and_not_at_the_start(void **state)
{
    (void)state;
    struct scheduler *scheduler = setup_with(0, 24 * HOUR_MS);
    assert_null(tick(scheduler, 0, DB_JOB_REMOVE_ORPHANS));
    assert_null(tick(scheduler, 24 * HOUR_MS - TICK_MS, DB_JOB_REMOVE_ORPHANS));
    expect_removal(scheduler, 24 * HOUR_MS, DB_JOB_REMOVE_ORPHANS);
    assert_null(tick(scheduler, 48 * HOUR_MS - TICK_MS, DB_JOB_REMOVE_ORPHANS));
    expect_removal(scheduler, 48 * HOUR_MS, DB_JOB_REMOVE_ORPHANS);
    tear_down(scheduler);
}

static void search_for_orphans_has_the_date_and_the_age(void **state)
{
    (void)state;
    struct scheduler *scheduler = setup_with(0, HOUR_MS);
    assert_null(tick(scheduler, 0, DB_JOB_REMOVE_ORPHANS));
    struct db_job *db_job = tick(scheduler, HOUR_MS, DB_JOB_REMOVE_ORPHANS);
    assert_non_null(db_job);
    assert_int_equal(db_job->removed.now_ms, DATE_MS + HOUR_MS);
    assert_int_equal(db_job->removed.retain_ms, HOUR_MS);
    complete(scheduler, db_job, BW_OK);
    tear_down(scheduler);
}

static void old_entries_of_the_audit_are_removed_every_minute_one_removal_at_a_time(void **state)
{
    (void)state;
    struct scheduler *scheduler = setup_with(0, HOUR_MS);
    scheduler->settings.retain_audit_ms = 24 * HOUR_MS;
    struct db_job *db_job = tick(scheduler, 0, DB_JOB_REMOVE_AUDIT);
    assert_non_null(db_job);
    assert_int_equal(db_job->removed.now_ms, DATE_MS);
    assert_int_equal(db_job->removed.retain_ms, 24 * HOUR_MS);
    assert_null(tick(scheduler, 5 * MINUTE_MS, DB_JOB_REMOVE_AUDIT));
    complete(scheduler, db_job, BW_UNAVAILABLE);
    expect_removal(scheduler, 6 * MINUTE_MS, DB_JOB_REMOVE_AUDIT);
    assert_null(tick(scheduler, 7 * MINUTE_MS - TICK_MS, DB_JOB_REMOVE_AUDIT));
    tear_down(scheduler);
}

static void the_audit_without_a_limit_is_kept_for_ever(void **state)
{
    (void)state;
    struct scheduler *scheduler = setup_with(HOUR_MS, HOUR_MS);
    assert_null(tick(scheduler, 0, DB_JOB_REMOVE_AUDIT));
    assert_null(tick(scheduler, 24 * HOUR_MS, DB_JOB_REMOVE_AUDIT));
    tear_down(scheduler);
}

static void a_recovery_begins_the_schedule_anew(void **state)
{
    (void)state;
    struct scheduler *scheduler = setup_with(24 * HOUR_MS, HOUR_MS);
    struct db_job *former = tick(scheduler, 0, DB_JOB_REMOVE_RUNS);
    assert_non_null(former);
    scheduler_reset(scheduler);
    complete(scheduler, former, BW_OK);
    expect_removal(scheduler, TICK_MS, DB_JOB_REMOVE_RUNS);
    assert_null(tick(scheduler, HOUR_MS, DB_JOB_REMOVE_ORPHANS));
    tear_down(scheduler);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_runs_are_removed_at_the_first_tick_and_every_minute),
        cmocka_unit_test(runs_that_are_kept_for_minutes_are_removed_more_often),
        cmocka_unit_test(runs_without_a_limit_are_kept_for_ever),
        cmocka_unit_test(one_removal_of_a_kind_goes_on_at_a_time),
        cmocka_unit_test(orphans_are_removed_every_orphan_age_and_not_at_the_start),
        cmocka_unit_test(search_for_orphans_has_the_date_and_the_age),
        cmocka_unit_test(old_entries_of_the_audit_are_removed_every_minute_one_removal_at_a_time),
        cmocka_unit_test(the_audit_without_a_limit_is_kept_for_ever),
        cmocka_unit_test(a_recovery_begins_the_schedule_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
