/* What a full queue of a webhook takes. The stores are replaced. */
#include "scheduler/io/webhook_recording.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/metrics.h"
#include "scheduler/metrics.h"

enum { EVENTS = 5 };

/* The queue, and what is inserted into it. */
static struct {
    size_t pending, present; /* of the events, the first `present` exist */
    enum bw_code count_code, present_code;
    char inserted[EVENTS][WEBHOOK_EVENT_ID_SIZE];
    size_t count;
} queue;

typedef void webhook_each(const struct webhook *webhook, void *context);

enum bw_code __wrap_webhook_store_find(struct webhook_store *store,
                                       const char (*scopes)[WEBHOOK_SCOPE_SIZE], size_t count,
                                       webhook_each *each, void *context, struct bw_error *error);
int64_t __wrap_webhook_delivery_store_now_ms(const struct webhook_delivery_store *store);
enum bw_code __wrap_webhook_delivery_store_count(struct webhook_delivery_store *store,
                                                 const char *webhook, size_t *count,
                                                 struct bw_error *error);
enum bw_code __wrap_webhook_delivery_store_leave_out_present(struct webhook_delivery_store *store,
                                                             struct webhook_delivery *deliveries,
                                                             size_t *count, struct bw_error *error);
enum bw_code __wrap_webhook_delivery_store_insert(struct webhook_delivery_store *store,
                                                  const struct webhook_delivery *deliveries,
                                                  size_t count, struct bw_error *error);

enum bw_code __wrap_webhook_store_find(struct webhook_store *store,
                                       const char (*scopes)[WEBHOOK_SCOPE_SIZE], size_t count,
                                       webhook_each *each, void *context, struct bw_error *error)
{
    const struct webhook webhook = {.id = "w", .events = ~0U};
    (void)store, (void)scopes, (void)count, (void)error;
    each(&webhook, context);
    return BW_OK;
}

int64_t __wrap_webhook_delivery_store_now_ms(const struct webhook_delivery_store *store)
{
    (void)store;
    return 1;
}

enum bw_code __wrap_webhook_delivery_store_count(struct webhook_delivery_store *store,
                                                 const char *webhook, size_t *count,
                                                 struct bw_error *error)
{
    (void)store, (void)webhook;
    *count = queue.pending;
    return queue.count_code == BW_OK ? BW_OK : bw_fail(error, queue.count_code, "count");
}

enum bw_code __wrap_webhook_delivery_store_leave_out_present(struct webhook_delivery_store *store,
                                                             struct webhook_delivery *deliveries,
                                                             size_t *count, struct bw_error *error)
{
    (void)store;
    if (queue.present_code != BW_OK)
        return bw_fail(error, queue.present_code, "present");
    *count -= queue.present;
    memmove(deliveries, deliveries + queue.present, *count * sizeof *deliveries);
    return BW_OK;
}

enum bw_code __wrap_webhook_delivery_store_insert(struct webhook_delivery_store *store,
                                                  const struct webhook_delivery *deliveries,
                                                  size_t count, struct bw_error *error)
{
    (void)store, (void)error;
    queue.count = count;
    for (size_t i = 0; i < count; i++)
        memcpy(queue.inserted[i], deliveries[i].event_id, sizeof queue.inserted[i]);
    return BW_OK;
}

/* Records the events e0 to e3 of failed jobs, and e4 of the run's end. */
static void record(void)
{
    struct webhook_event_list list = {NULL, NULL};
    struct bw_error error;
    size_t count;
    struct metrics *metrics = scheduler_metrics_new();
    for (int i = 0; i < EVENTS; i++) {
        struct webhook_event *event = bw_alloc(sizeof *event);
        event->kind = i < EVENTS - 1 ? WEBHOOK_JOB_FAILED : WEBHOOK_RUN_FINISHED;
        snprintf(event->id, sizeof event->id, "e%d", i);
        webhook_event_list_add(&list, event);
    }
    const struct webhook_recording recording = {.metrics = metrics};
    assert_int_equal(webhook_recording_insert(&recording, &list, &count, &error), BW_OK);
    assert_int_equal(count, queue.count);
    webhook_event_list_clear(&list);
    metrics_free(metrics);
}

static int setup(void **state)
{
    (void)state;
    memset(&queue, 0, sizeof queue);
    return 0;
}

static void a_queue_with_room_takes_all(void **state)
{
    (void)state;
    queue.pending = WEBHOOK_QUEUE_MAX - EVENTS;
    record();
    assert_int_equal(queue.count, EVENTS);
}

static void a_full_queue_drops_all_but_the_end_of_the_run(void **state)
{
    (void)state;
    queue.pending = WEBHOOK_QUEUE_MAX - 1;
    record();
    assert_int_equal(queue.count, 2);
    assert_string_equal(queue.inserted[0], "e0");
    assert_string_equal(queue.inserted[1], "e4");
}

static void what_a_failed_try_has_inserted_is_not_counted_twice(void **state)
{
    (void)state;
    queue.pending = WEBHOOK_QUEUE_MAX - 2;
    queue.present = 3;
    record();
    assert_int_equal(queue.count, 2);
    assert_string_equal(queue.inserted[0], "e3");
    assert_string_equal(queue.inserted[1], "e4");
}

static void a_queue_of_unknown_length_takes_all(void **state)
{
    (void)state;
    queue.count_code = BW_UNAVAILABLE;
    record();
    assert_int_equal(queue.count, EVENTS);
    setup(NULL);
    queue.pending = WEBHOOK_QUEUE_MAX;
    queue.present_code = BW_UNAVAILABLE;
    record();
    assert_int_equal(queue.count, EVENTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_queue_with_room_takes_all, setup),
        cmocka_unit_test_setup(a_full_queue_drops_all_but_the_end_of_the_run, setup),
        cmocka_unit_test_setup(what_a_failed_try_has_inserted_is_not_counted_twice, setup),
        cmocka_unit_test_setup(a_queue_of_unknown_length_takes_all, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
