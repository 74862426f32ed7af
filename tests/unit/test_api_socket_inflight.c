#include "api/grading/socket_inflight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "api/uplink/extras.h"
#include "common/base/clock.h"

static void without_anything_inflight_there_is_no_wait(void **state)
{
    (void)state;
    struct socket_inflight *inflight = socket_inflight_new();
    int64_t token = socket_inflight_begin(inflight), begun_ms = clock_boot_ms();
    socket_inflight_end(inflight, token);
    socket_inflight_wait(inflight, 5000);
    assert_true(clock_boot_ms() - begun_ms < 2000);
    socket_inflight_free(inflight);
}

static void wait_is_bounded(void **state)
{
    (void)state;
    struct socket_inflight *inflight = socket_inflight_new();
    int64_t begun_ms = clock_boot_ms();
    socket_inflight_begin(inflight);
    socket_inflight_wait(inflight, 100);
    assert_true(clock_boot_ms() - begun_ms >= 100);
    socket_inflight_free(inflight);
}

struct racer {
    struct socket_inflight *inflight;
    int64_t token;
    atomic_bool is_waiting;
};

static void *end_later(void *context)
{
    struct racer *racer = context;
    const struct timespec pause = {.tv_nsec = 100000000};
    while (!atomic_load(&racer->is_waiting))
        sched_yield();
    nanosleep(&pause, NULL); /* the other thread's wait can't be observed from here */
    socket_inflight_begin(
        racer->inflight); /* begun after the wait began: it must not be waited for */
    socket_inflight_end(racer->inflight, racer->token);
    return NULL;
}

static void wait_covers_only_results_that_began_before_it(void **state)
{
    (void)state;
    struct racer racer = {.inflight = socket_inflight_new()};
    pthread_t thread;
    racer.token = socket_inflight_begin(racer.inflight);
    int64_t begun_ms = clock_boot_ms();
    assert_int_equal(pthread_create(&thread, NULL, end_later, &racer), 0);
    atomic_store(&racer.is_waiting, true);
    socket_inflight_wait(racer.inflight, 10000);
    pthread_join(thread, NULL);
    assert_true(clock_boot_ms() - begun_ms < 9000);
    socket_inflight_free(racer.inflight);
}

static void extras_are_sent_once(void **state)
{
    (void)state;
    struct extras extras = {0};
    struct signal signal = {.number = 1}, again = {.number = 2};
    extras_query(&extras, &(struct signal_query){.number = 7, .kind = QUERY_WORKERS});
    assert_true(extras_watch(&extras, &(struct signal_watch){.number = 8, .last = -1}));
    assert_true(extras_unwatch(&extras, 9));
    assert_true(extras_has_any(&extras));
    extras_cut(&extras, &signal);
    assert_false(extras_has_any(&extras));
    assert_int_equal(signal.query_count + signal.watch_count + signal.unwatched_count, 3);
    assert_int_equal(signal.queries[0].number, 7);
    assert_int_equal(signal.watches[0].number, 8);
    assert_int_equal(signal.unwatched[0], 9);
    extras_cut(&extras, &again);
    assert_int_equal(again.query_count + again.watch_count + again.unwatched_count, 0);
    signal_clear(&signal);
    signal_clear(&again);
}

static void extras_are_bounded(void **state)
{
    (void)state;
    struct extras extras = {0};
    for (int i = 0; i < 20000; i++)
        assert_true(extras_watch(&extras, &(struct signal_watch){.number = i}));
    assert_false(extras_watch(&extras, &(struct signal_watch){.number = 0}));
    extras_clear(&extras);
    assert_true(extras_watch(&extras, &(struct signal_watch){.number = 0}));
    extras_clear(&extras);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_anything_inflight_there_is_no_wait),
        cmocka_unit_test(wait_is_bounded),
        cmocka_unit_test(wait_covers_only_results_that_began_before_it),
        cmocka_unit_test(extras_are_sent_once),
        cmocka_unit_test(extras_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
