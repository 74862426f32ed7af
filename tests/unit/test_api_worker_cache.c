#include "api/grading/worker_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <string.h>
#include <time.h>

#define KNOWN "00000000000000000000000000000001"
#define STRANGER "00000000000000000000000000000002"

static struct {
    unsigned reads;
    bool is_unavailable;
} fake_store;

static enum bw_code fake_read(struct worker_store *store, const char *id, struct worker *worker,
                              struct bw_error *error)
{
    (void)store;
    (void)worker;
    fake_store.reads++;
    if (fake_store.is_unavailable)
        return bw_fail(error, BW_UNAVAILABLE, "away");
    return strcmp(id, KNOWN) == 0 ? BW_OK : bw_fail(error, BW_NOT_FOUND, "none");
}

static struct worker_cache *cache_new(int64_t keep_ms)
{
    memset(&fake_store, 0, sizeof fake_store);
    return worker_cache_new(&(struct worker_cache_settings){.keep_ms = keep_ms, .read = fake_read});
}

static void known_worker_is_read_once(void **state)
{
    (void)state;
    struct bw_error error;
    struct worker_cache *cache = cache_new(0);
    assert_false(worker_cache_has(cache, KNOWN));
    assert_int_equal(worker_cache_check(cache, KNOWN, &error), BW_OK);
    assert_int_equal(worker_cache_check(cache, KNOWN, &error), BW_OK);
    assert_true(worker_cache_has(cache, KNOWN));
    assert_int_equal(fake_store.reads, 1);
    worker_cache_free(cache);
}

static void registered_worker_is_not_read(void **state)
{
    (void)state;
    struct bw_error error;
    struct worker_cache *cache = cache_new(0);
    worker_cache_add(cache, STRANGER);
    worker_cache_add(cache, STRANGER);
    assert_int_equal(worker_cache_check(cache, STRANGER, &error), BW_OK);
    assert_int_equal(fake_store.reads, 0);
    assert_true(worker_cache_has(cache, STRANGER));
    worker_cache_free(cache);
}

static void unknown_worker_is_refused_by_name(void **state)
{
    (void)state;
    struct bw_error error;
    struct worker_cache *cache = cache_new(0);
    assert_int_equal(worker_cache_check(cache, STRANGER, &error), BW_BAD_REQUEST);
    assert_string_equal(error.message, "worker '" STRANGER "' is not known: register first");
    assert_int_equal(worker_cache_check(cache, "no\nid", &error), BW_BAD_REQUEST);
    assert_null(strchr(error.message, '\n'));
    assert_int_equal(worker_cache_check(cache, "", &error), BW_BAD_REQUEST);
    assert_int_equal(fake_store.reads, 1); /* an invalid id is not read */
    worker_cache_free(cache);
}

static void text_of_another_form_costs_a_read_only_where_graders_choose_their_ids(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PROTOCOLS; i++) {
        struct bw_error error;
        memset(&fake_store, 0, sizeof fake_store);
        struct worker_cache *cache = worker_cache_new(
            &(struct worker_cache_settings){.protocol = (enum protocol)i, .read = fake_read});
        assert_int_equal(worker_cache_check(cache, "grader-1", &error), BW_BAD_REQUEST);
        assert_int_equal(fake_store.reads, i == PROTOCOL_COURSE);
        worker_cache_free(cache);
    }
}

static void absent_database_is_not_an_unknown_worker(void **state)
{
    (void)state;
    struct bw_error error;
    struct worker_cache *cache = cache_new(0);
    fake_store.is_unavailable = true;
    assert_int_equal(worker_cache_check(cache, KNOWN, &error), BW_UNAVAILABLE);
    worker_cache_add(cache, KNOWN);
    assert_int_equal(worker_cache_check(cache, KNOWN, &error), BW_OK);
    worker_cache_free(cache);
}

static void unused_worker_is_forgotten(void **state)
{
    (void)state;
    struct bw_error error;
    struct worker_cache *cache = cache_new(20);
    worker_cache_add(cache, KNOWN);
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
    assert_false(worker_cache_has(cache, KNOWN));
    worker_cache_add(cache, STRANGER); /* removes unused entries */
    assert_true(worker_cache_has(cache, STRANGER));
    assert_int_equal(worker_cache_check(cache, KNOWN, &error), BW_OK);
    assert_int_equal(fake_store.reads, 1);
    worker_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_worker_is_read_once),
        cmocka_unit_test(registered_worker_is_not_read),
        cmocka_unit_test(unknown_worker_is_refused_by_name),
        cmocka_unit_test(text_of_another_form_costs_a_read_only_where_graders_choose_their_ids),
        cmocka_unit_test(absent_database_is_not_an_unknown_worker),
        cmocka_unit_test(unused_worker_is_forgotten),
    };
    return cmocka_run_group_tests_name("worker_cache", tests, NULL, NULL);
}
