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

/* A worker that stated its concurrency, is alive and was seen at NOW_MS. */
static struct known_worker *add(struct worker_table *table, const char *id)
{
    return worker_table_add(table, id, 1, true, NOW_MS);
}

static bool is_overdue_after(const struct worker_table *table, const struct known_worker *worker,
                             int64_t silent_ms)
{
    return worker_is_overdue(table, worker, worker->seen_ms + silent_ms, 0);
}

/* Of all protocols. */
static uint32_t alive(const struct worker_table *table)
{
    uint32_t counts[PROTOCOLS] = {0}, sum = 0;
    worker_table_count(table, counts);
    for (unsigned i = 0; i < PROTOCOLS; i++)
        sum += counts[i];
    return sum;
}

static void added_worker_has_its_registrations_fields(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 3, true, NOW_MS);
    assert_ptr_equal(worker_table_find(table, "w1"), worker);
    assert_string_equal(worker->id, "w1");
    assert_int_equal(worker->concurrency, 3);
    assert_true(worker->is_alive);
    assert_int_equal(worker->seen_ms, NOW_MS);
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
    assert_int_equal(worker->seen_ms, NOW_MS);
    assert_int_equal(alive(table), 1);
    assert_int_equal(HASH_COUNT(table->workers), 1);
}

static void id_too_long_is_cut_to_what_fits(void **state)
{
    char id[WORKER_ID_SIZE + 20];
    memset(id, 'w', sizeof id - 1);
    id[sizeof id - 1] = '\0';
    assert_int_equal(strlen(add(*state, id)->id), WORKER_ID_SIZE - 1);
}

static void alive_workers_are_counted(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *first = add(table, "w1");
    struct known_worker *second = add(table, "w2");
    struct known_worker *dead = worker_table_add(table, "w3", 1, false, NOW_MS);
    assert_int_equal(alive(table), 2);
    worker_declare_dead(first);
    assert_int_equal(alive(table), 1);
    worker_declare_dead(first); /* once is enough */
    assert_int_equal(alive(table), 1);
    worker_table_remove(table, dead);
    assert_int_equal(alive(table), 1);
    worker_table_remove(table, second);
    assert_int_equal(alive(table), 0);
}

static void removed_worker_is_not_found(void **state)
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
    assert_int_equal(alive(table), 0);
    assert_null(worker_table_find(table, "w1"));
}

static void seen_time_of_a_worker_never_goes_back(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    assert_false(worker_seen(worker, NOW_MS + 50, "r1"));
    assert_int_equal(worker->seen_ms, NOW_MS + 50);
    assert_false(worker_seen(worker, NOW_MS + 20, "r1")); /* a signal that was late */
    assert_int_equal(worker->seen_ms, NOW_MS + 50);
}

static void replica_is_the_one_that_saw_the_worker_last(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker_seen(worker, NOW_MS, "replica-of-the-long-name");
    assert_string_equal(worker->replica, "replica-of-the-long-name");
    worker_seen(worker, NOW_MS, "r2");
    assert_string_equal(worker->replica, "r2");
    worker_seen(worker, NOW_MS, ""); /* a result: nobody knows through which */
    assert_string_equal(worker->replica, "r2");
}

static void dead_worker_that_is_seen_is_alive_again(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker_declare_dead(worker);
    assert_false(worker->is_alive);
    assert_true(worker_seen(worker, NOW_MS + 1, "r1"));
    assert_true(worker->is_alive);
    assert_int_equal(alive(table), 1);
    assert_false(worker_seen(worker, NOW_MS + 2, "r1")); /* it lives already */
    assert_int_equal(alive(table), 1);
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

static void worker_that_is_seen_has_all_its_time_again(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker_seen(worker, NOW_MS + TIMEOUT_MS, "r1");
    assert_false(worker_is_overdue(table, worker, NOW_MS + 2 * TIMEOUT_MS, 0));
    assert_true(worker_is_overdue(table, worker, NOW_MS + 2 * TIMEOUT_MS + 1, 0));
}

static void dead_worker_is_not_overdue_again(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker_declare_dead(worker);
    assert_false(is_overdue_after(table, worker, 100 * TIMEOUT_MS));
}

static void silence_of_its_replica_extends_a_workers_timeout(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    int64_t over_ms = NOW_MS + TIMEOUT_MS + 7000;
    assert_false(worker_is_overdue(table, worker, over_ms, 7000));
    assert_true(worker_is_overdue(table, worker, over_ms + 1, 7000));
}

static void silence_of_its_replica_extends_by_two_intervals_at_most(void **state)
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

static void worker_whose_protocol_demands_heartbeats_may_not_be_silent_at_work(void **state)
{
    struct worker_table *table = *state;
    for (unsigned i = 0; i < PROTOCOLS; i++) {
        struct known_worker *worker = worker_table_add(table, protocol_name((enum protocol)i), 0,
                                                       true, NOW_MS);
        worker_describe(worker, &(struct worker){.protocol = (enum protocol)i, .epoch = 1});
        worker->held = 1;
        assert_int_equal(is_overdue_after(table, worker, TIMEOUT_MS + 1), i == PROTOCOL_COURSE);
    }
}

static void worker_that_sent_heartbeats_at_work_must_continue(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    worker->held = 1;
    worker_beat(worker);
    assert_true(is_overdue_after(table, worker, TIMEOUT_MS + 1));
    worker->held = 2; /* also with further jobs */
    assert_true(is_overdue_after(table, worker, TIMEOUT_MS + 1));
}

static void heartbeat_of_an_idle_worker_is_not_one_at_work(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    worker_beat(worker);
    worker->held = 1;
    assert_false(is_overdue_after(table, worker, 100 * TIMEOUT_MS));
}

static void first_heartbeat_at_work_is_recognised(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    assert_false(worker_beat(worker));
    worker->held = 1;
    assert_true(worker_beat(worker));
    assert_false(worker_beat(worker));
}

static void recorded_fields_of_a_worker_are_taken_over(void **state)
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

static void any_other_outcome_resets_the_failures(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    fail_quickly(worker, WORKER_QUICK_FAILURES - 1);
    assert_false(worker_note_result(worker, false, NOW_MS));
    fail_quickly(worker, WORKER_QUICK_FAILURES - 1);
}

static void failure_after_the_pause_pauses_again(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = worker_table_add(table, "w1", 0, true, NOW_MS);
    fail_quickly(worker, WORKER_QUICK_FAILURES - 1);
    assert_true(worker_note_result(worker, true, NOW_MS));
    assert_true(worker_note_result(worker, true, NOW_MS + WORKER_PAUSE_MS));
}

static void worker_with_only_heartbeats_is_stuck_until_it_acts(void **state)
{
    enum { JOB_TIMEOUT_MS = 60000, LATER_MS = NOW_MS + JOB_TIMEOUT_MS + 1 };
    struct worker_table *table = *state;
    struct known_worker *idle = add(table, "idle"), *asking = add(table, "asking"),
                        *working = add(table, "working"), *notified = add(table, "told"),
                        *dead = add(table, "dead");
    struct parked_poll *const some_poll = (struct parked_poll *)table;
    asking->polls = some_poll;
    working->held = 1;
    notified->is_socket = true;
    worker_declare_dead(dead);
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

static void worker_with_a_fault_is_not_stuck_and_has_all_its_time_when_it_has_recovered(
    void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    int64_t later_ms = NOW_MS + HEARTBEAT_MS + 1;
    assert_true(worker_note_fault(worker, "disk: full", NOW_MS));
    assert_int_equal(worker_table_stuck(table, HEARTBEAT_MS, later_ms), 0);
    assert_true(worker_note_fault(worker, "", later_ms));
    assert_int_equal(worker_table_stuck(table, HEARTBEAT_MS, later_ms + HEARTBEAT_MS), 0);
    assert_int_equal(worker_table_stuck(table, HEARTBEAT_MS, later_ms + HEARTBEAT_MS + 1), 1);
}

static void repeated_fault_changes_nothing(void **state)
{
    struct known_worker *worker = add(*state, "w1");
    assert_false(worker_note_fault(worker, "", NOW_MS));
    assert_true(worker_note_fault(worker, "disk: full", NOW_MS));
    assert_false(worker_note_fault(worker, "disk: full", NOW_MS));
    assert_true(worker_note_fault(worker, "engine: away", NOW_MS));
    assert_string_equal(worker->fault, "engine: away");
}

static void faulty_workers_are_counted_by_protocol_while_they_are_alive(void **state)
{
    struct worker_table *table = *state;
    struct faulty_workers faulty[PROTOCOLS];
    const struct worker recorded = {.id = "w2", .protocol = PROTOCOL_COURSE, .fault = "disk: full"};
    struct known_worker *dead = add(table, "w1");
    worker_describe(add(table, "w2"), &recorded);
    worker_describe(add(table, "w3"), &recorded);
    (void)worker_note_fault(dead, "engine: away", NOW_MS);
    worker_declare_dead(dead);
    worker_table_faulty(table, faulty);
    assert_int_equal(faulty[PROTOCOL_CLASSIC].count, 0);
    assert_string_equal(faulty[PROTOCOL_CLASSIC].fault, "");
    assert_int_equal(faulty[PROTOCOL_COURSE].count, 2);
    assert_string_equal(faulty[PROTOCOL_COURSE].fault, "disk: full");
    assert_int_equal(alive(table), 2);
}

static void gap_extends_the_deadlines_of_all_workers(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *first = worker_table_add(table, "w1", 1, true, NOW_MS - 5000);
    struct known_worker *second = worker_table_add(table, "w2", 1, true, NOW_MS - 9000);
    int64_t now_ms = NOW_MS + 60000;
    worker_table_extend_deadlines(table, 60000, now_ms);
    assert_int_equal(first->seen_ms, now_ms - 5000);
    assert_int_equal(second->seen_ms, now_ms - 9000);
    assert_false(worker_is_overdue(table, first, now_ms, 0));
}

static void extension_never_reaches_into_the_future(void **state)
{
    struct worker_table *table = *state;
    struct known_worker *worker = add(table, "w1");
    worker_table_extend_deadlines(table, 60000, NOW_MS + 100); /* it was seen within the gap */
    assert_int_equal(worker->seen_ms, NOW_MS + 100);
    assert_true(worker_is_overdue(table, worker, NOW_MS + 100 + TIMEOUT_MS + 1, 0));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(added_worker_has_its_registrations_fields),
        CASE(second_note_of_a_registration_changes_nothing),
        CASE(id_too_long_is_cut_to_what_fits),
        CASE(alive_workers_are_counted),
        CASE(removed_worker_is_not_found),
        CASE(destroyed_table_is_empty),
        CASE(seen_time_of_a_worker_never_goes_back),
        CASE(replica_is_the_one_that_saw_the_worker_last),
        CASE(dead_worker_that_is_seen_is_alive_again),
        CASE(timeout_is_two_intervals_and_a_half_but_never_less_than_two_and_a_second),
        CASE(silent_worker_is_overdue_when_its_timeout_is_over),
        CASE(worker_that_is_seen_has_all_its_time_again),
        CASE(dead_worker_is_not_overdue_again),
        CASE(silence_of_its_replica_extends_a_workers_timeout),
        CASE(silence_of_its_replica_extends_by_two_intervals_at_most),
        CASE(worker_without_concurrency_may_be_silent_while_it_works),
        CASE(worker_with_concurrency_may_not_be_silent_while_it_works),
        CASE(worker_that_registered_as_one_that_sends_heartbeats_may_not_be_silent_at_work),
        CASE(worker_whose_protocol_demands_heartbeats_may_not_be_silent_at_work),
        CASE(worker_that_sent_heartbeats_at_work_must_continue),
        CASE(heartbeat_of_an_idle_worker_is_not_one_at_work),
        CASE(first_heartbeat_at_work_is_recognised),
        CASE(recorded_fields_of_a_worker_are_taken_over),
        CASE(worker_that_fails_five_jobs_in_a_row_at_once_is_paused),
        CASE(any_other_outcome_resets_the_failures),
        CASE(failure_after_the_pause_pauses_again),
        CASE(worker_with_only_heartbeats_is_stuck_until_it_acts),
        CASE(worker_that_let_a_deadline_pass_is_stuck_until_it_acts),
        CASE(worker_with_a_fault_is_not_stuck_and_has_all_its_time_when_it_has_recovered),
        CASE(repeated_fault_changes_nothing),
        CASE(faulty_workers_are_counted_by_protocol_while_they_are_alive),
        CASE(gap_extends_the_deadlines_of_all_workers),
        CASE(extension_never_reaches_into_the_future),
    };
    return cmocka_run_group_tests_name("worker_table", tests, NULL, NULL);
}
