#include "api/http/thread_pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "common/base/clock.h"

enum { THREADS = 4, CALM_THREADS = 3, TASKS = 1000 };

/* Blocks tasks until it is opened. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool is_open;
    int waiting;
    atomic_int done;
};

static struct gate gate = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
static struct thread_pool *thread_pool;

static int start(void **state)
{
    (void)state;
    struct bw_error error;
    gate.is_open = false;
    gate.waiting = 0;
    atomic_store(&gate.done, 0);
    return thread_pool_open(THREADS, &thread_pool, &error) == BW_OK ? 0 : -1;
}

static void wait_at_gate(void *argument)
{
    (void)argument;
    pthread_mutex_lock(&gate.mutex);
    gate.waiting++;
    pthread_cond_broadcast(&gate.changed);
    while (!gate.is_open)
        pthread_cond_wait(&gate.changed, &gate.mutex);
    pthread_mutex_unlock(&gate.mutex);
    atomic_fetch_add(&gate.done, 1);
}

static void await_waiting(int count)
{
    pthread_mutex_lock(&gate.mutex);
    while (gate.waiting < count)
        pthread_cond_wait(&gate.changed, &gate.mutex);
    pthread_mutex_unlock(&gate.mutex);
}

static void open_gate(void)
{
    pthread_mutex_lock(&gate.mutex);
    gate.is_open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.mutex);
}

static void count(void *argument)
{
    atomic_fetch_add((atomic_int *)argument, 1);
}

static void closing_runs_queued_tasks(void **state)
{
    (void)state;
    for (int i = 0; i < TASKS; i++)
        assert_true(thread_pool_submit(thread_pool, i % 2 == 0, count, &gate.done));
    thread_pool_close(thread_pool);
    assert_int_equal(atomic_load(&gate.done), TASKS);
}

static void urgent_tasks_get_a_thread_while_others_wait(void **state)
{
    (void)state;
    for (int i = 0; i < TASKS; i++)
        assert_true(thread_pool_submit(thread_pool, false, wait_at_gate, NULL));
    await_waiting(CALM_THREADS);
    assert_true(thread_pool_submit(thread_pool, true, wait_at_gate, NULL));
    await_waiting(CALM_THREADS + 1);
    assert_int_equal(gate.waiting, CALM_THREADS + 1);
    open_gate();
    thread_pool_close(thread_pool);
    assert_int_equal(atomic_load(&gate.done), TASKS + 1);
}

/* As many tasks as there may be, none of which runs before the gate is open. */
static void fill_queue(void)
{
    for (int i = 0; i < CALM_THREADS; i++)
        assert_true(thread_pool_submit(thread_pool, false, wait_at_gate, NULL));
    await_waiting(CALM_THREADS);
    for (int i = 0; i < THREAD_POOL_QUEUE_MAX; i++)
        assert_true(thread_pool_submit(thread_pool, false, count, &gate.done));
}

static void a_full_queue_refuses_all_but_urgent_tasks(void **state)
{
    (void)state;
    fill_queue();
    assert_false(thread_pool_submit(thread_pool, false, count, &gate.done));
    assert_true(thread_pool_submit(thread_pool, true, count, &gate.done));
    open_gate();
    thread_pool_close(thread_pool);
    assert_int_equal(atomic_load(&gate.done), CALM_THREADS + THREAD_POOL_QUEUE_MAX + 1);
}

static void not_refused(void *argument)
{
    (void)argument;
    fail();
}

static void waiting_submission_runs_once_the_queue_has_room(void **state)
{
    (void)state;
    atomic_int waited = 0;
    fill_queue();
    thread_pool_submit_or_wait(thread_pool, count, not_refused, &waited);
    assert_int_equal(atomic_load(&waited), 0);
    open_gate();
    while (atomic_load(&waited) == 0)
        sched_yield();
    thread_pool_close(thread_pool);
    assert_int_equal(atomic_load(&waited), 1);
    assert_int_equal(atomic_load(&gate.done), CALM_THREADS + THREAD_POOL_QUEUE_MAX);
}

static void not_run(void *argument)
{
    (void)argument;
    fail();
}

static void *close_thread_pool(void *argument)
{
    (void)argument;
    thread_pool_close(thread_pool);
    return NULL;
}

static void waiting_submission_is_refused_if_the_pool_closes_first(void **state)
{
    (void)state;
    atomic_int refused = 0;
    pthread_t closer;
    fill_queue();
    thread_pool_submit_or_wait(thread_pool, not_run, count, &refused);
    assert_int_equal(atomic_load(&refused), 0);
    assert_int_equal(pthread_create(&closer, NULL, close_thread_pool, NULL), 0);
    while (atomic_load(&refused) == 0)
        sched_yield();
    open_gate();
    pthread_join(closer, NULL);
    assert_int_equal(atomic_load(&refused), 1);
}

static struct {
    pthread_mutex_t mutex;
    int order[TASKS], length;
} line = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void line_up(void *argument)
{
    pthread_mutex_lock(&line.mutex);
    line.order[line.length++] = *(int *)argument;
    pthread_mutex_unlock(&line.mutex);
}

static void tasks_of_one_lane_run_in_their_order(void **state)
{
    (void)state;
    static int numbers[TASKS];
    struct thread_pool *single;
    struct bw_error error;
    assert_int_equal(thread_pool_open(1, &single, &error), BW_OK);
    for (int i = 0; i < TASKS; i++) {
        numbers[i] = i;
        thread_pool_submit(single, false, line_up, &numbers[i]);
    }
    thread_pool_close(single);
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(line.order[i], i);
    thread_pool_close(thread_pool);
}

static void submit_another(void *argument)
{
    assert_true(thread_pool_submit(thread_pool, true, count, argument));
}

static void a_task_may_submit_another_while_it_closes(void **state)
{
    (void)state;
    for (int i = 0; i < TASKS; i++)
        thread_pool_submit(thread_pool, false, submit_another, &gate.done);
    thread_pool_close(thread_pool);
    assert_int_equal(atomic_load(&gate.done), TASKS);
}

static struct {
    atomic_int begun, runs; /* runs: number of recorded times */
    int64_t at_ms[3];
} noted;

static void note_time(void *argument)
{
    (void)argument;
    noted.at_ms[atomic_fetch_add(&noted.begun, 1)] = clock_boot_ms();
    atomic_fetch_add(&noted.runs, 1);
}

static void delayed_task_runs_when_due_and_holds_no_thread_before(void **state)
{
    (void)state;
    int64_t begun_ms = clock_boot_ms();
    atomic_store(&noted.begun, 0);
    atomic_store(&noted.runs, 0);
    assert_true(thread_pool_submit_later(thread_pool, true, 120, note_time, NULL));
    assert_true(thread_pool_submit_later(thread_pool, true, 40, note_time, NULL));
    assert_true(thread_pool_submit_later(thread_pool, true, 80, note_time, NULL));
    for (int i = 0; i < THREADS; i++) /* all threads are free */
        assert_true(thread_pool_submit(thread_pool, true, wait_at_gate, NULL));
    await_waiting(THREADS);
    open_gate();
    while (atomic_load(&noted.runs) < 3)
        sched_yield();
    for (int i = 0; i < 3; i++)
        assert_true(noted.at_ms[i] - begun_ms >= 40 * (i + 1));
    thread_pool_close(thread_pool);
}

static void heavy_tasks_are_limited_and_do_not_stop_others(void **state)
{
    (void)state;
    struct thread_pool *wide;
    struct bw_error error;
    enum { WIDE = 4 * THREAD_POOL_HEAVY, HEAVY = 10 };
    thread_pool_close(thread_pool);
    assert_int_equal(thread_pool_open(WIDE, &wide, &error), BW_OK);
    for (int i = 0; i < HEAVY; i++)
        assert_true(thread_pool_submit_heavy(wide, wait_at_gate, NULL));
    await_waiting(THREAD_POOL_HEAVY);
    atomic_int others = 0;
    for (int i = 0; i < 100; i++)
        assert_true(thread_pool_submit(wide, i % 2 == 0, count, &others));
    while (atomic_load(&others) < 100)
        sched_yield();
    assert_int_equal(gate.waiting, THREAD_POOL_HEAVY);
    open_gate();
    thread_pool_close(wide);
    assert_int_equal(atomic_load(&gate.done), HEAVY);
}

static void closing_runs_delayed_tasks_at_once(void **state)
{
    (void)state;
    int64_t begun_ms = clock_boot_ms();
    assert_true(thread_pool_submit_later(thread_pool, true, 600000, count, &gate.done));
    thread_pool_close(thread_pool);
    assert_int_equal(atomic_load(&gate.done), 1);
    assert_true(clock_boot_ms() - begun_ms < 60000);
}

static struct {
    struct thread_pool *thread_pool;
    atomic_int runs, refused;
} again;

static void submit_itself(void *argument)
{
    atomic_fetch_add(&again.runs, 1);
    if (!thread_pool_submit_later(again.thread_pool, true, 1, submit_itself, argument))
        atomic_fetch_add(&again.refused, 1);
}

static void self_resubmitting_task_ends_when_the_pool_closes(void **state)
{
    (void)state;
    atomic_store(&again.runs, 0);
    atomic_store(&again.refused, 0);
    again.thread_pool = thread_pool;
    for (int i = 0; i < THREADS; i++)
        assert_true(thread_pool_submit_later(thread_pool, true, 600000, submit_itself, NULL));
    thread_pool_close(thread_pool);
    assert_int_equal(atomic_load(&again.runs), THREADS);
    assert_int_equal(atomic_load(&again.refused), THREADS);
}

static void background_task_runs_after_all_others(void **state)
{
    (void)state;
    static int numbers[] = {0, 1, 2};
    struct thread_pool *single;
    struct bw_error error;
    assert_int_equal(thread_pool_open(1, &single, &error), BW_OK);
    line.length = 0;
    assert_true(thread_pool_submit(single, true, wait_at_gate, NULL));
    await_waiting(1);
    assert_true(thread_pool_submit_later(single, false, 0, line_up, &numbers[2]));
    assert_true(thread_pool_submit(single, false, line_up, &numbers[1]));
    assert_true(thread_pool_submit(single, true, line_up, &numbers[0]));
    open_gate();
    thread_pool_close(single);
    for (int i = 0; i < 3; i++)
        assert_int_equal(line.order[i], i);
    thread_pool_close(thread_pool);
}

/* CPU time of this thread, in microseconds, to submit `many` tasks, each due later than the
 * previous one. */
static int64_t submit_many(int many)
{
    static int submitted;
    struct timespec begun, ended;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begun);
    for (int i = 0; i < many; i++)
        assert_true(thread_pool_submit_later(thread_pool, false, 600000 + submitted++ / 100, count,
                                             &gate.done));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended);
    return (ended.tv_sec - begun.tv_sec) * 1000000 + (ended.tv_nsec - begun.tv_nsec) / 1000;
}

static void cost_of_a_delayed_task_is_independent_of_the_queue(void **state)
{
    (void)state;
    int64_t few_us = submit_many(2000);
    submit_many(40000);
    int64_t more_us = submit_many(
        2000); /* a linear scan of the list would cost forty times as much */
    assert_true(more_us < 8 * few_us + 20000);
    thread_pool_close(thread_pool);
    assert_int_equal(atomic_load(&gate.done), 44000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(closing_runs_queued_tasks, start),
        cmocka_unit_test_setup(urgent_tasks_get_a_thread_while_others_wait, start),
        cmocka_unit_test_setup(a_full_queue_refuses_all_but_urgent_tasks, start),
        cmocka_unit_test_setup(waiting_submission_runs_once_the_queue_has_room, start),
        cmocka_unit_test_setup(waiting_submission_is_refused_if_the_pool_closes_first, start),
        cmocka_unit_test_setup(tasks_of_one_lane_run_in_their_order, start),
        cmocka_unit_test_setup(delayed_task_runs_when_due_and_holds_no_thread_before, start),
        cmocka_unit_test_setup(heavy_tasks_are_limited_and_do_not_stop_others, start),
        cmocka_unit_test_setup(closing_runs_delayed_tasks_at_once, start),
        cmocka_unit_test_setup(a_task_may_submit_another_while_it_closes, start),
        cmocka_unit_test_setup(self_resubmitting_task_ends_when_the_pool_closes, start),
        cmocka_unit_test_setup(background_task_runs_after_all_others, start),
        cmocka_unit_test_setup(cost_of_a_delayed_task_is_independent_of_the_queue, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
