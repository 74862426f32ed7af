#include "api/grading/definition_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/store/definition_store.h"
#include "common/store/run_store.h"

#define RUN "6b05c5d2164163397800c81b"
#define TEXT "{\"students\":[{}],\"student_pipeline\":[]}"

enum { WAIT_MS = 20000 };

static atomic_int reads, waiting;
static atomic_bool is_read_held, is_unavailable;

/* ---- Fakes of the stores and of the cache's wait: tests/unit/CMakeLists.txt ---- */

enum bw_code __wrap_run_store_read_definition(struct run_store *store, const char *run_id,
                                              char **text, size_t *length, struct bw_error *error);
enum bw_code __wrap_definition_store_read(struct definition_store *store, const char *run_id,
                                          char **text, size_t *length, struct bw_error *error);
int __real_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);
int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex);

enum bw_code __wrap_run_store_read_definition(struct run_store *store, const char *run_id,
                                              char **text, size_t *length, struct bw_error *error)
{
    (void)store, (void)text, (void)length;
    return bw_fail(error, BW_NOT_FOUND, "'%s' is long", run_id);
}

static bool wait_for(const atomic_int *count, int wanted)
{
    int64_t until_ms = clock_boot_ms() + WAIT_MS;
    while (atomic_load(count) < wanted && clock_boot_ms() < until_ms)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return atomic_load(count) >= wanted;
}

/* The first read lasts until another reader waits for it. */
enum bw_code __wrap_definition_store_read(struct definition_store *store, const char *run_id,
                                          char **text, size_t *length, struct bw_error *error)
{
    (void)store, (void)run_id;
    if (atomic_fetch_add(&reads, 1) == 0 && atomic_load(&is_read_held))
        assert_true(wait_for(&waiting, 1));
    if (atomic_load(&is_unavailable))
        return bw_fail(error, BW_UNAVAILABLE, "away");
    *length = strlen(TEXT);
    *text = bw_copy(TEXT);
    return BW_OK;
}

int __wrap_pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    atomic_fetch_add(&waiting, 1);
    return __real_pthread_cond_wait(condition, mutex);
}

/* ---- Readers ---- */

struct reader {
    struct definition_cache *cache;
    const struct json_limits *limits;
    enum bw_code code;
};

static enum bw_code no_room(void *context, size_t bytes, struct bw_error *error)
{
    (void)context, (void)bytes;
    return bw_fail(error, BW_UNAVAILABLE, "no room");
}

static const struct json_limits refusing = {.count = SIZE_MAX, .take = no_room};

static void *reader_run(void *context)
{
    struct reader *reader = context;
    struct definition *definition;
    struct bw_error error;
    reader->code = definition_cache_get_within(reader->cache, RUN, reader->limits, &definition,
                                               &error);
    if (reader->code == BW_OK)
        definition_release(definition);
    return NULL;
}

/* One reader reads, and is refused by `limits` (NULL: succeeds), while another waits for the same
 * definition. */
static void read_by_two(struct definition_cache *cache, const struct json_limits *limits,
                        struct reader *first, struct reader *second)
{
    pthread_t threads[2];
    *first = (struct reader){.cache = cache, .limits = limits};
    *second = (struct reader){.cache = cache};
    atomic_store(&is_read_held, true);
    assert_int_equal(pthread_create(&threads[0], NULL, reader_run, first), 0);
    assert_true(wait_for(&reads, 1));
    assert_int_equal(pthread_create(&threads[1], NULL, reader_run, second), 0);
    pthread_join(threads[0], NULL);
    pthread_join(threads[1], NULL);
}

static int setup(void **state)
{
    atomic_store(&reads, 0);
    atomic_store(&waiting, 0);
    atomic_store(&is_read_held, false);
    atomic_store(&is_unavailable, false);
    *state = definition_cache_new(NULL, NULL, 1024 * 1024);
    return 0;
}

static int teardown(void **state)
{
    definition_cache_free(*state);
    return 0;
}

/* ---- Tests ---- */

static void concurrent_readers_read_a_definition_once(void **state)
{
    struct reader first, second;
    read_by_two(*state, NULL, &first, &second);
    assert_int_equal(first.code, BW_OK);
    assert_int_equal(second.code, BW_OK);
    assert_int_equal(atomic_load(&reads), 1);
}

static void refusal_by_one_readers_limits_does_not_refuse_the_other(void **state)
{
    struct reader first, second;
    read_by_two(*state, &refusing, &first, &second);
    assert_int_equal(first.code, BW_UNAVAILABLE);
    assert_int_equal(second.code, BW_OK);
    assert_int_equal(atomic_load(&reads), 2);
    reader_run(&first); /* from memory: the limits are not used */
    assert_int_equal(first.code, BW_OK);
}

static void unavailable_database_is_read_once_for_all_waiting_readers(void **state)
{
    struct reader first, second;
    atomic_store(&is_unavailable, true);
    read_by_two(*state, NULL, &first, &second);
    assert_int_equal(first.code, BW_UNAVAILABLE);
    assert_int_equal(second.code, BW_UNAVAILABLE);
    assert_int_equal(atomic_load(&reads), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(concurrent_readers_read_a_definition_once, setup, teardown),
        cmocka_unit_test_setup_teardown(refusal_by_one_readers_limits_does_not_refuse_the_other,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(unavailable_database_is_read_once_for_all_waiting_readers,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
