/* Tests of superseding, driven as by scheduler/core but without I/O: runs are started, and the
 * results that the rules want are looked at. */
#include "scheduler/rules/supersede.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "scheduler/rules/decide.h"
#include "scheduler/rules/run_progress.h"
#include "scheduler/state/queue_position.h"
#include "tests/unit/fake_scheduler.h"

enum { NOW_MS = 1000000, HEARTBEAT_MS = 10000, TOOK_MS = 8000 };

static const int64_t DATE_MS = 1700000000000;

static int setup(void **state)
{
    struct scheduler_settings settings = {.holder = "this",
                                          .heartbeat_ms = HEARTBEAT_MS,
                                          .job_timeout_ms = 3600000,
                                          .max_attempts = 2};
    struct scheduler *scheduler = fake_scheduler_new(&settings, NOW_MS, DATE_MS);
    scheduler->term = 3;
    scheduler->ticked_ms = scheduler->stream_seen_ms = NOW_MS;
    *state = scheduler;
    return 0;
}

/* A run whose id ends with the letter (a to f), and whose students have the letters of `keys` as
 * keys; '-': none. */
static struct run run_named(char letter, const char *keys, int64_t started_ms)
{
    struct run run = {.students = (uint32_t)strlen(keys),
                      .has_stages = {true, true, true},
                      .phase = RUN_STUDENTS,
                      .has_keys = true,
                      .supersede_share = 0.5,
                      .created_ms = DATE_MS,
                      .started_ms = DATE_MS + started_ms};
    snprintf(run.id, sizeof run.id, "%023d%c", 0, letter);
    run.keys = bw_alloc_array(run.students, SUPERSEDE_DIGEST_BYTES);
    for (uint32_t i = 0; i < run.students; i++)
        run.keys[(size_t)i * SUPERSEDE_DIGEST_BYTES] = keys[i] == '-' ? 0 : (uint8_t)keys[i];
    return run;
}

static struct active_run *begin(struct scheduler *scheduler, struct run run)
{
    run_changed(scheduler, &run);
    run_clear(&run);
    return queue_find(&scheduler->queue, run.id);
}

static struct active_run *start(struct scheduler *scheduler, char letter, const char *keys,
                                int64_t started_ms)
{
    return begin(scheduler, run_named(letter, keys, started_ms));
}

/* Carries out what the rules want: records places, inserts results. `text` receives the latter, as
 * "a0" for the job at slot 0 of run a, "a0*" if its holder goes on. */
static void carry_out(struct scheduler *scheduler, char text[200])
{
    struct command *command;
    text[0] = '\0';
    while ((command = command_list_take(&scheduler->commands)) != NULL) {
        size_t length = strlen(text);
        if (command->kind == COMMAND_SUBMIT_DB_JOB && command->db_job->kind == DB_JOB_PLACE_RUN)
            supersede_place_completed(scheduler, command->db_job);
        if (command->kind == COMMAND_INSERT_RESULT) {
            const struct result *result = &command->result;
            struct job_id job;
            assert_true(job_id_parse(result->job, &job));
            assert_int_equal(result->outcome, OUTCOME_SUPERSEDED);
            snprintf(text + length, 200 - length, "%s%c%u%s", length > 0 ? " " : "", job.run[23],
                     job.kind == JOB_PRE ? 9u : job.index, result->holder[0] != '\0' ? "*" : "");
            result_seen(scheduler, result);
        }
        command_free(command);
    }
}

static void assert_inserted(struct scheduler *scheduler, const char *expected)
{
    char text[200];
    carry_out(scheduler, text);
    assert_string_equal(text, expected);
}

/* Takes all queued jobs, in order: "a0 b0". */
static void assert_queued(struct scheduler *scheduler, const char *expected)
{
    char text[200] = "";
    struct offer offer;
    while (queue_peek(&scheduler->queue, PROTOCOL_CLASSIC, &offer)) {
        size_t length = strlen(text);
        snprintf(text + length, sizeof text - length, "%s%c%u", length > 0 ? " " : "",
                 offer.run->run.id[23], offer.slot);
        (void)queue_take(&offer);
    }
    assert_string_equal(text, expected);
}

/* The next job is held by worker w since `ago_ms`. */
static void hold(struct scheduler *scheduler, int64_t ago_ms)
{
    struct offer offer;
    struct known_worker *worker = worker_table_add(&scheduler->workers, "w", 0, true, NOW_MS);
    assert_true(queue_peek(&scheduler->queue, PROTOCOL_CLASSIC, &offer));
    struct live_lease *lease = lease_table_add(&scheduler->leases, offer.run, offer.slot, offer.job,
                                               1, worker, LEASE_DELIVERED);
    lease->leased_ms = NOW_MS - ago_ms;
    (void)queue_take(&offer);
}

/* ---- What waits ---- */

static void a_newer_run_takes_the_place_of_the_one_that_waits(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *first = start(scheduler, 'a', "x", 0);
    start(scheduler, 'b', "-", 1);
    struct active_run *newer = start(scheduler, 'c', "x", 2);
    uint64_t ahead = 9;
    assert_true(queue_position(newer, 0, &ahead));
    assert_int_equal(ahead, 0);
    assert_false(queue_position(first, 0, &ahead));
    assert_string_equal(newer->run.place.run, first->run.id);
    assert_inserted(scheduler, "a0");
    assert_int_equal(first->phase, RUN_SUPERSEDED);
    assert_queued(scheduler, "c0 b0");
}

static void a_place_is_handed_on(void **state)
{
    struct scheduler *scheduler = *state;
    start(scheduler, 'a', "x", 0);
    start(scheduler, 'b', "-", 1);
    for (char letter = 'c'; letter <= 'e'; letter++)
        start(scheduler, letter, "x", letter);
    assert_inserted(scheduler, "a0 c0 d0");
    assert_queued(scheduler, "e0 b0");
}

static void a_place_in_a_larger_run_comes_when_that_job_would_have(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *larger = start(scheduler, 'a', "vwxyz", 0);
    start(scheduler, 'b', "--", 1);
    struct active_run *of_y = start(scheduler, 'c', "y", 2), *of_w = start(scheduler, 'd', "w", 3);
    uint64_t ahead;
    assert_true(queue_position(of_y, 0, &ahead));
    assert_int_equal(ahead, 3); /* a0 d0 a2 */
    assert_true(queue_position(of_w, 0, &ahead));
    assert_int_equal(ahead, 1);
    assert_true(queue_position(larger, 4, &ahead));
    assert_int_equal(ahead, 4);
    assert_queued(scheduler, "a0 d0 a2 c0 a4 b0 b1");
}

static void a_run_of_several_students_takes_the_last_place_if_each_replaces_one(void **state)
{
    struct scheduler *scheduler = *state;
    start(scheduler, 'a', "x", 0);
    start(scheduler, 'b', "-", 1);
    start(scheduler, 'c', "y", 2);
    start(scheduler, 'd', "-", 3);
    start(scheduler, 'e', "xy", 4);
    start(scheduler, 'f', "x-", 5);
    assert_queued(scheduler, "b0 e1 d0 f0 f1");
}

static void a_run_that_is_found_late_is_superseded_by_the_newer_one(void **state)
{
    struct scheduler *scheduler = *state;
    start(scheduler, 'b', "x", 5);
    start(scheduler, 'a', "x", 5);
    start(scheduler, 'c', "x", 1);
    assert_inserted(scheduler, "a0 c0");
    assert_queued(scheduler, "b0");
}

static void a_retry_is_dropped_and_its_attempts_are_counted(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *run = start(scheduler, 'a', "x", 0);
    struct retry retry = {
        .slot = 0, .attempt = 2, .failed_attempts = {.lost = 1}, .due_ms = NOW_MS + 500};
    queue_open_slots(run, 1, 1);
    queue_retry(run, &retry, NOW_MS);
    start(scheduler, 'b', "x", 1);
    assert_int_equal(queue_length(&scheduler->queue), 1);
    assert_int_equal(run->run.summary[0], 0);
    assert_inserted(scheduler, "a0");
    assert_int_equal(summary_attempts(run->run.summary[0]), 1);
    assert_queued(scheduler, "b0");
}

static void a_run_that_is_cancelled_is_not_superseded(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *run = start(scheduler, 'a', "x", 0);
    run->run.cancelled_ms = DATE_MS;
    start(scheduler, 'b', "x", 1);
    assert_inserted(scheduler, "");
}

/* ---- What runs ---- */

static void learn(struct scheduler *scheduler)
{
    struct run run = run_named('f', "-", 0);
    usual_time_learn(&scheduler->supersedes, &run, TOOK_MS);
    run_clear(&run);
}

static void a_job_that_runs_is_stopped_while_nothing_is_known(void **state)
{
    struct scheduler *scheduler = *state;
    start(scheduler, 'a', "x", 0);
    hold(scheduler, 10 * TOOK_MS);
    start(scheduler, 'b', "x", 1);
    assert_inserted(scheduler, "a0");
    assert_null(scheduler->leases.leases);
}

static void the_share_of_the_usual_time_decides(void **state)
{
    struct scheduler *scheduler = *state;
    learn(scheduler);
    start(scheduler, 'a', "x", 0);
    hold(scheduler, TOOK_MS / 2 - 1);
    start(scheduler, 'b', "x", 1);
    assert_inserted(scheduler, "a0");
    hold(scheduler, TOOK_MS / 2);
    struct active_run *newest = start(scheduler, 'c', "x", 2);
    assert_inserted(scheduler, "b0*");
    assert_int_equal(newest->run.place.started_ms, 0);
}

static void with_the_share_0_no_job_is_stopped(void **state)
{
    struct scheduler *scheduler = *state;
    start(scheduler, 'a', "x", 0);
    hold(scheduler, 0);
    struct run newer = run_named('b', "x", 1);
    newer.supersede_share = 0;
    begin(scheduler, newer);
    assert_inserted(scheduler, "a0*");
}

/* ---- Runs ---- */

static void the_job_before_the_students_ends_with_them(void **state)
{
    struct scheduler *scheduler = *state;
    struct run older = run_named('a', "xy", 0);
    older.has_pre = older.has_post = true;
    struct active_run *run = begin(scheduler, older);
    start(scheduler, 'b', "x", 1);
    assert_inserted(scheduler, "a0");
    assert_int_equal(run->phase, RUN_PRE);
    start(scheduler, 'c', "y", 2);
    assert_inserted(scheduler, "a1 a9");
    assert_int_equal(run->phase, RUN_SUPERSEDED);
    assert_queued(scheduler, "b0 c0");
}

static void a_run_is_not_recorded_as_over_before_what_it_supersedes_has_ended(void **state)
{
    struct scheduler *scheduler = *state;
    start(scheduler, 'a', "x", 0);
    struct active_run *newer = start(scheduler, 'b', "x", 1);
    struct result result = {.outcome = OUTCOME_SUCCEEDED, .worker = "w"};
    char text[200];
    job_id_make(newer->run.id, JOB_STUDENT, 0, result.job);
    assert_true(supersede_is_pending(newer));
    result_seen(scheduler, &result);
    assert_false(newer->is_saving);
    carry_out(scheduler, text);
    assert_string_equal(text, "a0");
    run_progress_tick(scheduler);
    assert_false(supersede_is_pending(newer));
    scheduler->now_ms += 5000;
    run_progress_tick(scheduler);
    assert_true(newer->is_saving);
}

static void recovery_decides_in_the_order_of_the_starts(void **state)
{
    struct scheduler *scheduler = *state;
    static const struct {
        char letter;
        int64_t started_ms;
    } runs[] = {{'c', 2}, {'a', 0}, {'b', 1}};
    for (size_t i = 0; i < sizeof runs / sizeof *runs; i++) {
        struct run run = run_named(runs[i].letter, "x", runs[i].started_ms);
        struct active_run *added = queue_add(&scheduler->queue, &run);
        added->phase = RUN_STUDENTS;
        queue_open_slots(added, 0, 1);
    }
    supersede_recover(scheduler);
    assert_inserted(scheduler, "a0 b0");
    assert_queued(scheduler, "c0");
}

static void bring_result(struct scheduler *scheduler, const struct active_run *run,
                         enum job_kind kind, enum job_outcome outcome)
{
    struct result result = {.outcome = outcome, .worker = "w"};
    job_id_make(run->run.id, kind, 0, result.job);
    result_seen(scheduler, &result);
}

static void jobs_of_a_run_that_has_failed_are_not_superseded(void **state)
{
    struct scheduler *scheduler = *state;
    struct run older = run_named('a', "x", 0);
    older.has_pre = true;
    struct active_run *run = begin(scheduler, older);
    bring_result(scheduler, run, JOB_PRE, OUTCOME_FAILED);
    assert_int_equal(run->phase, RUN_FAILED);
    start(scheduler, 'b', "x", 1);
    assert_inserted(scheduler, "");
    assert_queued(scheduler, "b0");
}

static void a_run_whose_end_is_being_recorded_supersedes_no_older_one_that_is_seen_late(
    void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *newer = start(scheduler, 'b', "x", 5);
    struct db_job saved = {.kind = DB_JOB_SAVE_RUN, .run.phase = RUN_FINISHED};
    memcpy(saved.run.id, newer->run.id, sizeof saved.run.id);
    bring_result(scheduler, newer, JOB_STUDENT, OUTCOME_SUCCEEDED);
    assert_true(newer->is_saving);
    start(scheduler, 'a', "x", 1);
    assert_inserted(scheduler, "");
    run_save_completed(scheduler, &saved);
    assert_null(queue_find(&scheduler->queue, saved.run.id));
    assert_queued(scheduler, "a0");
    start(scheduler, 'c', "x", 6);
    assert_inserted(scheduler, "a0");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, fake_scheduler_free)
    const struct CMUnitTest tests[] = {
        CASE(a_newer_run_takes_the_place_of_the_one_that_waits),
        CASE(a_place_is_handed_on),
        CASE(a_place_in_a_larger_run_comes_when_that_job_would_have),
        CASE(a_run_of_several_students_takes_the_last_place_if_each_replaces_one),
        CASE(a_run_that_is_found_late_is_superseded_by_the_newer_one),
        CASE(a_retry_is_dropped_and_its_attempts_are_counted),
        CASE(a_run_that_is_cancelled_is_not_superseded),
        CASE(a_job_that_runs_is_stopped_while_nothing_is_known),
        CASE(the_share_of_the_usual_time_decides),
        CASE(with_the_share_0_no_job_is_stopped),
        CASE(the_job_before_the_students_ends_with_them),
        CASE(a_run_is_not_recorded_as_over_before_what_it_supersedes_has_ended),
        CASE(recovery_decides_in_the_order_of_the_starts),
        CASE(jobs_of_a_run_that_has_failed_are_not_superseded),
        CASE(a_run_whose_end_is_being_recorded_supersedes_no_older_one_that_is_seen_late),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
