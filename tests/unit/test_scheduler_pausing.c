/* Pauses in the scheduler: what they hold back, when they pass, and when a query about them is
 * answered. */
#include "scheduler/rules/pausing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/unit/fake_scheduler.h"

#define RUN "0123456789abcdef01234567"
#define OTHER "1123456789abcdef01234567"

enum { NOW_MS = 1000000 };
static const int64_t DATE_MS = 1700000000000;

static int setup(void **state)
{
    struct scheduler_settings settings = {.heartbeat_ms = 10000, .max_attempts = 3};
    *state = fake_scheduler_new(&settings, NOW_MS, DATE_MS);
    return 0;
}

static struct active_run *add_run(struct scheduler *scheduler, const char *id, const char *course)
{
    struct run run = {.students = 2, .has_stages[JOB_STUDENT] = true};
    snprintf(run.id, sizeof run.id, "%s", id);
    snprintf(run.course, sizeof run.course, "%s", course);
    snprintf(run.assignment, sizeof run.assignment, "hw1");
    struct active_run *added = queue_add(&scheduler->queue, &run);
    queue_open_slots(added, 0, 2);
    pausing_take_run(scheduler, added);
    return added;
}

static struct pause pause_of(enum pause_kind kind, const char *name)
{
    struct pause pause = {.kind = kind, .at_ms = DATE_MS};
    snprintf(pause.name, sizeof pause.name, "%s", name);
    return pause;
}

/* A read of the pauses that finds this one; NULL: none. */
static void read_pauses(struct scheduler *scheduler, const struct pause *found)
{
    (void)pausing_want(scheduler);
    pausing_round(scheduler);
    struct command *command = command_list_take(&scheduler->commands);
    assert_non_null(command);
    assert_int_equal(command->db_job->kind, DB_JOB_READ_PAUSES);
    if (found != NULL) {
        command->db_job->pauses.pauses = bw_alloc(sizeof *found);
        *command->db_job->pauses.pauses = *found;
        command->db_job->pauses.count = 1;
    }
    pausing_completed(scheduler, command->db_job);
    command_free(command);
}

static bool has_offer(const struct scheduler *scheduler)
{
    struct offer offer;
    return queue_peek(&scheduler->queue, PROTOCOL_CLASSIC, &offer);
}

static void each_kind_of_pause_takes_a_run_out_of_the_turn(void **state)
{
    struct scheduler *scheduler = *state;
    const struct pause pauses[] = {pause_of(PAUSE_RUN, RUN), pause_of(PAUSE_ASSIGNMENT, "cs/hw1"),
                                   pause_of(PAUSE_COURSE, "cs"), pause_of(PAUSE_CLUSTER, "")};
    struct active_run *run = add_run(scheduler, RUN, "cs");
    for (size_t i = 0; i < sizeof pauses / sizeof *pauses; i++) {
        read_pauses(scheduler, &pauses[i]);
        assert_true(run->is_paused);
        assert_false(run->is_ready);
        assert_false(has_offer(scheduler));
        assert_int_equal(scheduler->pauses.in_force[pauses[i].kind], 1);
        read_pauses(scheduler, NULL);
        assert_false(run->is_paused);
        assert_true(has_offer(scheduler));
    }
}

static void other_runs_are_not_held_back(void **state)
{
    struct scheduler *scheduler = *state;
    const struct pause pause = pause_of(PAUSE_ASSIGNMENT, "cs/hw2");
    struct active_run *run = add_run(scheduler, RUN, "cs");
    read_pauses(scheduler, &pause);
    assert_false(run->is_paused);
    assert_null(pausing_of_run(scheduler, run));
}

static void run_that_is_started_while_its_course_is_paused_waits(void **state)
{
    struct scheduler *scheduler = *state;
    const struct pause pause = pause_of(PAUSE_COURSE, "cs");
    read_pauses(scheduler, &pause);
    assert_true(add_run(scheduler, RUN, "cs")->is_paused);
    assert_false(add_run(scheduler, OTHER, "math")->is_paused);
}

static void retry_of_a_paused_run_waits(void **state)
{
    struct scheduler *scheduler = *state;
    const struct pause pause = pause_of(PAUSE_RUN, RUN);
    struct active_run *run = add_run(scheduler, RUN, "cs");
    read_pauses(scheduler, &pause);
    queue_retry(run, &(struct retry){.slot = 0, .attempt = 2}, NOW_MS);
    assert_false(has_offer(scheduler));
    read_pauses(scheduler, NULL);
    assert_true(has_offer(scheduler));
}

static void pause_passes_by_the_database_s_date(void **state)
{
    struct scheduler *scheduler = *state;
    struct pause pause = pause_of(PAUSE_RUN, RUN);
    pause.until_ms = DATE_MS + 1000;
    struct active_run *run = add_run(scheduler, RUN, "cs");
    read_pauses(scheduler, &pause);
    scheduler->date_ms = DATE_MS + 999;
    pausing_tick(scheduler);
    assert_true(run->is_paused);
    scheduler->date_ms = DATE_MS + 1000;
    pausing_tick(scheduler);
    assert_false(run->is_paused);
    assert_int_equal(scheduler->pauses.in_force[PAUSE_RUN], 0);
}

static void query_waits_for_a_read_that_began_after_it(void **state)
{
    struct scheduler *scheduler = *state;
    (void)pausing_want(scheduler);
    pausing_round(scheduler);
    int64_t wanted = pausing_want(scheduler); /* the read under way began before */
    struct command *command = command_list_take(&scheduler->commands);
    pausing_completed(scheduler, command->db_job);
    command_free(command);
    assert_false(pausing_is_complete(scheduler, wanted));
    pausing_round(scheduler);
    command = command_list_take(&scheduler->commands);
    command->db_job->code = BW_UNAVAILABLE;
    pausing_completed(scheduler, command->db_job);
    command_free(command);
    assert_false(pausing_is_complete(scheduler, wanted));
    scheduler->now_ms += 1000;
    read_pauses(scheduler, NULL);
    assert_true(pausing_is_complete(scheduler, wanted));
}

static void query_waits_for_leases_of_what_is_paused(void **state)
{
    struct scheduler *scheduler = *state;
    const struct pause pause = pause_of(PAUSE_RUN, RUN);
    struct active_run *run = add_run(scheduler, RUN, "cs");
    struct known_worker *worker = worker_table_add(&scheduler->workers, "w", 1, true, NOW_MS);
    struct live_lease *lease = lease_table_add(&scheduler->leases, run, 0, RUN "10000000", 1,
                                               worker, LEASE_INSERTING);
    int64_t wanted = pausing_want(scheduler);
    read_pauses(scheduler, &pause);
    assert_false(pausing_is_complete(scheduler, wanted));
    lease_set_state(lease, LEASE_DELIVERED);
    assert_true(pausing_is_complete(scheduler, wanted));
    lease_table_remove(&scheduler->leases, lease);
}

static void worker_shows_the_manual_pause_before_its_automatic_one(void **state)
{
    struct scheduler *scheduler = *state;
    const struct pause pause = pause_of(PAUSE_WORKER, "w");
    struct known_worker *worker = worker_table_add(&scheduler->workers, "w", 1, true, NOW_MS);
    for (int i = 0; i < WORKER_QUICK_FAILURES; i++)
        (void)worker_note_result(worker, true, NOW_MS);
    json_t *shown = pausing_worker_json(scheduler, worker);
    assert_true(json_is_true(json_object_get(shown, "automatic")));
    json_decref(shown);
    read_pauses(scheduler, &pause);
    scheduler->now_ms += WORKER_PAUSE_MS; /* the manual one outlives it */
    shown = pausing_worker_json(scheduler, worker);
    assert_true(json_is_false(json_object_get(shown, "automatic")));
    json_decref(shown);
    worker_resume(worker);
    read_pauses(scheduler, NULL);
    assert_null(pausing_worker_json(scheduler, worker));
}

static void worker_is_paused_from_a_read_on_until_its_pause_passes(void **state)
{
    struct scheduler *scheduler = *state;
    struct pause pause = pause_of(PAUSE_WORKER, "w");
    pause.until_ms = DATE_MS + 1000;
    struct known_worker *other = worker_table_add(&scheduler->workers, "v", 1, true, NOW_MS);
    struct known_worker *worker = worker_table_add(&scheduler->workers, "w", 1, true, NOW_MS);
    read_pauses(scheduler, &pause);
    assert_true(worker->is_paused);
    assert_false(other->is_paused);
    worker->is_paused = false; /* as it is registered */
    pausing_take_worker(scheduler, worker);
    assert_true(worker->is_paused);
    scheduler->date_ms = DATE_MS + 1000;
    pausing_tick(scheduler);
    assert_false(worker->is_paused);
}

static void list_of_a_course_has_what_concerns_it(void **state)
{
    struct scheduler *scheduler = *state;
    add_run(scheduler, RUN, "cs");
    const struct {
        struct pause pause;
        size_t count;
    } rows[] = {
        {pause_of(PAUSE_RUN, RUN), 1},           {pause_of(PAUSE_RUN, OTHER), 0},
        {pause_of(PAUSE_COURSE, "cs"), 1},       {pause_of(PAUSE_COURSE, "cs2"), 0},
        {pause_of(PAUSE_ASSIGNMENT, "cs/a"), 1}, {pause_of(PAUSE_ASSIGNMENT, "cs2/a"), 0},
        {pause_of(PAUSE_CLUSTER, ""), 1},        {pause_of(PAUSE_WORKER, "cs"), 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        read_pauses(scheduler, &rows[i].pause);
        json_t *own = pausing_list_json(scheduler, "cs", 0),
               *all = pausing_list_json(scheduler, "", 0);
        assert_int_equal(json_array_size(json_object_get(own, "pauses")), rows[i].count);
        assert_int_equal(json_array_size(json_object_get(all, "pauses")), 1);
        json_decref(own);
        json_decref(all);
    }
}

/* ---- The breaker ---- */

#define SIGNATURE "0123456789abcdef"

/* A run of which so many jobs have failed alike that its breaker is due. */
static struct active_run *due_run(struct scheduler *scheduler)
{
    struct active_run *run = add_run(scheduler, RUN, "cs");
    run->phase = RUN_STUDENTS;
    run->run.breaker.limit = 2;
    for (int i = 0; i < 2; i++)
        breaker_note(&run->run.breaker, OUTCOME_FAILED, SIGNATURE);
    return run;
}

static struct command *take_insert(struct scheduler *scheduler)
{
    struct command *command = command_list_take(&scheduler->commands);
    assert_non_null(command);
    assert_int_equal(command->db_job->kind, DB_JOB_INSERT_PAUSE);
    return command;
}

static void breaker_pauses_at_once_and_is_over_when_its_pause_is_stored(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *run = due_run(scheduler);
    pausing_check_breaker(scheduler, run);
    assert_true(run->is_paused);
    struct command *command = take_insert(scheduler);
    assert_true(command->db_job->pause.is_automatic);
    assert_string_equal(
        command->db_job->pause.note,
        "the first 2 jobs of students failed in the same way: signature " SIGNATURE);
    pausing_check_breaker(scheduler, run);
    assert_null(scheduler->commands.first); /* once */
    read_pauses(scheduler, NULL);           /* it began before the insert */
    assert_true(run->is_paused);
    assert_false(run->run.breaker.is_over);
    pausing_completed(scheduler, command->db_job);
    assert_true(run->run.breaker.is_over);
    assert_true(run->is_dirty);
    read_pauses(scheduler, &command->db_job->pause);
    assert_true(run->is_paused);
    read_pauses(scheduler, NULL);
    assert_false(run->is_paused);
    command_free(command);
}

static void insert_that_fails_is_repeated_by_the_next_tick(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *run = due_run(scheduler);
    pausing_check_breaker(scheduler, run);
    struct command *command = take_insert(scheduler);
    command->db_job->code = BW_UNAVAILABLE;
    pausing_completed(scheduler, command->db_job);
    command_free(command);
    assert_true(run->is_paused);
    pausing_tick(scheduler);
    command = take_insert(scheduler);
    pausing_completed(scheduler, command->db_job);
    command_free(command);
    assert_int_equal(scheduler->pauses.inserting, 0);
}

static void breaker_does_not_pause_a_run_that_was_resumed(void **state)
{
    struct scheduler *scheduler = *state;
    struct pause resumed = pause_of(PAUSE_RUN, RUN);
    resumed.is_automatic = true;
    resumed.resumed_ms = DATE_MS;
    struct active_run *run = due_run(scheduler);
    read_pauses(scheduler, &resumed);
    pausing_check_breaker(scheduler, run);
    assert_null(scheduler->commands.first);
    assert_false(run->is_paused);
    assert_true(run->run.breaker.is_over);
}

static void new_leader_pauses_a_run_whose_breaker_was_due(void **state)
{
    struct scheduler *scheduler = *state;
    struct active_run *run = due_run(scheduler);
    pausing_recovered(scheduler, NULL, 0);
    assert_true(run->is_paused);
    command_free(take_insert(scheduler));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define PAUSING_TEST(name) cmocka_unit_test_setup_teardown(name, setup, fake_scheduler_free)
        PAUSING_TEST(each_kind_of_pause_takes_a_run_out_of_the_turn),
        PAUSING_TEST(other_runs_are_not_held_back),
        PAUSING_TEST(run_that_is_started_while_its_course_is_paused_waits),
        PAUSING_TEST(retry_of_a_paused_run_waits),
        PAUSING_TEST(pause_passes_by_the_database_s_date),
        PAUSING_TEST(query_waits_for_a_read_that_began_after_it),
        PAUSING_TEST(query_waits_for_leases_of_what_is_paused),
        PAUSING_TEST(worker_shows_the_manual_pause_before_its_automatic_one),
        PAUSING_TEST(worker_is_paused_from_a_read_on_until_its_pause_passes),
        PAUSING_TEST(list_of_a_course_has_what_concerns_it),
        PAUSING_TEST(breaker_pauses_at_once_and_is_over_when_its_pause_is_stored),
        PAUSING_TEST(insert_that_fails_is_repeated_by_the_next_tick),
        PAUSING_TEST(breaker_does_not_pause_a_run_that_was_resumed),
        PAUSING_TEST(new_leader_pauses_a_run_whose_breaker_was_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
