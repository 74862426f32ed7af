#include "scheduler/io/inbox.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"

enum {
    FULL = 100000, /* how many events make bounded posts wait */
    LONG_MS = 20000
};

static int setup(void **state)
{
    *state = inbox_new();
    return 0;
}

/* Frees a chain of events and returns its length. */
static size_t free_events(struct event *events)
{
    size_t count = 0;
    while (events != NULL) {
        struct event *event = events;
        events = event->next;
        free(event);
        count++;
    }
    return count;
}

static int teardown(void **state)
{
    free_events(inbox_take(*state, 0));
    inbox_free(*state);
    return 0;
}

static struct event *numbered(int64_t number)
{
    return event_new(EVENT_MARK, number);
}

static void post(struct inbox *inbox, int64_t number)
{
    inbox_post(inbox, numbered(number));
}

/* Fills the inbox beyond the bound, without waiting. */
static void fill(struct inbox *inbox)
{
    for (int64_t i = 0; i < FULL; i++)
        post(inbox, i);
}

/* Checks that the chain has `count` events, numbered from `first`, and frees it. */
static void assert_numbers(struct event *events, int64_t first, size_t count)
{
    for (struct event *event = events; event != NULL; event = event->next)
        assert_int_equal(event->generation, first++);
    assert_int_equal(free_events(events), count);
}

static void new_event_is_empty(void **state)
{
    (void)state;
    struct event *event = event_new(EVENT_SIGNAL, 42);
    static const struct signal empty;
    assert_int_equal(event->kind, EVENT_SIGNAL);
    assert_int_equal(event->generation, 42);
    assert_memory_equal(&event->signal, &empty, sizeof empty);
    assert_null(event->next);
    free(event);
}

static void events_keep_their_order(void **state)
{
    struct inbox *inbox = *state;
    post(inbox, 1);
    assert_true(inbox_post_bounded(inbox, numbered(2)));
    post(inbox, 3);
    assert_numbers(inbox_take(inbox, 0), 1, 3);
}

static void taken_events_are_removed(void **state)
{
    struct inbox *inbox = *state;
    post(inbox, 1);
    assert_numbers(inbox_take(inbox, 0), 1, 1);
    assert_null(inbox_take(inbox, 0));
    post(inbox, 2);
    assert_numbers(inbox_take(inbox, 0), 2, 1);
}

static void event_is_posted_without_its_former_chain(void **state)
{
    struct inbox *inbox = *state;
    struct event *chain = numbered(1);
    chain->next = numbered(9);
    struct event *rest = chain->next;
    inbox_post(inbox, chain);
    assert_numbers(inbox_take(inbox, 0), 1, 1);
    free(rest);
}

static void taking_from_an_empty_inbox_times_out(void **state)
{
    int64_t begun_ms = clock_boot_ms();
    assert_null(inbox_take(*state, begun_ms + 60));
    assert_true(clock_boot_ms() - begun_ms >= 59); /* the two clocks round differently */
    assert_true(clock_boot_ms() - begun_ms < LONG_MS);
}

static void taking_does_not_wait_when_its_time_is_past(void **state)
{
    int64_t begun_ms = clock_boot_ms();
    assert_null(inbox_take(*state, begun_ms - LONG_MS));
    assert_true(clock_boot_ms() - begun_ms < LONG_MS / 2);
}

static void taking_returns_the_available_events_at_once(void **state)
{
    int64_t begun_ms = clock_boot_ms();
    post(*state, 1);
    assert_numbers(inbox_take(*state, begun_ms + LONG_MS), 1, 1);
    assert_true(clock_boot_ms() - begun_ms < LONG_MS);
}

/* One thread's post. */
struct poster {
    struct inbox *inbox;
    struct event *event;
    atomic_bool has_begun, is_done;
    bool was_taken;
    pthread_t thread;
};

static void *post_plainly(void *context)
{
    struct poster *poster = context;
    inbox_post(poster->inbox, poster->event);
    return NULL;
}

static void *post_bounded(void *context)
{
    struct poster *poster = context;
    atomic_store(&poster->has_begun, true);
    poster->was_taken = inbox_post_bounded(poster->inbox, poster->event);
    atomic_store(&poster->is_done, true);
    return NULL;
}

static void begin(struct poster *poster, void *(*function)(void *))
{
    assert_int_equal(pthread_create(&poster->thread, NULL, function, poster), 0);
}

/* Checks that the post has not returned after a pause in which it could have. */
static void assert_waits(struct poster *poster)
{
    while (!atomic_load(&poster->has_begun))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    assert_false(atomic_load(&poster->is_done));
}

static void post_wakes_the_taker(void **state)
{
    struct poster poster = {.inbox = *state, .event = numbered(1)};
    int64_t begun_ms = clock_boot_ms();
    begin(&poster, post_plainly);
    struct event *events = inbox_take(*state, begun_ms + LONG_MS);
    pthread_join(poster.thread, NULL);
    assert_numbers(events, 1, 1);
    assert_true(clock_boot_ms() - begun_ms < LONG_MS);
}

static void returned_events_come_before_all_others(void **state)
{
    struct inbox *inbox = *state;
    for (int64_t i = 1; i <= 3; i++)
        post(inbox, i);
    struct event *events = inbox_take(inbox, 0);
    post(inbox, 4);
    inbox_return(inbox, events);
    post(inbox, 5);
    assert_numbers(inbox_take(inbox, 0), 1, 5);
}

static void events_follow_those_that_were_returned_into_an_empty_inbox(void **state)
{
    struct inbox *inbox = *state;
    post(inbox, 1);
    post(inbox, 2);
    inbox_return(inbox, inbox_take(inbox, 0));
    post(inbox, 3);
    assert_numbers(inbox_take(inbox, 0), 1, 3);
}

static void returning_nothing_changes_nothing(void **state)
{
    struct inbox *inbox = *state;
    inbox_return(inbox, NULL);
    post(inbox, 1);
    inbox_return(inbox, NULL);
    post(inbox, 2);
    assert_numbers(inbox_take(inbox, 0), 1, 2);
}

static void bounded_post_waits_until_a_full_inbox_is_taken(void **state)
{
    struct inbox *inbox = *state;
    struct poster poster = {.inbox = inbox, .event = numbered(1)};
    for (int64_t i = 0; i < FULL; i++)
        assert_true(inbox_post_bounded(inbox, numbered(i)));
    begin(&poster, post_bounded);
    assert_waits(&poster);
    assert_numbers(inbox_take(inbox, 0), 0, FULL);
    pthread_join(poster.thread, NULL);
    assert_true(poster.was_taken);
    assert_numbers(inbox_take(inbox, 0), 1, 1);
}

static void unbounded_posts_never_wait(void **state)
{
    fill(*state);
    post(*state, FULL);
    assert_numbers(inbox_take(*state, 0), 0, FULL + 1);
}

static void returned_events_make_the_inbox_full_again(void **state)
{
    struct inbox *inbox = *state;
    struct poster poster = {.inbox = inbox, .event = numbered(FULL)};
    fill(inbox);
    inbox_return(inbox, inbox_take(inbox, 0));
    begin(&poster, post_bounded);
    assert_waits(&poster);
    struct event *events = inbox_take(inbox, 0);
    pthread_join(poster.thread, NULL);
    assert_numbers(events, 0, FULL);
    assert_numbers(inbox_take(inbox, 0), FULL, 1);
}

static void refusal_ends_the_waiting_of_a_bounded_post(void **state)
{
    struct inbox *inbox = *state;
    struct poster poster = {.inbox = inbox, .event = numbered(9)};
    fill(inbox);
    begin(&poster, post_bounded);
    assert_waits(&poster);
    inbox_refuse(inbox, true);
    pthread_join(poster.thread, NULL);
    assert_false(poster.was_taken);
    assert_numbers(inbox_take(inbox, 0), 0, FULL);
    free(poster.event); /* still owned by its caller */
}

static void refused_event_is_still_owned_by_the_caller(void **state)
{
    struct inbox *inbox = *state;
    struct event *event = numbered(1);
    inbox_refuse(inbox, true);
    assert_false(inbox_post_bounded(inbox, event));
    assert_null(inbox_take(inbox, 0));
    free(event);
}

static void only_bounded_posts_are_refused(void **state)
{
    struct inbox *inbox = *state;
    inbox_refuse(inbox, true);
    post(inbox, 1);
    assert_numbers(inbox_take(inbox, 0), 1, 1);
}

static void bounded_posts_are_accepted_again_after_a_refusal(void **state)
{
    struct inbox *inbox = *state;
    inbox_refuse(inbox, true);
    inbox_refuse(inbox, false);
    assert_true(inbox_post_bounded(inbox, numbered(1)));
    assert_numbers(inbox_take(inbox, 0), 1, 1);
}

enum { POSTERS = 4, EACH = 50000 }; /* twice as many as fit at once */

struct crowd {
    struct inbox *inbox;
    int64_t poster;
};

/* Half of the posters wait while the inbox is full. */
static void *post_many(void *context)
{
    const struct crowd *crowd = context;
    for (int64_t i = 0; i < EACH; i++) {
        struct event *event = event_new(EVENT_MARK, crowd->poster);
        event->mark = i;
        if (crowd->poster % 2 == 0)
            inbox_post(crowd->inbox, event);
        else if (!inbox_post_bounded(crowd->inbox, event))
            abort();
    }
    return NULL;
}

static void concurrent_events_arrive_once_and_in_their_posters_order(void **state)
{
    struct crowd crowds[POSTERS];
    pthread_t threads[POSTERS];
    int64_t seen[POSTERS] = {0};
    size_t count = 0;
    for (int64_t i = 0; i < POSTERS; i++) {
        crowds[i] = (struct crowd){*state, i};
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &crowds[i]), 0);
    }
    while (count < POSTERS * EACH) {
        struct event *events = inbox_take(*state, clock_boot_ms() + LONG_MS);
        assert_non_null(events);
        for (const struct event *event = events; event != NULL; event = event->next)
            assert_int_equal(event->mark, seen[event->generation]++);
        count += free_events(events);
    }
    for (size_t i = 0; i < POSTERS; i++)
        pthread_join(threads[i], NULL);
    assert_null(inbox_take(*state, 0));
}

static void freeing_null_is_allowed(void **state)
{
    (void)state;
    inbox_free(NULL);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(new_event_is_empty),
        CASE(events_keep_their_order),
        CASE(taken_events_are_removed),
        CASE(event_is_posted_without_its_former_chain),
        CASE(taking_from_an_empty_inbox_times_out),
        CASE(taking_does_not_wait_when_its_time_is_past),
        CASE(taking_returns_the_available_events_at_once),
        CASE(post_wakes_the_taker),
        CASE(returned_events_come_before_all_others),
        CASE(events_follow_those_that_were_returned_into_an_empty_inbox),
        CASE(returning_nothing_changes_nothing),
        CASE(bounded_post_waits_until_a_full_inbox_is_taken),
        CASE(unbounded_posts_never_wait),
        CASE(returned_events_make_the_inbox_full_again),
        CASE(refusal_ends_the_waiting_of_a_bounded_post),
        CASE(refused_event_is_still_owned_by_the_caller),
        CASE(only_bounded_posts_are_refused),
        CASE(bounded_posts_are_accepted_again_after_a_refusal),
        CASE(concurrent_events_arrive_once_and_in_their_posters_order),
        cmocka_unit_test(freeing_null_is_allowed),
    };
    return cmocka_run_group_tests_name("inbox", tests, NULL, NULL);
}
