#include "scheduler/state/lease_table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUN "0123456789abcdef01234567"

enum { NOW_MS = 1000000 };

struct fixture {
    struct lease_table leases;
    struct replica_table replicas;
    struct worker_table workers;
    struct known_replica *r1, *r2;
    struct known_worker *w1, *w2;
    struct course course;
    struct active_run run;
};

static int setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    fixture->run.course = &fixture->course;
    lease_table_init(&fixture->leases);
    replica_table_init(&fixture->replicas);
    worker_table_init(&fixture->workers, 10000);
    fixture->r1 = replica_table_add(&fixture->replicas, "r1", "http://r1:1");
    fixture->r2 = replica_table_add(&fixture->replicas, "r2", "http://r2:2");
    fixture->w1 = worker_table_add(&fixture->workers, "w1", 0, true, NOW_MS);
    fixture->w2 = worker_table_add(&fixture->workers, "w2", 0, true, NOW_MS);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    lease_table_destroy(&fixture->leases);
    replica_table_destroy(&fixture->replicas);
    worker_table_destroy(&fixture->workers);
    free(fixture);
    return 0;
}

static const char *job_of(uint32_t slot, char job[JOB_ID_SIZE])
{
    return job_id_make(RUN, JOB_STUDENT, slot, job);
}

static struct live_lease *add_as(struct fixture *fixture, struct known_worker *worker,
                                 uint32_t slot, enum lease_state state)
{
    char job[JOB_ID_SIZE];
    return lease_table_add(&fixture->leases, &fixture->run, slot, job_of(slot, job), 1, worker,
                           state);
}

/* Adds a lease of the first worker; its insert is in flight. */
static struct live_lease *add(struct fixture *fixture, uint32_t slot)
{
    return add_as(fixture, fixture->w1, slot, LEASE_INSERTING);
}

/* Checks the slots of the worker's leases, oldest first, as in "0 1", and their count. */
static void assert_held(const struct known_worker *worker, const char *expected)
{
    const struct live_lease *lease;
    char text[200] = "";
    size_t length = 0, count = 0;
    for (lease = worker->leases; lease != NULL; lease = lease->worker_next, count++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%u",
                                   length > 0 ? " " : "", lease->slot);
    assert_string_equal(text, expected);
    assert_int_equal(worker->held, count);
}

/* The same for a replica's outbox. */
static void assert_outbox(const struct known_replica *replica, const char *expected)
{
    const struct live_lease *lease;
    char text[200] = "";
    size_t length = 0;
    for (lease = replica->outbox; lease != NULL; lease = lease->outbox_next)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%u",
                                   length > 0 ? " " : "", lease->slot);
    assert_string_equal(text, expected);
}

static void added_lease_is_found_by_its_job(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    struct live_lease *lease = lease_table_add(&fixture->leases, &fixture->run, 5, job_of(5, job),
                                               3, fixture->w1, LEASE_DELIVERED);
    add(fixture, 6);
    assert_ptr_equal(lease_table_find(&fixture->leases, job), lease);
    assert_string_equal(lease->job, job);
    assert_int_equal(lease->attempt, 3);
    assert_int_equal(lease->state, LEASE_DELIVERED);
    assert_ptr_equal(lease->run, &fixture->run);
    assert_int_equal(lease->slot, 5);
    assert_ptr_equal(lease->worker, fixture->w1);
    assert_null(lease->replica);
    assert_null(lease_table_find(&fixture->leases, job_of(7, job)));
}

static void lease_is_counted_at_its_run_and_its_worker(void **state)
{
    struct fixture *fixture = *state;
    add(fixture, 0);
    add_as(fixture, fixture->w2, 1, LEASE_INSERTING);
    add(fixture, 2);
    assert_int_equal(fixture->run.live, 3);
    assert_int_equal(fixture->course.running, 3);
    assert_held(fixture->w1, "0 2");
    assert_held(fixture->w2, "1");
}

static void removed_lease_is_not_counted(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    add(fixture, 0);
    struct live_lease *middle = add(fixture, 1);
    add(fixture, 2);
    lease_table_remove(&fixture->leases, middle);
    assert_null(lease_table_find(&fixture->leases, job_of(1, job)));
    assert_non_null(lease_table_find(&fixture->leases, job_of(2, job)));
    assert_int_equal(fixture->run.live, 2);
    assert_int_equal(fixture->course.running, 2);
    assert_held(fixture->w1, "0 2");
}

static void job_may_be_leased_again_when_its_lease_is_gone(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    lease_table_remove(&fixture->leases, add(fixture, 0));
    struct live_lease *again = add_as(fixture, fixture->w2, 0, LEASE_INSERTING);
    assert_ptr_equal(lease_table_find(&fixture->leases, job_of(0, job)), again);
    assert_held(fixture->w1, "");
    assert_held(fixture->w2, "0");
}

static void destroyed_table_leaves_no_worker_with_a_lease(void **state)
{
    struct fixture *fixture = *state;
    char job[JOB_ID_SIZE];
    lease_send(add(fixture, 0), fixture->r1, 1);
    add_as(fixture, fixture->w2, 1, LEASE_UNCONFIRMED);
    lease_table_destroy(&fixture->leases);
    assert_null(lease_table_find(&fixture->leases, job_of(0, job)));
    assert_held(fixture->w1, "");
    assert_held(fixture->w2, "");
    assert_outbox(fixture->r1, "");
    assert_int_equal(fixture->w2->undelivered, 0);
    assert_int_equal(fixture->run.live, 0);
}

static void only_an_unconfirmed_lease_is_undelivered(void **state)
{
    static const enum lease_state others[] = {LEASE_INSERTING, LEASE_DELIVERING, LEASE_DELIVERED,
                                              LEASE_ENDING};
    struct fixture *fixture = *state;
    struct live_lease *lease = add(fixture, 0);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        lease_set_state(lease, LEASE_UNCONFIRMED);
        assert_int_equal(lease->state, LEASE_UNCONFIRMED);
        assert_int_equal(fixture->w1->undelivered, 1);
        lease_set_state(lease, others[i]);
        assert_int_equal(lease->state, others[i]);
        assert_int_equal(fixture->w1->undelivered, 0);
    }
}

static void lease_that_stays_unconfirmed_is_counted_once(void **state)
{
    struct fixture *fixture = *state;
    struct live_lease *lease = add(fixture, 0);
    lease_set_state(lease, LEASE_UNCONFIRMED);
    lease_set_state(lease, LEASE_UNCONFIRMED);
    assert_int_equal(fixture->w1->undelivered, 1);
}

static void unconfirmed_leases_are_counted_at_their_own_worker(void **state)
{
    struct fixture *fixture = *state;
    add_as(fixture, fixture->w1, 0, LEASE_UNCONFIRMED); /* as recovery adds them */
    add_as(fixture, fixture->w1, 1, LEASE_UNCONFIRMED);
    add_as(fixture, fixture->w2, 2, LEASE_UNCONFIRMED);
    assert_int_equal(fixture->w1->undelivered, 2);
    assert_int_equal(fixture->w2->undelivered, 1);
}

static void removed_unconfirmed_lease_is_not_counted(void **state)
{
    struct fixture *fixture = *state;
    struct live_lease *lease = add_as(fixture, fixture->w1, 0, LEASE_UNCONFIRMED);
    add_as(fixture, fixture->w1, 1, LEASE_UNCONFIRMED);
    lease_table_remove(&fixture->leases, lease);
    assert_int_equal(fixture->w1->undelivered, 1);
    assert_held(fixture->w1, "1");
}

static void sent_lease_is_in_the_outbox_for_its_poll(void **state)
{
    struct fixture *fixture = *state;
    struct live_lease *first = add(fixture, 0), *second = add(fixture, 1);
    lease_send(first, fixture->r1, 70);
    lease_send(second, fixture->r1, 71);
    assert_outbox(fixture->r1, "0 1");
    assert_int_equal(first->state, LEASE_DELIVERING);
    assert_ptr_equal(first->replica, fixture->r1);
    assert_int_equal(first->poll, 70);
    assert_int_equal(second->poll, 71);
}

static void unconfirmed_lease_that_is_sent_again_is_delivering(void **state)
{
    struct fixture *fixture = *state;
    struct live_lease *lease = add_as(fixture, fixture->w1, 0, LEASE_UNCONFIRMED);
    lease_send(lease, fixture->r1, 1);
    assert_int_equal(lease->state, LEASE_DELIVERING);
    assert_int_equal(fixture->w1->undelivered, 0);
}

static void lease_is_in_one_outbox_only(void **state)
{
    struct fixture *fixture = *state;
    struct live_lease *lease = add(fixture, 0);
    lease_send(lease, fixture->r1, 1);
    lease_send(add(fixture, 1), fixture->r1, 2);
    lease_send(lease, fixture->r2, 3);
    assert_outbox(fixture->r1, "1");
    assert_outbox(fixture->r2, "0");
    assert_ptr_equal(lease->replica, fixture->r2);
    assert_int_equal(lease->poll, 3);
}

static void lease_sent_twice_to_one_replica_is_in_its_outbox_once(void **state)
{
    struct fixture *fixture = *state;
    struct live_lease *lease = add(fixture, 0);
    lease_send(lease, fixture->r1, 1);
    lease_send(add(fixture, 1), fixture->r1, 2);
    lease_send(lease, fixture->r1, 3);
    assert_outbox(fixture->r1, "1 0");
    assert_int_equal(lease->poll, 3);
}

static void unsent_lease_is_in_no_outbox(void **state)
{
    struct fixture *fixture = *state;
    struct live_lease *lease = add(fixture, 0);
    lease_send(lease, fixture->r1, 1);
    lease_unsend(lease);
    assert_outbox(fixture->r1, "");
    assert_null(lease->replica);
    lease_unsend(lease); /* it is in no outbox */
    assert_outbox(fixture->r1, "");
    assert_held(fixture->w1, "0");
}

static void removed_lease_is_in_no_outbox(void **state)
{
    struct fixture *fixture = *state;
    struct live_lease *lease = add(fixture, 0);
    lease_send(lease, fixture->r1, 1);
    lease_send(add(fixture, 1), fixture->r1, 2);
    lease_table_remove(&fixture->leases, lease);
    assert_outbox(fixture->r1, "1");
}

static void unconfirmed_leases_are_listed_in_order(void **state)
{
    struct fixture *fixture = *state;
    struct live_lease *first = add_as(fixture, fixture->w1, 0, LEASE_DELIVERED);
    struct live_lease *second = add_as(fixture, fixture->w2, 1, LEASE_UNCONFIRMED);
    lease_set_state(first, LEASE_UNCONFIRMED);
    assert_ptr_equal(fixture->leases.unconfirmed, second);
    assert_ptr_equal(second->unconfirmed_next, first);
    lease_set_state(second, LEASE_DELIVERED);
    assert_ptr_equal(fixture->leases.unconfirmed, first);
    lease_table_remove(&fixture->leases, first);
    assert_null(fixture->leases.unconfirmed);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(added_lease_is_found_by_its_job),
        CASE(lease_is_counted_at_its_run_and_its_worker),
        CASE(removed_lease_is_not_counted),
        CASE(job_may_be_leased_again_when_its_lease_is_gone),
        CASE(destroyed_table_leaves_no_worker_with_a_lease),
        CASE(only_an_unconfirmed_lease_is_undelivered),
        CASE(lease_that_stays_unconfirmed_is_counted_once),
        CASE(unconfirmed_leases_are_counted_at_their_own_worker),
        CASE(removed_unconfirmed_lease_is_not_counted),
        CASE(unconfirmed_leases_are_listed_in_order),
        CASE(sent_lease_is_in_the_outbox_for_its_poll),
        CASE(unconfirmed_lease_that_is_sent_again_is_delivering),
        CASE(lease_is_in_one_outbox_only),
        CASE(lease_sent_twice_to_one_replica_is_in_its_outbox_once),
        CASE(unsent_lease_is_in_no_outbox),
        CASE(removed_lease_is_in_no_outbox),
    };
    return cmocka_run_group_tests_name("lease_table", tests, NULL, NULL);
}
