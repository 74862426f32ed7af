#include "common/store/worker_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdlib.h>

#include "fake_database.h"

static int open_store(void **state)
{
    struct bw_error error;
    memset(&fake, 0, sizeof fake);
    return worker_store_open(NULL, (struct worker_store **)state, &error) == BW_OK ? 0 : -1;
}

static int close_store(void **state)
{
    worker_store_close(*state);
    return 0;
}

/* With an $or a server may not use the index of _id, and would read all workers for each mark. */
static void mark_filter_has_the_id_and_all_conditions_beside_it(void **state)
{
    struct bw_error error;
    const struct worker_mark marks[] = {
        {.id = "w1", .term = 3, .epoch = 2, .is_alive = true},
        {.id = "w2", .term = 3, .epoch = 1, .jobs_processed = 7, .last_seen_ms = 5},
    };
    assert_int_equal(worker_store_mark(*state, marks, 2, &error), BW_OK);
    assert_int_equal(fake.sent, 2);
    assert_string_equal(fake.filter, "{ \"_id\" : \"w2\", \"epoch\" : 1, "
                                     "\"term\" : { \"$not\" : { \"$gt\" : 3 } } }");
    assert_non_null(strstr(fake.update, "\"alive\" : false"));
    assert_non_null(strstr(fake.update, "\"jobs_processed\" : 7"));
    assert_null(strstr(fake.update, "beats_at_work"));
}

/* The same fault again matches no document, so nothing is written. */
static void fault_is_written_only_if_it_differs_from_the_stored_one(void **state)
{
    struct bw_error error;
    assert_int_equal(worker_store_note_fault(*state, "w1", 0, "disk: full", &error), BW_OK);
    assert_string_equal(fake.filter,
                        "{ \"_id\" : \"w1\", \"fault\" : { \"$ne\" : \"disk: full\" } }");
    assert_string_equal(fake.update, "{ \"$set\" : { \"fault\" : \"disk: full\" } }");
    assert_int_equal(worker_store_note_fault(*state, "w1", 2, "", &error), BW_OK);
    assert_string_equal(fake.filter,
                        "{ \"_id\" : \"w1\", \"epoch\" : 2, \"fault\" : { \"$ne\" : \"\" } }");
    fake.is_failing = true;
    assert_int_equal(worker_store_note_fault(*state, "w1", 2, "", &error), BW_UNAVAILABLE);
}

static enum bw_code renew(struct worker_store *store, int64_t nonce, bool *done)
{
    struct bw_error error;
    struct worker worker = {.id = "w1", .hostname = "host"};
    enum bw_code code = worker_store_renew(store, &worker, 4, nonce, done, &error);
    assert_int_equal(worker.epoch, 5);
    return code;
}

/* Waiting for the next try must not block a thread. */
static void failed_renewal_is_not_tried_again_by_the_store(void **state)
{
    bool done;
    fake.is_failing = true;
    assert_int_equal(renew(*state, 77, &done), BW_UNAVAILABLE);
    assert_int_equal(fake.sent, 1);
    assert_string_equal(fake.filter, "{ \"_id\" : \"w1\", \"epoch\" : 4 }");
    assert_non_null(strstr(fake.update, "\"epoch_nonce\" : 77"));
}

/* The reply to the first try was lost: the second try does not match, and recognises the first by
 * its nonce. */
static void renewal_whose_answer_was_lost_is_recognised_by_its_nonce(void **state)
{
    bool done = false;
    bson_t *stored = BCON_NEW("_id", "w1", "epoch", BCON_INT64(5), "epoch_nonce", BCON_INT64(77));
    fake.is_unmatched = true;
    fake.found = stored;
    assert_int_equal(renew(*state, 77, &done), BW_OK);
    assert_true(done);
    assert_int_equal(renew(*state, 78, &done), BW_OK);
    assert_false(done); /* another registration's */
    bson_destroy(stored);
}

static bool sends_heartbeats(const char *hostname, int concurrency, int recorded)
{
    struct worker worker;
    bson_t document = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&document, "_id", "w1");
    BSON_APPEND_UTF8(&document, "hostname", hostname);
    BSON_APPEND_INT32(&document, "concurrency", concurrency);
    if (recorded >= 0)
        BSON_APPEND_BOOL(&document, "sends_heartbeats", recorded);
    assert_true(worker_from_document(&document, &worker));
    bson_destroy(&document);
    return worker.sends_heartbeats;
}

static void sends_heartbeats_is_read_back(void **state)
{
    (void)state;
    assert_true(sends_heartbeats("", 0, 1));
    assert_false(sends_heartbeats("", 0, 0));
}

static void worker_of_an_earlier_version_sends_heartbeats_if_it_stated_something(void **state)
{
    (void)state;
    assert_true(sends_heartbeats("lab-7", 0, -1));
    assert_true(sends_heartbeats("", 2, -1));
    assert_false(sends_heartbeats("", 0, -1));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(fault_is_written_only_if_it_differs_from_the_stored_one),
        CASE(mark_filter_has_the_id_and_all_conditions_beside_it),
        CASE(failed_renewal_is_not_tried_again_by_the_store),
        CASE(renewal_whose_answer_was_lost_is_recognised_by_its_nonce),
        CASE(sends_heartbeats_is_read_back),
        CASE(worker_of_an_earlier_version_sends_heartbeats_if_it_stated_something),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
