#include "scheduler/state/worker_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

enum { HEARTBEAT_MS = 10000, TIMEOUT_MS = 25000, NOW_MS = 1000000 };

static int setup(void **state)
{
    struct worker_table *table = calloc(1, sizeof *table);
    worker_table_init(table, HEARTBEAT_MS);
    *state = table;
    return 0;
}

static int teardown(void **state)
{
    worker_table_destroy(*state);
    free(*state);
    return 0;
}

/* One that says its concurrency, is alive and was heard just now. */
static struct known_worker *add(struct worker_table *table, const char *id)
{
    return worker_table_add(table, id, 1, true, NOW_MS);
}

static bool is_overdue_after(const struct worker_table *table, const struct known_worker *worker,
                             int64_t silent_ms)
{
    return worker_is_overdue(table, worker, worker->heard_ms + silent_ms, 0);
}

static void added_worker_is_found_as_it_was_registered(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 3, true, NOW_MS);
    assert_ptr_equal(worker_table_find(table, "w1"), worker);
    assert_string_equal(worker->id, "w1");
    assert_int_equal(worker->concurrency, 3);
    assert_true(worker->is_alive);
    assert_int_equal(worker->heard_ms, NOW_MS);
    assert_string_equal(worker->replica, "");
    assert_int_equal(worker->held, 0);
    assert_null(worker_table_find(table, "w"));
    assert_null(worker_table_find(table, "w2"));
}

static void second_note_of_a_registration_changes_nothing(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 3, true, NOW_MS);
    assert_ptr_equal(worker_table_add(table, "w1", 7, false, NOW_MS + 5), worker);
    assert_int_equal(worker->concurrency, 3);
    assert_true(worker->is_alive);
    assert_int_equal(worker->heard_ms, NOW_MS);
    assert_int_equal(table->alive, 1);
    assert_int_equal(HASH_COUNT(table->workers), 1);
}

static void id_too_long_is_cut_to_what_fits(void **state)
{
    char id[WORKER_ID_SIZE + 20];
    memset(id, 'w', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    assert_int_equal(strlen(add(*state, id)->id), WORKER_ID_SIZE - 1);
}

static void living_workers_are_counted(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *first = add(table, "w1");
    struct known_worker *second = add(table, "w2");
    struct known_worker *dead = worker_table_add(table, "w3", 1, false, NOW_MS);
    assert_int_equal(table->alive, 2);
    worker_declare_dead(table, first);
    assert_int_equal(table->alive, 1);
    worker_declare_dead(table, first); /* once is enough */
    assert_int_equal(table->alive, 1);
    worker_table_remove(table, dead);
    assert_int_equal(table->alive, 1);
    worker_table_remove(table, second);
    assert_int_equal(table->alive, 0);
}

static void removed_worker_is_found_no_more(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *stays = add(table, "w2");
    worker_table_remove(table, add(table, "w1"));
    assert_null(worker_table_find(table, "w1"));
    assert_ptr_equal(worker_table_find(table, "w2"), stays);
}

static void destroyed_table_is_empty(void **state)
{
    struct worker_table *table = *state;
    add(table, "w1");
    add(table, "w2");
    worker_table_destroy(table);
    assert_int_equal(table->alive, 0);
    assert_null(worker_table_find(table, "w1"));
}

static void word_of_a_worker_moves_its_time_on_but_never_back(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    assert_false(worker_heard(table, worker, NOW_MS + 50, "r1"));
    assert_int_equal(worker->heard_ms, NOW_MS + 50);
    assert_false(worker_heard(table, worker, NOW_MS + 20, "r1")); /* a signal that was late */
    assert_int_equal(worker->heard_ms, NOW_MS + 50);
}

static void replica_is_the_one_that_heard_the_worker_last(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker_heard(table, worker, NOW_MS, "replica-of-the-long-name");
    assert_string_equal(worker->replica, "replica-of-the-long-name");
    worker_heard(table, worker, NOW_MS, "r2");
    assert_string_equal(worker->replica, "r2");
    worker_heard(table, worker, NOW_MS, ""); /* a result: nobody knows through which */
    assert_string_equal(worker->replica, "r2");
}

static void dead_worker_that_is_heard_lives_again(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker_declare_dead(table, worker);
    assert_false(worker->is_alive);
    assert_true(worker_heard(table, worker, NOW_MS + 1, "r1"));
    assert_true(worker->is_alive);
    assert_int_equal(table->alive, 1);
    assert_false(worker_heard(table, worker, NOW_MS + 2, "r1")); /* it lives already */
    assert_int_equal(table->alive, 1);
}

static void timeout_is_two_intervals_and_a_half_but_never_less_than_two_and_a_second(void **state)
{
    static const int64_t cases[][2] = {{10000, 25000}, {2001, 5002}, {2002, 5005},
                                       {2000, 5000},   {1000, 3000}, {200, 1400}};
    struct worker_table table;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        worker_table_init(&table, cases[i][0]);
        assert_int_equal(worker_timeout_ms(&table), cases[i][1]);
    }
}

static void silent_worker_is_overdue_when_its_timeout_is_over(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    assert_false(is_overdue_after(table, worker, 0));
    assert_false(is_overdue_after(table, worker, TIMEOUT_MS));
    assert_true(is_overdue_after(table, worker, TIMEOUT_MS + 1));
}

static void worker_that_is_heard_has_all_its_time_again(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker_heard(table, worker, NOW_MS + TIMEOUT_MS, "r1");
    assert_false(worker_is_overdue(table, worker, NOW_MS + 2 * TIMEOUT_MS, 0));
    assert_true(worker_is_overdue(table, worker, NOW_MS + 2 * TIMEOUT_MS + 1, 0));
}

static void dead_worker_is_not_overdue_again(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker_declare_dead(table, worker);
    assert_false(is_overdue_after(table, worker, 100 * TIMEOUT_MS));
}

static void silence_of_its_replica_gives_a_worker_as_much_more_time(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    int64_t over_ms = NOW_MS + TIMEOUT_MS + 7000;
    assert_false(worker_is_overdue(table, worker, over_ms, 7000));
    assert_true(worker_is_overdue(table, worker, over_ms + 1, 7000));
}

static void silence_of_its_replica_gives_two_intervals_at_most(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    int64_t over_ms = NOW_MS + TIMEOUT_MS + 2 * HEARTBEAT_MS;
    assert_false(worker_is_overdue(table, worker, over_ms, 100 * HEARTBEAT_MS));
    assert_true(worker_is_overdue(table, worker, over_ms + 1, 100 * HEARTBEAT_MS));
}

static void worker_without_concurrency_may_be_silent_while_it_works(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    worker->held = 1;
    assert_false(is_overdue_after(table, worker, 100 * TIMEOUT_MS));
    worker->held = 0;
    assert_true(is_overdue_after(table, worker, TIMEOUT_MS + 1));
}

static void worker_with_concurrency_may_not_be_silent_while_it_works(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker->held = 1;
    assert_true(is_overdue_after(table, worker, TIMEOUT_MS + 1));
}

static void worker_that_registered_as_one_that_sends_heartbeats_may_not_be_silent_at_work(
    void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    worker_describe(worker, &(struct worker){.sends_heartbeats = true, .epoch = 1});
    worker->held = 1;
    assert_false(is_overdue_after(table, worker, TIMEOUT_MS));
    assert_true(is_overdue_after(table, worker, TIMEOUT_MS + 1));
}

static void worker_that_has_beaten_at_work_is_expected_to_go_on(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    worker->held = 1;
    worker_beat(worker);
    assert_true(is_overdue_after(table, worker, TIMEOUT_MS + 1));
    worker->held = 2; /* also with the jobs that follow */
    assert_true(is_overdue_after(table, worker, TIMEOUT_MS + 1));
}

static void beat_of_an_idle_worker_says_nothing_of_how_it_works(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    worker_beat(worker);
    worker->held = 1;
    assert_false(is_overdue_after(table, worker, 100 * TIMEOUT_MS));
}

static void first_beat_at_work_is_told_apart(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    assert_false(worker_beat(worker));
    worker->held = 1;
    assert_true(worker_beat(worker));
    assert_false(worker_beat(worker));
}

static void what_is_recorded_of_a_worker_is_taken_over_and_never_lost(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    worker_describe(worker, &(struct worker){.beats_at_work = true, .hostname = "bench-7"});
    assert_true(worker->beats_at_work);
    assert_string_equal(worker->hostname, "bench-7");
    worker_describe(worker, &(struct worker){.beats_at_work = false});
    assert_true(worker->beats_at_work);
}

static void fail_quickly(struct known_worker *worker, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        assert_false(worker_note_result(worker, true, NOW_MS));
}

static void worker_that_fails_five_jobs_in_a_row_at_once_is_paused(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    fail_quickly(worker, WORKER_QUICK_FAILURES - 1);
    assert_int_equal(worker_table_paused(table, NOW_MS), 0);
    assert_true(worker_note_result(worker, true, NOW_MS));
    assert_int_equal(worker_table_paused(table, NOW_MS + WORKER_PAUSE_MS - 1), 1);
    assert_int_equal(worker_table_paused(table, NOW_MS + WORKER_PAUSE_MS), 0);
}

static void any_other_end_of_a_job_ends_the_row(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    fail_quickly(worker, WORKER_QUICK_FAILURES - 1);
    assert_false(worker_note_result(worker, false, NOW_MS));
    fail_quickly(worker, WORKER_QUICK_FAILURES - 1);
}

static void one_more_failure_after_the_pause_is_the_next_pause(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    fail_quickly(worker, WORKER_QUICK_FAILURES - 1);
    assert_true(worker_note_result(worker, true, NOW_MS));
    assert_true(worker_note_result(worker, true, NOW_MS + WORKER_PAUSE_MS));
}

static void worker_that_beats_and_does_nothing_else_is_stuck_until_it_acts(void **state)
{
    enum { JOB_TIMEOUT_MS = 60000, LATER_MS = NOW_MS + JOB_TIMEOUT_MS + 1 };
    struct worker_table *table = *state;
    struct known_worker *idle = add(table, "idle"), *asking = add(table, "asking"),
                        *working = add(table, "working"), *told = add(table, "told"),
                        *dead = add(table, "dead");
    struct parked_poll *const some_poll = (struct parked_poll *)table;
    asking->polls = some_poll;
    working->held = 1;
    told->is_socket = true;
    worker_declare_dead(table, dead);
    assert_int_equal(worker_table_stuck(table, JOB_TIMEOUT_MS, NOW_MS + JOB_TIMEOUT_MS), 0);
    assert_int_equal(worker_table_stuck(table, JOB_TIMEOUT_MS, LATER_MS), 1);
    worker_acted(idle, LATER_MS);
    assert_int_equal(worker_table_stuck(table, JOB_TIMEOUT_MS, LATER_MS), 0);
    asking->polls = NULL;
    assert_int_equal(worker_table_stuck(table, JOB_TIMEOUT_MS, LATER_MS), 1);
}

static void worker_that_let_a_deadline_pass_is_stuck_until_it_acts(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker->held = 1;
    worker->has_overrun = true;
    assert_int_equal(worker_table_stuck(table, HEARTBEAT_MS, NOW_MS), 1);
    worker_acted(worker, NOW_MS);
    assert_int_equal(worker_table_stuck(table, HEARTBEAT_MS, NOW_MS), 0);
}

static void gap_in_hearing_is_forgiven_to_all(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *first = worker_table_add(table, "w1", 1, true, NOW_MS - 5000);
    struct known_worker *second = worker_table_add(table, "w2", 1, true, NOW_MS - 9000);
    int64_t now_ms = NOW_MS + 60000;
    worker_table_extend_deadlines(table, 60000, now_ms);
    assert_int_equal(first->heard_ms, now_ms - 5000);
    assert_int_equal(second->heard_ms, now_ms - 9000);
    assert_false(worker_is_overdue(table, first, now_ms, 0));
}

static void forgiveness_never_reaches_into_the_future(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker_table_extend_deadlines(table, 60000, NOW_MS + 100); /* it was heard within the gap */
    assert_int_equal(worker->heard_ms, NOW_MS + 100);
    assert_true(worker_is_overdue(table, worker, NOW_MS + 100 + TIMEOUT_MS + 1, 0));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(added_worker_is_found_as_it_was_registered),
        CASE(second_note_of_a_registration_changes_nothing),
        CASE(id_too_long_is_cut_to_what_fits),
        CASE(living_workers_are_counted),
        CASE(removed_worker_is_found_no_more),
        CASE(destroyed_table_is_empty),
        CASE(word_of_a_worker_moves_its_time_on_but_never_back),
        CASE(replica_is_the_one_that_heard_the_worker_last),
        CASE(dead_worker_that_is_heard_lives_again),
        CASE(timeout_is_two_intervals_and_a_half_but_never_less_than_two_and_a_second),
        CASE(silent_worker_is_overdue_when_its_timeout_is_over),
        CASE(worker_that_is_heard_has_all_its_time_again),
        CASE(dead_worker_is_not_overdue_again),
        CASE(silence_of_its_replica_gives_a_worker_as_much_more_time),
        CASE(silence_of_its_replica_gives_two_intervals_at_most),
        CASE(worker_without_concurrency_may_be_silent_while_it_works),
        CASE(worker_with_concurrency_may_not_be_silent_while_it_works),
        CASE(worker_that_registered_as_one_that_sends_heartbeats_may_not_be_silent_at_work),
        CASE(worker_that_has_beaten_at_work_is_expected_to_go_on),
        CASE(beat_of_an_idle_worker_says_nothing_of_how_it_works),
        CASE(first_beat_at_work_is_told_apart),
        CASE(what_is_recorded_of_a_worker_is_taken_over_and_never_lost),
        CASE(worker_that_fails_five_jobs_in_a_row_at_once_is_paused),
        CASE(any_other_end_of_a_job_ends_the_row),
        CASE(one_more_failure_after_the_pause_is_the_next_pause),
        CASE(worker_that_beats_and_does_nothing_else_is_stuck_until_it_acts),
        CASE(worker_that_let_a_deadline_pass_is_stuck_until_it_acts),
        CASE(gap_in_hearing_is_forgiven_to_all),
        CASE(forgiveness_never_reaches_into_the_future),
    };
    return cmocka_run_group_tests_name("worker_table", tests, NULL, NULL);
}
