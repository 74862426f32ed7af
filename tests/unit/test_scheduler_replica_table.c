#include "scheduler/state/replica_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/signal_store.h"

enum { NOW_MS = 1000000 };

struct fixture {
    struct replica_table table;
    struct worker_table workers;
    struct known_replica *replica, *other;
    struct known_worker *w1, *w2;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    replica_table_init(&fixture->table);
    worker_table_init(&fixture->workers, 10000);
    fixture->replica = replica_table_add(&fixture->table, "r1", "http://r1:1");
    fixture->other = replica_table_add(&fixture->table, "r2", "http://r2:2");
    fixture->w1 = worker_table_add(&fixture->workers, "w1", 1, true, NOW_MS);
    fixture->w2 = worker_table_add(&fixture->workers, "w2", 1, true, NOW_MS);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    replica_table_destroy(&fixture->table);
    worker_table_destroy(&fixture->workers);
    free(fixture);
    return 0;
}

/* Parks a poll of the first worker at the first replica. */
static struct parked_poll *park(struct fixture *fixture, int64_t number)
{
    return replica_park(&fixture->table, fixture->replica, fixture->w1, number, false);
}

/* Checks the waiters, oldest first, as in "1 2 3", and the table's count. */
static void assert_waiters(const struct fixture *fixture, const char *expected)
{
    const struct parked_poll *poll;
    char text[200] = "";
    size_t length = 0, count = 0;
    for (poll = fixture->table.waiters; poll != NULL; poll = poll->next, count++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%d",
                                   length > 0 ? " " : "", (int)poll->number);
    assert_string_equal(text, expected);
    assert_int_equal(fixture->table.waiting, count);
}

/* The same for one worker's polls, newest first. */
static void assert_polls_of(const struct known_worker *worker, const char *expected)
{
    const struct parked_poll *poll;
    char text[200] = "";
    size_t length = 0;
    for (poll = worker->polls; poll != NULL; poll = poll->worker_next)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%d",
                                   length > 0 ? " " : "", (int)poll->number);
    assert_string_equal(text, expected);
}

static void assert_checksum_of(const struct known_replica *replica, const int64_t *polls,
                               size_t count)
{
    uint64_t sum = 0;
    int64_t found, checksum;
    for (size_t i = 0; i < count; i++)
        sum += (uint64_t)signal_poll_checksum(polls[i]);
    replica_checksum(replica, &found, &checksum);
    assert_int_equal(found, count);
    assert_true(checksum == (int64_t)(sum & INT64_MAX));
}

static void added_replica_is_found_by_its_id(void **state)
{
    struct fixture *fixture = *state;
    assert_ptr_equal(replica_table_find(&fixture->table, "r1"), fixture->replica);
    assert_ptr_equal(replica_table_find(&fixture->table, "r2"), fixture->other);
    assert_string_equal(fixture->other->id, "r2");
    assert_string_equal(fixture->other->url, "http://r2:2");
    assert_false(fixture->other->has_resynced);
    assert_false(fixture->other->in_contact);
    assert_null(replica_table_find(&fixture->table, "r3"));
}

static void replica_that_is_known_keeps_its_address(void **state)
{
    struct fixture *fixture = *state;
    assert_ptr_equal(replica_table_add(&fixture->table, "r1", "http://elsewhere"),
                     fixture->replica);
    assert_string_equal(fixture->replica->url, "http://r1:1");
    assert_int_equal(HASH_COUNT(fixture->table.replicas), 2);
}

static void address_too_long_is_cut_to_what_fits(void **state)
{
    struct fixture *fixture = *state;
    char text[400];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    struct known_replica *added = replica_table_add(&fixture->table, text, text);
    assert_int_equal(strlen(added->id), sizeof added->id - 1);
    assert_int_equal(strlen(added->url), sizeof added->url - 1);
}

static void ask(struct known_replica *replica, int64_t number, int64_t now_ms)
{
    replica_ask(replica, &(struct signal_query){.number = number, .kind = QUERY_LENGTH}, now_ms);
}

static void query_is_answered_once_however_often_it_is_asked(void **state)
{
    struct known_replica *replica = ((struct fixture *)*state)->replica;
    ask(replica, 1, NOW_MS);
    ask(replica, 1, NOW_MS + 1);
    assert_int_equal(HASH_COUNT(replica->queries), 1);
    replica->queries->is_sent = true;
    ask(replica, 1, NOW_MS + 2); /* the callback in flight answers it */
    assert_int_equal(HASH_COUNT(replica->queries), 1);
    ask(replica, 2, NOW_MS + 3);
    replica_queries_sent(replica, true);
    assert_int_equal(HASH_COUNT(replica->queries), 1);
    assert_int_equal(replica->queries->query.number, 2);
}

static void query_whose_callback_failed_is_answered_again_until_it_is_old(void **state)
{
    struct known_replica *replica = ((struct fixture *)*state)->replica;
    ask(replica, 1, NOW_MS);
    replica->queries->is_sent = true;
    replica_forget_queries(replica, NOW_MS + 1);
    assert_int_equal(HASH_COUNT(replica->queries), 1);
    replica_queries_sent(replica, false);
    assert_false(replica->queries->is_sent);
    replica_forget_queries(replica, NOW_MS);
    assert_int_equal(HASH_COUNT(replica->queries), 1);
    replica_forget_queries(replica, NOW_MS + 1);
    assert_null(replica->queries);
}

static void removing_a_replica_frees_what_it_owns(void **state)
{
    struct fixture *fixture = *state;
    poll_answered(&fixture->table, park(fixture, 1), NOW_MS);
    fixture->replica->empty = malloc(sizeof *fixture->replica->empty);
    replica_table_remove(&fixture->table, fixture->replica); /* the sanitizer reports leaks */
    assert_null(replica_table_find(&fixture->table, "r1"));
    assert_ptr_equal(replica_table_find(&fixture->table, "r2"), fixture->other);
}

static void destroyed_table_has_neither_replicas_nor_waiters(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, 1);
    poll_match(&fixture->table, park(fixture, 2));
    replica_table_destroy(&fixture->table);
    assert_null(replica_table_find(&fixture->table, "r1"));
    assert_waiters(fixture, "");
}

static void polls_wait_oldest_first_and_newest_first_at_their_worker(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, 1);
    replica_park(&fixture->table, fixture->other, fixture->w2, 2, false);
    struct parked_poll *third = park(fixture, 3);
    assert_waiters(fixture, "1 2 3");
    assert_polls_of(fixture->w1, "3 1");
    assert_polls_of(fixture->w2, "2");
    assert_int_equal(third->state, POLL_WAITING);
    assert_ptr_equal(third->worker, fixture->w1);
    assert_ptr_equal(third->replica, fixture->replica);
}

static void poll_is_known_by_its_number_at_its_own_replica(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *poll = park(fixture, 7);
    struct parked_poll *namesake = replica_park(&fixture->table, fixture->other, fixture->w2, 7,
                                                false);
    assert_ptr_equal(replica_find_poll(fixture->replica, 7), poll);
    assert_ptr_equal(replica_find_poll(fixture->other, 7), namesake);
    assert_null(replica_find_poll(fixture->replica, 8));
}

static void poll_that_is_signalled_again_waits_once(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *poll = park(fixture, 1);
    park(fixture, 2);
    assert_ptr_equal(park(fixture, 1), poll);
    assert_waiters(fixture, "1 2");
    assert_polls_of(fixture->w1, "2 1");
}

static void final_poll_stays_final(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *poll = park(fixture, 1);
    assert_false(poll->is_final);
    assert_ptr_equal(replica_park(&fixture->table, fixture->replica, fixture->w1, 1, true), poll);
    assert_true(poll->is_final);
    park(fixture, 1); /* a signal that was sent earlier */
    assert_true(poll->is_final);
}

static void poll_may_be_final_from_the_start(void **state)
{
    struct fixture *fixture = *state;
    assert_true(replica_park(&fixture->table, fixture->replica, fixture->w1, 1, true)->is_final);
    assert_waiters(fixture, "1");
}

static void assert_finals(const struct fixture *fixture, const char *expected)
{
    const struct parked_poll *poll;
    char text[200] = "";
    size_t length = 0;
    for (poll = fixture->table.finals; poll != NULL; poll = poll->final_next)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%d",
                                   length > 0 ? " " : "", (int)poll->number);
    assert_string_equal(text, expected);
}

static void polls_that_are_final_and_wait_are_listed_apart(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *first = park(fixture, 1);
    park(fixture, 2);
    replica_park(&fixture->table, fixture->replica, fixture->w1, 3, true);
    replica_park(&fixture->table, fixture->replica, fixture->w1, 1, true);
    replica_park(&fixture->table, fixture->replica, fixture->w1, 1, true);
    assert_finals(fixture, "3 1");
    poll_match(&fixture->table, first);
    assert_finals(fixture, "3");
    poll_unmatch(&fixture->table, first, fixture->w1);
    assert_finals(fixture, "3 1");
    poll_answered(&fixture->table, replica_find_poll(fixture->replica, 3), NOW_MS);
    assert_finals(fixture, "1");
}

static void matched_poll_that_becomes_final_is_listed_once_it_waits_again(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *poll = park(fixture, 1);
    poll_match(&fixture->table, poll);
    replica_park(&fixture->table, fixture->replica, fixture->w1, 1, true);
    assert_finals(fixture, "");
    poll_unmatch(&fixture->table, poll, fixture->w1);
    assert_finals(fixture, "1");
}

static void poll_answered_twice_is_kept_from_the_second_answer(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *first = park(fixture, 1), *second = park(fixture, 2);
    poll_answered(&fixture->table, first, NOW_MS);
    poll_answered(&fixture->table, second, NOW_MS + 1);
    poll_answered(&fixture->table, first, NOW_MS + 2);
    replica_forget_answered(fixture->replica, NOW_MS + 2);
    assert_non_null(replica_find_poll(fixture->replica, 1));
    assert_null(replica_find_poll(fixture->replica, 2));
}

static void parking_marks_a_poll_as_listed(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *named = park(fixture, 1), *missing = park(fixture, 2);
    struct parked_poll *matched = park(fixture, 3);
    assert_true(named->is_listed); /* by the signal that added it */
    poll_match(&fixture->table, matched);
    named->is_listed = missing->is_listed = matched->is_listed = false;
    park(fixture, 1);
    park(fixture, 3);
    assert_true(named->is_listed);
    assert_true(matched->is_listed);
    assert_false(missing->is_listed);
}

static void matched_poll_does_not_wait(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *first = park(fixture, 1), *second = park(fixture, 2);
    park(fixture, 3);
    poll_match(&fixture->table, second);
    assert_waiters(fixture, "1 3");
    assert_polls_of(fixture->w1, "3 1");
    assert_int_equal(second->state, POLL_MATCHED);
    assert_null(second->worker);
    assert_int_equal(fixture->replica->matched, 1);
    poll_match(&fixture->table, first);
    assert_int_equal(fixture->replica->matched, 2);
}

static void matched_poll_does_not_wait_again_when_signalled(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *poll = park(fixture, 1);
    poll_match(&fixture->table, poll);
    assert_null(park(fixture, 1));
    assert_int_equal(poll->state, POLL_MATCHED);
    assert_int_equal(fixture->replica->matched, 1);
    assert_waiters(fixture, "");
}

static void unmatched_poll_waits_before_all_others(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *poll = park(fixture, 1);
    poll_match(&fixture->table, poll);
    park(fixture, 2);
    poll_unmatch(&fixture->table, poll, fixture->w1);
    assert_waiters(fixture, "1 2");
    assert_int_equal(poll->state, POLL_WAITING);
    assert_ptr_equal(poll->worker, fixture->w1);
    assert_int_equal(fixture->replica->matched, 0);
}

static void poll_answered_meanwhile_does_not_wait_again(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *poll = park(fixture, 1);
    poll_match(&fixture->table, poll);
    poll_answered(&fixture->table, poll, NOW_MS);
    poll_unmatch(&fixture->table, poll, fixture->w1);
    assert_int_equal(poll->state, POLL_ANSWERED);
    assert_waiters(fixture, "");
    assert_int_equal(fixture->replica->matched, 0);
}

static void unmatching_a_waiting_poll_changes_nothing(void **state)
{
    struct fixture *fixture = *state;
    park(fixture, 1);
    poll_unmatch(&fixture->table, park(fixture, 2), fixture->w1);
    assert_waiters(fixture, "1 2");
    assert_int_equal(fixture->replica->matched, 0);
}

static void poll_in_any_state_can_be_answered(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *waiting = park(fixture, 1), *matched = park(fixture, 2);
    poll_match(&fixture->table, matched);
    poll_answered(&fixture->table, waiting, NOW_MS);
    poll_answered(&fixture->table, matched, NOW_MS);
    assert_waiters(fixture, "");
    assert_polls_of(fixture->w1, "");
    assert_int_equal(fixture->replica->matched, 0);
    assert_int_equal(waiting->state, POLL_ANSWERED);
    assert_int_equal(waiting->answered_ms, NOW_MS);
    poll_answered(&fixture->table, matched, NOW_MS); /* a repeated callback */
    assert_int_equal(fixture->replica->matched, 0);
    assert_waiters(fixture, "");
}

static void answered_poll_does_not_wait_again_after_a_late_signal(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *poll = park(fixture, 1);
    poll_answered(&fixture->table, poll, NOW_MS);
    assert_null(park(fixture, 1));
    assert_int_equal(poll->state, POLL_ANSWERED);
    assert_waiters(fixture, "");
}

static void answered_polls_are_freed_after_their_time(void **state)
{
    struct fixture *fixture = *state;
    poll_answered(&fixture->table, park(fixture, 1), NOW_MS - 1);
    poll_answered(&fixture->table, park(fixture, 2), NOW_MS);
    park(fixture, 3);
    poll_match(&fixture->table, park(fixture, 4));
    replica_forget_answered(fixture->replica, NOW_MS);
    assert_null(replica_find_poll(fixture->replica, 1));
    assert_non_null(replica_find_poll(fixture->replica, 2));
    assert_non_null(replica_find_poll(fixture->replica, 3));
    assert_non_null(replica_find_poll(fixture->replica, 4));
}

static void freed_number_may_wait_again(void **state)
{
    struct fixture *fixture = *state;
    poll_answered(&fixture->table, park(fixture, 1), NOW_MS);
    replica_forget_answered(fixture->replica,
                            INT64_MAX); /* a new process numbers its polls from one */
    assert_non_null(park(fixture, 1));
    assert_waiters(fixture, "1");
}

static void polls_of_a_stopped_replica_are_dropped(void **state)
{
    struct fixture *fixture = *state;
    struct parked_poll *first = park(fixture, 1), *matched = park(fixture, 2);
    replica_park(&fixture->table, fixture->other, fixture->w2, 3, false);
    poll_match(&fixture->table, matched);
    replica_drop_polls(&fixture->table, fixture->replica, NOW_MS);
    assert_waiters(fixture, "3");
    assert_int_equal(first->state, POLL_ANSWERED);
    assert_int_equal(first->answered_ms, NOW_MS);
    assert_int_equal(matched->state, POLL_MATCHED); /* its hand-out's outcome decides */
    assert_int_equal(fixture->replica->matched, 1);
}

static void checksum_covers_waiting_and_matched_polls_of_the_replica(void **state)
{
    struct fixture *fixture = *state;
    assert_checksum_of(fixture->replica, NULL, 0);
    park(fixture, 1);
    poll_match(&fixture->table, park(fixture, 2));
    poll_answered(&fixture->table, park(fixture, 3), NOW_MS);
    replica_park(&fixture->table, fixture->other, fixture->w2, 4, false);
    assert_checksum_of(fixture->replica, (int64_t[]){1, 2}, 2);
    assert_checksum_of(fixture->other, (int64_t[]){4}, 1);
}

static void checksum_differs_between_polls(void **state)
{
    struct fixture *fixture = *state;
    int64_t count, ours, theirs;
    park(fixture, 1);
    replica_park(&fixture->table, fixture->other, fixture->w2, 2, false);
    replica_checksum(fixture->replica, &count, &ours);
    replica_checksum(fixture->other, &count, &theirs);
    assert_true(ours != theirs); /* as many, but not the same: a signal was lost */
}

static void checksum_of_many_polls_fits_into_int64(void **state)
{
    struct fixture *fixture = *state;
    int64_t polls[64];
    for (int64_t i = 0; i < 64; i++) {
        polls[i] = i + 1;
        park(fixture, i + 1);
        int64_t count, checksum;
        replica_checksum(fixture->replica, &count, &checksum);
        assert_true(checksum >= 0);
    }
    assert_checksum_of(fixture->replica, polls, 64);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(added_replica_is_found_by_its_id),
        CASE(replica_that_is_known_keeps_its_address),
        CASE(address_too_long_is_cut_to_what_fits),
        CASE(query_is_answered_once_however_often_it_is_asked),
        CASE(query_whose_callback_failed_is_answered_again_until_it_is_old),
        CASE(removing_a_replica_frees_what_it_owns),
        CASE(destroyed_table_has_neither_replicas_nor_waiters),
        CASE(polls_wait_oldest_first_and_newest_first_at_their_worker),
        CASE(poll_is_known_by_its_number_at_its_own_replica),
        CASE(poll_that_is_signalled_again_waits_once),
        CASE(final_poll_stays_final),
        CASE(poll_may_be_final_from_the_start),
        CASE(polls_that_are_final_and_wait_are_listed_apart),
        CASE(matched_poll_that_becomes_final_is_listed_once_it_waits_again),
        CASE(poll_answered_twice_is_kept_from_the_second_answer),
        CASE(parking_marks_a_poll_as_listed),
        CASE(matched_poll_does_not_wait),
        CASE(matched_poll_does_not_wait_again_when_signalled),
        CASE(unmatched_poll_waits_before_all_others),
        CASE(poll_answered_meanwhile_does_not_wait_again),
        CASE(unmatching_a_waiting_poll_changes_nothing),
        CASE(poll_in_any_state_can_be_answered),
        CASE(answered_poll_does_not_wait_again_after_a_late_signal),
        CASE(answered_polls_are_freed_after_their_time),
        CASE(freed_number_may_wait_again),
        CASE(polls_of_a_stopped_replica_are_dropped),
        CASE(checksum_covers_waiting_and_matched_polls_of_the_replica),
        CASE(checksum_differs_between_polls),
        CASE(checksum_of_many_polls_fits_into_int64),
    };
    return cmocka_run_group_tests_name("replica_table", tests, NULL, NULL);
}
