#include "api/grading/under_way.h"

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

static void nothing_under_way_is_not_waited_for(void **state)
{
    (void)state;
    struct under_way *under_way = under_way_new();
    int64_t ticket = under_way_begin(under_way), begun_ms = clock_boot_ms();
    under_way_end(under_way, ticket);
    under_way_wait(under_way, 5000);
    assert_true(clock_boot_ms() - begun_ms < 2000);
    under_way_free(under_way);
}

static void what_does_not_end_is_waited_for_only_so_long(void **state)
{
    (void)state;
    struct under_way *under_way = under_way_new();
    int64_t begun_ms = clock_boot_ms();
    under_way_begin(under_way);
    under_way_wait(under_way, 100);
    assert_true(clock_boot_ms() - begun_ms >= 100);
    under_way_free(under_way);
}

struct racer {
    struct under_way *under_way;
    int64_t ticket;
    atomic_bool is_waiting;
};

static void *end_later(void *context)
{
    struct racer *racer = context;
    const struct timespec pause = {.tv_nsec = 100000000};
    while (!atomic_load(&racer->is_waiting))
        sched_yield();
    nanosleep(&pause, NULL);           /* a wait can't be seen from outside */
    under_way_begin(racer->under_way); /* begun after the wait: not its business */
    under_way_end(racer->under_way, racer->ticket);
    return NULL;
}

static void wait_ends_with_what_had_begun_before_it_whatever_begins_meanwhile(void **state)
{
    (void)state;
    struct racer racer = {.under_way = under_way_new()};
    pthread_t thread;
    racer.ticket = under_way_begin(racer.under_way);
    int64_t begun_ms = clock_boot_ms();
    assert_int_equal(pthread_create(&thread, NULL, end_later, &racer), 0);
    atomic_store(&racer.is_waiting, true);
    under_way_wait(racer.under_way, 10000);
    pthread_join(thread, NULL);
    assert_true(clock_boot_ms() - begun_ms < 9000);
    under_way_free(racer.under_way);
}

static void extras_go_along_once(void **state)
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
        cmocka_unit_test(nothing_under_way_is_not_waited_for),
        cmocka_unit_test(what_does_not_end_is_waited_for_only_so_long),
        cmocka_unit_test(wait_ends_with_what_had_begun_before_it_whatever_begins_meanwhile),
        cmocka_unit_test(extras_go_along_once),
        cmocka_unit_test(extras_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
