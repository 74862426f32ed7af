#include "api/grading/delivery_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define JOB "0123456789abcdef0123456710000000"
#define OTHER_JOB "0123456789abcdef0123456710000001"

static const struct hand_out first = {
    .poll = 1, .worker = "w1", .job = JOB, .attempt = 1, .expires_in_ms = 60000};

static int setup(void **state)
{
    *state = delivery_table_new();
    return 0;
}

static int teardown(void **state)
{
    delivery_table_free(*state);
    return 0;
}

static size_t list_count(struct delivery_table *table)
{
    size_t count;
    free(delivery_table_list(table, 100, &count));
    return count;
}

static void repeated_hand_out_counts_as_delivered(void **state)
{
    struct delivery_table *table = *state;
    assert_false(delivery_table_delivered(table, &first));
    assert_true(delivery_table_begin(table, &first));
    delivery_table_complete(table, &first, true);
    assert_true(delivery_table_delivered(table, &first));
    assert_false(delivery_table_begin(table, &first));
    assert_true(delivery_table_has(table, JOB, "w1"));
    assert_false(delivery_table_has(table, JOB, "w2"));
    assert_false(delivery_table_has(table, OTHER_JOB, "w1"));
}

static void latest_hand_out_to_a_worker_is_found_with_what_its_receipt_needs(void **state)
{
    struct delivery_table *table = *state;
    struct hand_out hand_out = first;
    struct job_handing found;
    for (hand_out.attempt = 1; hand_out.attempt <= 3; hand_out.attempt += 2, hand_out.poll++) {
        hand_out.handing = (struct job_handing){.handed_out_ms = 10 * hand_out.attempt,
                                                .definition = "d"};
        assert_true(delivery_table_begin(table, &hand_out));
        delivery_table_complete(table, &hand_out, true);
    }
    assert_true(delivery_table_find(table, JOB, "w1", &found));
    assert_int_equal(found.attempt, 3);
    assert_int_equal(found.handed_out_ms, 30);
    assert_string_equal(found.definition, "d");
    assert_false(delivery_table_find(table, JOB, "w2", &found));
}

static void undelivered_hand_out_leaves_no_entry(void **state)
{
    struct delivery_table *table = *state;
    assert_true(delivery_table_begin(table, &first));
    delivery_table_complete(table, &first, false);
    assert_false(delivery_table_delivered(table, &first));
    assert_false(delivery_table_has(table, JOB, "w1"));
    assert_int_equal(list_count(table), 0);
}

static void lost_answer_is_delivered_again_to_a_later_poll(void **state)
{
    struct delivery_table *table = *state;
    struct hand_out again = first;
    again.poll = 2;
    assert_true(delivery_table_begin(table, &first));
    delivery_table_complete(table, &first, true);
    assert_false(delivery_table_delivered(table, &again));
    assert_true(delivery_table_begin(table, &again));
    delivery_table_complete(table, &again,
                            false); /* not delivered: the first delivery still counts */
    assert_true(delivery_table_delivered(table, &first));
    assert_true(delivery_table_begin(table, &again));
    delivery_table_complete(table, &again, true);
    assert_true(delivery_table_delivered(table, &again));
    assert_int_equal(list_count(table), 1);
}

static void attempt_is_delivered_to_one_worker_only(void **state)
{
    struct delivery_table *table = *state;
    struct hand_out stranger = {
        .poll = 2, .worker = "w2", .job = JOB, .attempt = 1, .expires_in_ms = 60000};
    assert_true(delivery_table_begin(table, &first));
    delivery_table_complete(table, &first, true);
    assert_false(delivery_table_begin(table, &stranger));
    assert_false(delivery_table_delivered(table, &stranger));
    stranger.attempt = 2;
    assert_true(delivery_table_begin(table, &stranger));
    delivery_table_complete(table, &stranger, true);
    assert_true(delivery_table_has(table, JOB, "w1"));
    assert_true(delivery_table_has(table, JOB, "w2"));
    assert_int_equal(list_count(table), 2);
}

static void finished_job_is_kept_but_not_listed(void **state)
{
    struct delivery_table *table = *state;
    struct hand_out again = first;
    again.poll = 2;
    assert_true(delivery_table_begin(table, &first));
    delivery_table_complete(table, &first, true);
    assert_int_equal(list_count(table), 1);
    delivery_table_finish(table, JOB);
    assert_int_equal(list_count(table), 0);
    assert_true(delivery_table_delivered(table, &first));
    assert_true(delivery_table_has(table, JOB, "w1"));
    assert_false(delivery_table_begin(table, &again));
}

static void expired_hand_out_is_not_listed(void **state)
{
    struct delivery_table *table = *state;
    struct hand_out late = first;
    late.expires_in_ms = -60001;
    assert_true(delivery_table_begin(table, &late));
    delivery_table_complete(table, &late, true);
    assert_int_equal(list_count(table), 0);
}

static void list_is_cut_at_its_limit(void **state)
{
    struct delivery_table *table = *state;
    struct hand_out hand_out = first;
    size_t count;
    for (hand_out.attempt = 1; hand_out.attempt <= 10; hand_out.attempt++) {
        assert_true(delivery_table_begin(table, &hand_out));
        delivery_table_complete(table, &hand_out, true);
    }
    free(delivery_table_list(table, 4, &count));
    assert_int_equal(count, 4);
}

struct lister {
    struct delivery_table *table;
    atomic_bool is_done;
    size_t count;
};

static void *list_once(void *context)
{
    struct lister *lister = context;
    lister->count = list_count(lister->table);
    atomic_store(&lister->is_done, true);
    return NULL;
}

static void listing_waits_for_deliveries_in_flight(void **state)
{
    struct lister lister = {.table = *state};
    pthread_t thread;
    assert_true(delivery_table_begin(lister.table, &first));
    assert_int_equal(pthread_create(&thread, NULL, list_once, &lister), 0);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    assert_false(atomic_load(&lister.is_done));
    delivery_table_complete(lister.table, &first, true);
    pthread_join(thread, NULL);
    assert_int_equal(lister.count, 1);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(repeated_hand_out_counts_as_delivered),
        CASE(latest_hand_out_to_a_worker_is_found_with_what_its_receipt_needs),
        CASE(undelivered_hand_out_leaves_no_entry),
        CASE(lost_answer_is_delivered_again_to_a_later_poll),
        CASE(attempt_is_delivered_to_one_worker_only),
        CASE(finished_job_is_kept_but_not_listed),
        CASE(expired_hand_out_is_not_listed),
        CASE(list_is_cut_at_its_limit),
        CASE(listing_waits_for_deliveries_in_flight),
    };
    return cmocka_run_group_tests_name("hand_out_table", tests, NULL, NULL);
}
