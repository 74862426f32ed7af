#include "scheduler/state/queue.h"
#include "scheduler/state/queue_position.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

enum { NOW_MS = 1000000, EARLY_MS = 5000, LATE_MS = 6000, MOST_TEXT = 400 };

static int setup(void **state)
{
    struct queue *queue = calloc(1, sizeof *queue);
    queue_init(queue);
    *state = queue;
    return 0;
}

static int teardown(void **state)
{
    queue_destroy(*state);
    free(*state);
    return 0;
}

/* A run with only student jobs. Its id is zeros and `letter` (a to f). */
static struct run run_named(char letter, uint32_t students, int priority, int64_t started_ms)
{
    struct run run = {.students = students, .priority = priority, .started_ms = started_ms};
    snprintf(run.id, sizeof run.id, "%023d%c", 0, letter);
    return run;
}

static struct active_run *add_ranked(struct queue *queue, char letter, uint32_t students,
                                     int priority, int64_t started_ms)
{
    struct run run = run_named(letter, students, priority, started_ms);
    struct active_run *added = queue_add(queue, &run);
    queue_open_slots(added, 0, students);
    return added;
}

/* Peeks at the next job of either protocol. */
static bool peek(const struct queue *queue, struct offer *offer)
{
    return queue_peek(queue, PROTOCOL_CLASSIC, offer) || queue_peek(queue, PROTOCOL_COURSE, offer);
}

/* Adds a run, all of whose jobs may be handed out. */
static struct active_run *add(struct queue *queue, char letter, uint32_t students)
{
    return add_ranked(queue, letter, students, 0, EARLY_MS);
}

/* The same in a course named by the letter. */
static void add_to_course(struct queue *queue, char letter, uint32_t students)
{
    struct run run = run_named(letter, students, 0, EARLY_MS);
    run.protocol = PROTOCOL_COURSE;
    run.course[0] = letter;
    struct active_run *added = queue_add(queue, &run);
    queue_open_slots(added, 0, students);
}

static void retry_at(struct active_run *run, uint32_t slot, uint32_t attempt, int64_t due_ms)
{
    struct retry retry = {.slot = slot, .attempt = attempt, .due_ms = due_ms};
    queue_retry(run, &retry, NOW_MS);
}

/* Takes the next job and appends it to `text`: "a0" is run a, slot 0; "a0/2" its second attempt. */
static void take_into(struct queue *queue, char text[MOST_TEXT])
{
    struct offer offer;
    size_t length = strlen(text);
    if (!peek(queue, &offer))
        return;
    length += (size_t)snprintf(text + length, MOST_TEXT - length, "%s%c%u", length > 0 ? " " : "",
                               offer.run->run.id[RUN_ID_LENGTH - 1], offer.slot);
    if (offer.attempt > 1)
        snprintf(text + length, MOST_TEXT - length, "/%u", offer.attempt);
    (void)queue_take(&offer);
}

static void assert_next(struct queue *queue, const char *expected)
{
    char text[MOST_TEXT] = "";
    take_into(queue, text);
    assert_string_equal(text, expected);
}

/* Takes all jobs and checks their order. */
static void assert_all(struct queue *queue, const char *expected)
{
    char text[MOST_TEXT] = "";
    struct offer offer;
    while (peek(queue, &offer))
        take_into(queue, text);
    assert_string_equal(text, expected);
}

static void empty_queue_offers_nothing(void **state)
{
    struct queue *queue = *state;
    struct offer offer;
    assert_false(peek(queue, &offer));
    assert_int_equal(queue_length(queue), 0);
    assert_true(queue_wake(queue, NOW_MS) == INT64_MAX);
    assert_null(queue_find(queue, "000000000000000000000000"));
}

static void students_of_a_run_are_offered_in_order(void **state)
{
    struct queue *queue = *state;
    add(queue, 'a', 4);
    assert_all(queue, "a0 a1 a2 a3");
}

static void run_offers_nothing_until_its_slots_are_open(void **state)
{
    struct queue *queue = *state;
    struct offer offer;
    struct run run = run_named('a', 3, 0, EARLY_MS);
    struct active_run *added = queue_add(queue, &run);
    assert_false(peek(queue, &offer));
    queue_open_slots(added, 1, 2);
    assert_all(queue, "a1");
    queue_open_slots(added, 2, 3);
    assert_all(queue, "a2");
}

static void closed_slots_are_not_offered(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 4);
    assert_next(queue, "a0");
    queue_open_slots(run, 4, 4);
    assert_all(queue, "");
    assert_int_equal(queue_length(queue), 0);
}

static void offer_names_the_job_of_its_slot(void **state)
{
    static const char *const jobs[] = {
        "00000000000000000000000a00000000", "00000000000000000000000a10000000",
        "00000000000000000000000a10000001", "00000000000000000000000a20000000"};
    struct queue *queue = *state;
    struct run run = run_named('a', 2, 0, EARLY_MS);
    run.has_pre = run.has_post = true;
    struct active_run *added = queue_add(queue, &run);
    assert_int_equal(added->slots, 4);
    queue_open_slots(added, 0, 4);
    for (uint32_t slot = 0; slot < 4; slot++) {
        struct offer offer;
        assert_true(peek(queue, &offer));
        assert_string_equal(offer.job, jobs[slot]);
        assert_int_equal(offer.attempt, 1);
        assert_int_equal(failed_attempts_total(&offer.failed_attempts), 0);
        assert_ptr_equal(offer.run, added);
        assert_null(offer.retry);
        (void)queue_take(&offer);
    }
}

static void offer_is_unchanged_until_taken(void **state)
{
    struct queue *queue = *state;
    struct offer first, second;
    add(queue, 'a', 2);
    assert_true(queue_peek(queue, PROTOCOL_CLASSIC, &first));
    assert_true(queue_peek(queue, PROTOCOL_CLASSIC, &second));
    assert_string_equal(first.job, second.job);
    assert_int_equal(queue_length(queue), 2);
    (void)queue_take(&second);
    assert_int_equal(queue_length(queue), 1);
}

static void runs_are_offered_in_order_of_start(void **state)
{
    struct queue *queue = *state;
    add_ranked(queue, 'a', 2, 0, LATE_MS);
    add_ranked(queue, 'b', 2, 0, EARLY_MS); /* recovery finds them in any order */
    add_ranked(queue, 'c', 1, 0, LATE_MS + 1);
    assert_all(queue, "b0 b1 a0 a1 c0");
}

static void runs_started_at_one_instant_keep_the_order_of_adding(void **state)
{
    struct queue *queue = *state;
    add(queue, 'c', 1);
    add(queue, 'a', 2);
    add(queue, 'b', 1);
    assert_all(queue, "c0 a0 a1 b0");
}

static void priority_precedes_order_of_start(void **state)
{
    struct queue *queue = *state;
    add_ranked(queue, 'a', 1, 0, EARLY_MS);
    add_ranked(queue, 'b', 1, -1, EARLY_MS);
    add_ranked(queue, 'c', 1, 5, LATE_MS);
    add_ranked(queue, 'd', 1, 5, EARLY_MS);
    assert_all(queue, "d0 c0 a0 b0");
}

static void urgent_run_precedes_one_that_has_begun(void **state)
{
    struct queue *queue = *state;
    add_ranked(queue, 'a', 3, 0, EARLY_MS);
    assert_next(queue, "a0");
    add_ranked(queue, 'b', 2, 1, LATE_MS);
    assert_all(queue, "b0 b1 a1 a2");
}

static void run_with_new_jobs_regains_its_place(void **state)
{
    struct queue *queue = *state;
    struct active_run *middle;
    add(queue, 'a', 1);
    middle = add(queue, 'b', 2);
    add(queue, 'c', 1);
    add(queue, 'd', 1);
    queue_open_slots(middle, 0, 0);
    queue_open_slots(middle, 0, 2);
    assert_all(queue, "a0 b0 b1 c0 d0");
}

static void courses_take_turns(void **state)
{
    struct queue *queue = *state;
    add_to_course(queue, 'a', 3);
    add_to_course(queue, 'b', 2);
    add_to_course(queue, 'c', 1);
    assert_all(queue, "a0 b0 c0 a1 b1 a2");
}

static void course_without_jobs_loses_no_turn_to_others(void **state)
{
    struct queue *queue = *state;
    add_to_course(queue, 'a', 1);
    add_to_course(queue, 'b', 2);
    assert_next(queue, "a0");
    assert_next(queue, "b0");
    queue_open_slots(queue_find(queue, "00000000000000000000000a"), 0, 1);
    assert_all(queue, "b1 a0"); /* the course joins the round-robin last */
}

static void first_course_is_served_first_after_any_other(void **state)
{
    struct queue *queue = *state;
    add_to_course(queue, 'a', 1);
    add_to_course(queue, 'b', 1);
    assert_all(queue, "a0 b0");
    queue_open_slots(queue_find(queue, "00000000000000000000000b"), 0, 1);
    queue_open_slots(queue_find(queue, "00000000000000000000000a"), 0, 1);
    assert_all(queue, "b0 a0");
}

static void each_protocol_has_its_own_next_job(void **state)
{
    struct queue *queue = *state;
    struct offer offer;
    assert_false(queue_peek(queue, PROTOCOL_COURSE, &offer));
    add_to_course(queue, 'a', 1);
    assert_false(queue_peek(queue, PROTOCOL_CLASSIC, &offer));
    assert_true(queue_peek(queue, PROTOCOL_COURSE, &offer));
    add(queue, 'b', 1);
    assert_true(queue_peek(queue, PROTOCOL_CLASSIC, &offer));
    assert_string_equal(offer.run->course->name, "");
    add(queue, 'c', 3);
    assert_int_equal(queue_protocol_length(queue, PROTOCOL_CLASSIC), 4);
    assert_int_equal(queue_protocol_length(queue, PROTOCOL_COURSE), 1);
}

static void position_counts_the_earlier_jobs_of_the_course(void **state)
{
    struct queue *queue = *state;
    uint64_t ahead;
    add_to_course(queue, 'a', 3);
    struct active_run *run = queue_find(queue, "00000000000000000000000a");
    assert_true(queue_position(run, 0, &ahead));
    assert_int_equal(ahead, 0);
    assert_next(queue, "a0");
    assert_false(queue_position(run, 0, &ahead));
    assert_true(queue_position(run, 2, &ahead));
    assert_int_equal(ahead, 1);
    retry_at(run, 0, 2, NOW_MS); /* due: before the others */
    assert_true(queue_position(run, 0, &ahead));
    assert_int_equal(ahead, 0);
    assert_true(queue_position(run, 2, &ahead));
    assert_int_equal(ahead, 2);
    run->course->inserting = 1; /* being inserted: counts as queued, before all others */
    assert_true(queue_position(run, 2, &ahead));
    assert_int_equal(ahead, 3);
    assert_int_equal(queue_course_length(queue, "a"), 4);
    assert_int_equal(queue_course_length(queue, "b"), 0);
}

static void pausing_job_is_after_ready_jobs(void **state)
{
    struct queue *queue = *state;
    uint64_t ahead;
    add_to_course(queue, 'a', 3);
    struct active_run *run = queue_find(queue, "00000000000000000000000a");
    assert_next(queue, "a0");
    retry_at(run, 0, 2, NOW_MS + 5000);
    assert_true(queue_position(run, 0, &ahead));
    assert_int_equal(ahead, 2);
    assert_int_equal(queue_course_length(queue, "a"), 3);
}

static void priority_does_not_affect_other_courses(void **state)
{
    struct queue *queue = *state;
    add_to_course(queue, 'a', 2);
    add_to_course(queue, 'b', 2);
    queue_find(queue, "00000000000000000000000b")->run.priority = 100;
    assert_all(queue, "a0 b0 a1 b1");
}

static void retry_precedes_first_attempts_of_its_run(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 4);
    assert_next(queue, "a0");
    assert_next(queue, "a1");
    retry_at(run, 1, 2, NOW_MS);
    assert_all(queue, "a1/2 a2 a3");
}

static void retries_are_offered_oldest_first(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 4);
    assert_all(queue, "a0 a1 a2 a3");
    retry_at(run, 3, 2, NOW_MS);
    retry_at(run, 0, 5, NOW_MS - 10);
    retry_at(run, 1, 2, NOW_MS);
    assert_all(queue, "a3/2 a0/5 a1/2");
}

static void retry_does_not_precede_a_better_run(void **state)
{
    struct queue *queue = *state;
    struct active_run *late;
    add(queue, 'a', 1);
    late = add(queue, 'b', 2);
    retry_at(late, 0, 2, NOW_MS);
    assert_all(queue, "a0 b0/2 b0 b1");
}

static void offer_of_a_retry_has_its_fields(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 0);
    struct retry retry = {.slot = 7, .attempt = 4, .failed_attempts = {1, 2, 3}, .avoid = "w1"};
    struct offer offer;
    run->run.students = 8;
    queue_retry(run, &retry, NOW_MS);
    memset(&retry, 0, sizeof retry); /* it was copied */
    assert_true(peek(queue, &offer));
    assert_string_equal(offer.job, "00000000000000000000000a10000007");
    assert_int_equal(offer.slot, 7);
    assert_int_equal(offer.attempt, 4);
    assert_int_equal(offer.failed_attempts.lost, 1);
    assert_int_equal(offer.failed_attempts.expired, 2);
    assert_int_equal(offer.failed_attempts.undeliverable, 3);
    assert_string_equal(offer.retry->avoid, "w1");
}

static void failed_attempts_of_every_kind_count(void **state)
{
    struct failed_attempts failed_attempts = {.lost = 1, .expired = 10, .undeliverable = 100};
    (void)state;
    assert_int_equal(failed_attempts_total(&failed_attempts), 111);
}

static void retry_waits_for_its_time(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 1);
    assert_next(queue, "a0");
    retry_at(run, 0, 2, NOW_MS + 500);
    assert_all(queue, "");
    assert_true(queue_wake(queue, NOW_MS + 499) == NOW_MS + 500);
    assert_all(queue, "");
    assert_true(queue_wake(queue, NOW_MS + 500) == INT64_MAX);
    assert_all(queue, "a0/2");
}

static void waiting_retry_does_not_block_its_run(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 3);
    assert_next(queue, "a0");
    retry_at(run, 0, 2, NOW_MS + 500);
    assert_next(queue, "a1");
    queue_wake(queue, NOW_MS + 500);
    assert_all(queue, "a0/2 a2");
}

static void waking_returns_the_time_of_the_next_retry(void **state)
{
    struct queue *queue = *state;
    struct active_run *a = add(queue, 'a', 3), *b = add(queue, 'b', 2);
    assert_all(queue, "a0 a1 a2 b0 b1");
    retry_at(a, 1, 2, NOW_MS + 300);
    retry_at(a, 0, 2, NOW_MS + 900);
    retry_at(b, 0, 2, NOW_MS + 600);
    retry_at(b, 1, 2, NOW_MS + 100);
    assert_true(queue_wake(queue, NOW_MS) == NOW_MS + 100);
    assert_true(queue_wake(queue, NOW_MS + 100) == NOW_MS + 300);
    assert_true(queue_wake(queue, NOW_MS + 300) == NOW_MS + 600);
    assert_all(queue, "a1/2 b1/2");
    assert_true(queue_wake(queue, NOW_MS + 899) == NOW_MS + 900);
    assert_all(queue, "b0/2");
}

static void woken_run_is_sorted_among_the_others(void **state)
{
    struct queue *queue = *state;
    struct active_run *a = add(queue, 'a', 1);
    assert_next(queue, "a0");
    add(queue, 'b', 2);
    retry_at(a, 0, 2, NOW_MS + 500);
    assert_next(queue, "b0");
    queue_wake(queue, NOW_MS + 500);
    assert_all(queue, "a0/2 b1");
}

static void dropped_retry_returns_its_failed_attempts(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 2);
    struct retry retry = {.slot = 1, .attempt = 3, .failed_attempts = {2, 0, 1}};
    struct failed_attempts failed_attempts = {0};
    assert_all(queue, "a0 a1");
    queue_retry(run, &retry, NOW_MS);
    assert_true(queue_drop_retry(run, 1, &failed_attempts));
    assert_int_equal(failed_attempts.lost, 2);
    assert_int_equal(failed_attempts.undeliverable, 1);
    assert_all(queue, "");
}

static void waiting_retry_can_be_dropped(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 2);
    assert_all(queue, "a0 a1");
    retry_at(run, 0, 2, NOW_MS + 500);
    retry_at(run, 1, 2, NOW_MS + 500);
    assert_true(queue_drop_retry(run, 0, NULL));
    assert_true(queue_wake(queue, NOW_MS + 500) == INT64_MAX);
    assert_all(queue, "a1/2");
}

static void dropping_a_missing_retry_changes_nothing(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 2);
    struct failed_attempts failed_attempts = {.lost = 9};
    retry_at(run, 0, 2, NOW_MS);
    assert_false(queue_drop_retry(run, 1, &failed_attempts));
    assert_int_equal(failed_attempts.lost, 9);
    assert_all(queue, "a0/2 a0 a1");
}

static void length_counts_first_attempts_and_retries_due_or_not(void **state)
{
    struct queue *queue = *state;
    struct active_run *a = add(queue, 'a', 10);
    add(queue, 'b', 5);
    assert_int_equal(queue_length(queue), 15);
    assert_next(queue, "a0");
    assert_int_equal(queue_length(queue), 14);
    retry_at(a, 0, 2, NOW_MS);
    assert_int_equal(queue_length(queue), 15);
    retry_at(a, 3, 2, NOW_MS + 500);
    assert_int_equal(queue_length(queue), 16);
}

/* The job at `slot` is cancelled. */
static void end_job(struct active_run *run, uint32_t slot)
{
    run->run.summary[slot] = summary_make(OUTCOME_CANCELLED, 0, OWNER_CLIENT, JOB_STUDENT);
    queue_job_ended(run, slot);
}

static void jobs_that_have_ended_are_not_offered(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 8);
    end_job(run, 0);
    end_job(run, 3);
    end_job(run, 4);
    assert_int_equal(queue_length(queue), 5);
    assert_next(queue, "a1");
    end_job(run, 1);
    end_job(run, 2);
    assert_int_equal(queue_length(queue), 3);
    end_job(run, 7);
    assert_all(queue, "a5 a6");
    assert_int_equal(queue_length(queue), 0);
}

static void a_run_whose_jobs_have_all_ended_offers_nothing(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 3);
    for (uint32_t slot = 3; slot-- > 0;)
        end_job(run, slot);
    assert_all(queue, "");
    assert_int_equal(queue_first_attempts(run), 0);
}

static void jobs_that_have_ended_before_are_left_out_of_a_range(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 5);
    queue_close(run);
    end_job(run, 1);
    end_job(run, 2);
    queue_open_slots(run, 1, 5);
    assert_int_equal(queue_length(queue), 2);
    assert_all(queue, "a3 a4");
}

static void added_run_is_found_until_it_is_removed(void **state)
{
    struct queue *queue = *state;
    struct active_run *a = add(queue, 'a', 2), *b = add(queue, 'b', 1);
    retry_at(a, 0, 2, NOW_MS);
    retry_at(a, 1, 2, NOW_MS + 500);
    assert_ptr_equal(queue_find(queue, "00000000000000000000000a"), a);
    assert_ptr_equal(queue_find(queue, "00000000000000000000000b"), b);
    assert_null(queue_find(queue, "00000000000000000000000c"));
    queue_remove(queue, a);
    assert_null(queue_find(queue, "00000000000000000000000a"));
    assert_int_equal(queue_length(queue), 1);
    assert_all(queue, "b0");
}

static void run_without_ready_jobs_can_be_removed(void **state)
{
    struct queue *queue = *state;
    struct active_run *run = add(queue, 'a', 1);
    assert_next(queue, "a0");
    add(queue, 'b', 1);
    queue_remove(queue, run);
    assert_all(queue, "b0");
}

static void queue_takes_what_a_run_owns(void **state)
{
    struct queue *queue = *state;
    struct run run = run_named('a', 3, 0, EARLY_MS);
    run.summary = malloc(2);
    run.summary_length = 2;
    memset(run.summary, 0x41, 2);
    struct active_run *added = queue_add(queue, &run);
    assert_null(run.summary);
    assert_int_equal(run.summary_length, 0);
    run_clear(&run); /* harmless: the queue has taken what the run owned */
    assert_memory_equal(added->run.summary, "\x41\x41\0", 3);
}

static void every_job_of_a_run_has_its_byte_in_the_summary(void **state)
{
    struct queue *queue = *state;
    struct run run = run_named('a', 5, 0, EARLY_MS);
    run.has_pre = run.has_post = true;
    struct active_run *added = queue_add(queue, &run);
    assert_int_equal(added->slots, 7);
    assert_int_equal(added->run.summary_length, 7);
    assert_memory_equal(added->run.summary, "\0\0\0\0\0\0\0", 7);
}

static void destroyed_queue_is_empty(void **state)
{
    struct queue *queue = *state;
    struct offer offer;
    retry_at(add(queue, 'a', 2), 0, 2, NOW_MS + 500);
    add_to_course(queue, 'b', 1);
    queue_destroy(queue);
    assert_null(queue_find(queue, "00000000000000000000000a"));
    assert_false(peek(queue, &offer));
    assert_int_equal(queue_length(queue), 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(empty_queue_offers_nothing),
        CASE(students_of_a_run_are_offered_in_order),
        CASE(run_offers_nothing_until_its_slots_are_open),
        CASE(closed_slots_are_not_offered),
        CASE(offer_names_the_job_of_its_slot),
        CASE(offer_is_unchanged_until_taken),
        CASE(runs_are_offered_in_order_of_start),
        CASE(runs_started_at_one_instant_keep_the_order_of_adding),
        CASE(priority_precedes_order_of_start),
        CASE(urgent_run_precedes_one_that_has_begun),
        CASE(run_with_new_jobs_regains_its_place),
        CASE(courses_take_turns),
        CASE(course_without_jobs_loses_no_turn_to_others),
        CASE(priority_does_not_affect_other_courses),
        CASE(first_course_is_served_first_after_any_other),
        CASE(each_protocol_has_its_own_next_job),
        CASE(position_counts_the_earlier_jobs_of_the_course),
        CASE(pausing_job_is_after_ready_jobs),
        CASE(retry_precedes_first_attempts_of_its_run),
        CASE(retries_are_offered_oldest_first),
        CASE(retry_does_not_precede_a_better_run),
        CASE(offer_of_a_retry_has_its_fields),
        CASE(failed_attempts_of_every_kind_count),
        CASE(retry_waits_for_its_time),
        CASE(waiting_retry_does_not_block_its_run),
        CASE(waking_returns_the_time_of_the_next_retry),
        CASE(woken_run_is_sorted_among_the_others),
        CASE(dropped_retry_returns_its_failed_attempts),
        CASE(waiting_retry_can_be_dropped),
        CASE(dropping_a_missing_retry_changes_nothing),
        CASE(length_counts_first_attempts_and_retries_due_or_not),
        CASE(jobs_that_have_ended_are_not_offered),
        CASE(a_run_whose_jobs_have_all_ended_offers_nothing),
        CASE(jobs_that_have_ended_before_are_left_out_of_a_range),
        CASE(added_run_is_found_until_it_is_removed),
        CASE(run_without_ready_jobs_can_be_removed),
        CASE(queue_takes_what_a_run_owns),
        CASE(every_job_of_a_run_has_its_byte_in_the_summary),
        CASE(destroyed_queue_is_empty),
    };
    return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
