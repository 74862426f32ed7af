#include "api/grading/worker_lookup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "api/http/thread_pool.h"

enum { STRANGERS = 200, ASKED = STRANGERS + 1, THREADS = 4 };

#define KNOWN "ffffffffffffffffffffffffffffffff"
#define OTHER "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee"

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_shut, is_unavailable; /* reads block; reads fail */
    int reads, reading, together;
    size_t most;
    int found, unknown, unavailable;
    char sentence[BW_ERROR_SIZE];
} fake = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct thread_pool *thread_pool;
static struct worker_cache *cache;
static struct worker_lookup *lookup;

static enum bw_code fake_find(struct worker_store *store, const char *const *ids, size_t count,
                              void (*each)(const struct worker *worker, void *context),
                              void *context, struct bw_error *error)
{
    (void)store;
    pthread_mutex_lock(&fake.mutex);
    fake.reads++;
    fake.together = fake.together > ++fake.reading ? fake.together : fake.reading;
    fake.most = count > fake.most ? count : fake.most;
    pthread_cond_broadcast(&fake.changed);
    while (fake.is_shut)
        pthread_cond_wait(&fake.changed, &fake.mutex);
    fake.reading--;
    bool is_unavailable = fake.is_unavailable;
    pthread_mutex_unlock(&fake.mutex);
    if (is_unavailable)
        return bw_fail(error, BW_UNAVAILABLE, "away");
    for (size_t i = 0; i < count; i++) {
        struct worker worker = {.protocol = PROTOCOL_CLASSIC};
        snprintf(worker.id, sizeof worker.id, "%s", ids[i]);
        if (strcmp(ids[i], OTHER) == 0)
            worker.protocol = PROTOCOL_COURSE;
        if (strcmp(ids[i], KNOWN) == 0 || strcmp(ids[i], OTHER) == 0)
            each(&worker, context);
    }
    return BW_OK;
}

static void completed(void *context, enum bw_code code, const struct bw_error *error)
{
    (void)context;
    pthread_mutex_lock(&fake.mutex);
    fake.found += code == BW_OK;
    fake.unknown += code == BW_BAD_REQUEST;
    fake.unavailable += code == BW_UNAVAILABLE;
    if (code != BW_OK)
        snprintf(fake.sentence, sizeof fake.sentence, "%s", error->message);
    pthread_cond_broadcast(&fake.changed);
    pthread_mutex_unlock(&fake.mutex);
}

static int start(void **state)
{
    (void)state;
    struct bw_error error;
    fake.is_shut = true;
    fake.is_unavailable = false;
    fake.reads = fake.reading = fake.together = 0;
    fake.found = fake.unknown = fake.unavailable = 0;
    fake.most = 0;
    if (thread_pool_open(THREADS, &thread_pool, &error) != BW_OK)
        return -1;
    cache = worker_cache_new(&(struct worker_cache_settings){.store = NULL});
    lookup = worker_lookup_new(&(struct worker_lookup_settings){
        .thread_pool = &thread_pool, .cache = cache, .find = fake_find});
    return 0;
}

static int stop(void **state)
{
    (void)state;
    thread_pool_close(thread_pool);
    worker_lookup_free(lookup);
    worker_cache_free(cache);
    return 0;
}

/* Starts a first read, and requests all other workers while it is in flight. */
static void ask_strangers_and(const char *last)
{
    char id[WORKER_ID_SIZE];
    for (int i = 0; i < STRANGERS; i++) {
        snprintf(id, sizeof id, "%032x", (unsigned)i);
        worker_lookup_ask(lookup, id, completed, NULL);
    }
    worker_lookup_ask(lookup, last, completed, NULL);
}

static void let_all_complete(void)
{
    pthread_mutex_lock(&fake.mutex);
    while (fake.reading == 0)
        pthread_cond_wait(&fake.changed, &fake.mutex);
    fake.is_shut = false;
    pthread_cond_broadcast(&fake.changed);
    while (fake.found + fake.unknown + fake.unavailable < ASKED)
        pthread_cond_wait(&fake.changed, &fake.mutex);
    pthread_mutex_unlock(&fake.mutex);
}

static void lookups_are_batched_into_one_read_at_a_time_and_none_is_refused(void **state)
{
    (void)state;
    ask_strangers_and(KNOWN);
    let_all_complete();
    assert_int_equal(fake.found, 1);
    assert_int_equal(fake.unknown, STRANGERS);
    assert_non_null(strstr(fake.sentence, "is not known: register first"));
    assert_int_equal(fake.together, 1);
    assert_in_range(fake.most, 2, WORKER_LOOKUP_BATCH);
    assert_in_range(fake.reads, 1, 2 + ASKED / WORKER_LOOKUP_BATCH);
    assert_true(worker_cache_has(cache, KNOWN));
    assert_false(worker_cache_has(cache, "00000000000000000000000000000000"));
}

static void worker_of_the_other_protocol_is_not_known(void **state)
{
    (void)state;
    ask_strangers_and(OTHER);
    let_all_complete();
    assert_int_equal(fake.unknown, ASKED);
    assert_false(worker_cache_has(cache, OTHER));
}

static void failed_read_completes_all_waiting_lookups(void **state)
{
    (void)state;
    fake.is_unavailable = true;
    ask_strangers_and(KNOWN);
    let_all_complete();
    assert_int_equal(fake.unavailable, ASKED);
    assert_int_equal(fake.reads, 1);
    fake.is_unavailable = false;
    worker_lookup_ask(lookup, KNOWN, completed, NULL);
    pthread_mutex_lock(&fake.mutex);
    while (fake.found == 0)
        pthread_cond_wait(&fake.changed, &fake.mutex);
    pthread_mutex_unlock(&fake.mutex);
    worker_lookup_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            lookups_are_batched_into_one_read_at_a_time_and_none_is_refused, start, stop),
        cmocka_unit_test_setup_teardown(worker_of_the_other_protocol_is_not_known, start, stop),
        cmocka_unit_test_setup_teardown(failed_read_completes_all_waiting_lookups, start, stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
