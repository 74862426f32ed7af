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

/* Holds the tasks that wait until it is opened. */
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

static void closing_runs_what_is_queued(void **state)
{
    (void)state;
    for (int i = 0; i < TASKS; i++)
        assert_true(thread_pool_submit(thread_pool, i % 2 == 0, count, &gate.done));
    thread_pool_close(thread_pool);
    assert_int_equal(atomic_load(&gate.done), TASKS);
}

static void urgent_tasks_find_a_thread_while_others_wait(void **state)
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

static void a_full_queue_refuses_all_but_urgent_tasks(void **state)
{
    (void)state;
    for (int i = 0; i < CALM_THREADS; i++)
        assert_true(thread_pool_submit(thread_pool, false, wait_at_gate, NULL));
    await_waiting(CALM_THREADS);
    for (int i = 0; i < THREAD_POOL_QUEUE_MAX; i++)
        assert_true(thread_pool_submit(thread_pool, false, count, &gate.done));
    assert_false(thread_pool_submit(thread_pool, false, count, &gate.done));
    assert_true(thread_pool_submit(thread_pool, true, count, &gate.done));
    open_gate();
    thread_pool_close(thread_pool);
    assert_int_equal(atomic_load(&gate.done), CALM_THREADS + THREAD_POOL_QUEUE_MAX + 1);
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
    atomic_int begun, runs; /* runs: whose time is noted */
    int64_t at_ms[3];
} noted;

static void note_time(void *argument)
{
    (void)argument;
    noted.at_ms[atomic_fetch_add(&noted.begun, 1)] = clock_boot_ms();
    atomic_fetch_add(&noted.runs, 1);
}

static void a_task_for_later_runs_when_it_is_due_and_holds_no_thread_before(void **state)
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

static void few_heavy_tasks_run_at_a_time_and_the_others_go_on(void **state)
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

static void closing_runs_what_was_for_later_at_once(void **state)
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

static void what_submits_itself_for_later_ends_when_the_thread_pool_closes(void **state)
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

static void what_is_not_urgent_and_due_lets_all_others_go_first(void **state)
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

/* CPU time of this thread, in microseconds, for so many that are all due later than those before
 * them, as polls that are shed are. */
static int64_t submit_many(int many)
{
    struct timespec begun, ended;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begun);
    for (int i = 0; i < many; i++)
        assert_true(
            thread_pool_submit_later(thread_pool, false, 600000 + i / 100, count, &gate.done));
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended);
    return (ended.tv_sec - begun.tv_sec) * 1000000 + (ended.tv_nsec - begun.tv_nsec) / 1000;
}

static void twice_as_many_for_later_cost_no_more_than_twice_as_much_each(void **state)
{
    (void)state;
    int64_t few_us = submit_many(20000);  /* 20,000 of them */
    int64_t more_us = submit_many(20000); /* 20,000 behind 20,000 */
    assert_true(more_us < 2 * few_us + 20000);
    assert_true(few_us < 1000000);
    thread_pool_close(thread_pool);
    assert_int_equal(atomic_load(&gate.done), 40000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(closing_runs_what_is_queued, start),
        cmocka_unit_test_setup(urgent_tasks_find_a_thread_while_others_wait, start),
        cmocka_unit_test_setup(a_full_queue_refuses_all_but_urgent_tasks, start),
        cmocka_unit_test_setup(tasks_of_one_lane_run_in_their_order, start),
        cmocka_unit_test_setup(a_task_for_later_runs_when_it_is_due_and_holds_no_thread_before,
                               start),
        cmocka_unit_test_setup(few_heavy_tasks_run_at_a_time_and_the_others_go_on, start),
        cmocka_unit_test_setup(closing_runs_what_was_for_later_at_once, start),
        cmocka_unit_test_setup(a_task_may_submit_another_while_it_closes, start),
        cmocka_unit_test_setup(what_submits_itself_for_later_ends_when_the_thread_pool_closes,
                               start),
        cmocka_unit_test_setup(what_is_not_urgent_and_due_lets_all_others_go_first, start),
        cmocka_unit_test_setup(twice_as_many_for_later_cost_no_more_than_twice_as_much_each, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
