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
static struct executor *executor;

static int start(void **state)
{
    (void)state;
    struct bw_error error;
    gate.is_open = false;
    gate.waiting = 0;
    atomic_store(&gate.done, 0);
    return executor_open(THREADS, &executor, &error) == BW_OK ? 0 : -1;
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
        assert_true(executor_submit(executor, i % 2 == 0, count, &gate.done));
    executor_close(executor);
    assert_int_equal(atomic_load(&gate.done), TASKS);
}

static void urgent_tasks_find_a_thread_while_others_wait(void **state)
{
    (void)state;
    for (int i = 0; i < TASKS; i++)
        assert_true(executor_submit(executor, false, wait_at_gate, NULL));
    await_waiting(CALM_THREADS);
    assert_true(executor_submit(executor, true, wait_at_gate, NULL));
    await_waiting(CALM_THREADS + 1);
    assert_int_equal(gate.waiting, CALM_THREADS + 1);
    open_gate();
    executor_close(executor);
    assert_int_equal(atomic_load(&gate.done), TASKS + 1);
}

static void a_full_queue_refuses_all_but_urgent_tasks(void **state)
{
    (void)state;
    for (int i = 0; i < CALM_THREADS; i++)
        assert_true(executor_submit(executor, false, wait_at_gate, NULL));
    await_waiting(CALM_THREADS);
    for (int i = 0; i < EXECUTOR_QUEUE_MAX; i++)
        assert_true(executor_submit(executor, false, count, &gate.done));
    assert_false(executor_submit(executor, false, count, &gate.done));
    assert_true(executor_submit(executor, true, count, &gate.done));
    open_gate();
    executor_close(executor);
    assert_int_equal(atomic_load(&gate.done), CALM_THREADS + EXECUTOR_QUEUE_MAX + 1);
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
    struct executor *single;
    struct bw_error error;
    assert_int_equal(executor_open(1, &single, &error), BW_OK);
    for (int i = 0; i < TASKS; i++) {
        numbers[i] = i;
        executor_submit(single, false, line_up, &numbers[i]);
    }
    executor_close(single);
    for (int i = 0; i < TASKS; i++)
        assert_int_equal(line.order[i], i);
    executor_close(executor);
}

static void submit_another(void *argument)
{
    assert_true(executor_submit(executor, true, count, argument));
}

static void a_task_may_submit_another_while_it_closes(void **state)
{
    (void)state;
    for (int i = 0; i < TASKS; i++)
        executor_submit(executor, false, submit_another, &gate.done);
    executor_close(executor);
    assert_int_equal(atomic_load(&gate.done), TASKS);
}

static struct {
    atomic_int runs;
    int64_t at_ms[3];
} noted;

static void note_time(void *argument)
{
    (void)argument;
    noted.at_ms[atomic_fetch_add(&noted.runs, 1)] = clock_boot_ms();
}

static void a_task_for_later_runs_when_it_is_due_and_holds_no_thread_before(void **state)
{
    (void)state;
    int64_t begun_ms = clock_boot_ms();
    atomic_store(&noted.runs, 0);
    assert_true(executor_submit_later(executor, true, 120, note_time, NULL));
    assert_true(executor_submit_later(executor, true, 40, note_time, NULL));
    assert_true(executor_submit_later(executor, true, 80, note_time, NULL));
    for (int i = 0; i < THREADS; i++) /* all threads are free */
        assert_true(executor_submit(executor, true, wait_at_gate, NULL));
    await_waiting(THREADS);
    open_gate();
    while (atomic_load(&noted.runs) < 3)
        sched_yield();
    for (int i = 0; i < 3; i++)
        assert_true(noted.at_ms[i] - begun_ms >= 40 * (i + 1));
    executor_close(executor);
}

static void few_heavy_tasks_run_at_a_time_and_the_others_go_on(void **state)
{
    (void)state;
    struct executor *wide;
    struct bw_error error;
    enum { WIDE = 4 * EXECUTOR_HEAVY, HEAVY = 10 };
    executor_close(executor);
    assert_int_equal(executor_open(WIDE, &wide, &error), BW_OK);
    for (int i = 0; i < HEAVY; i++)
        assert_true(executor_submit_heavy(wide, wait_at_gate, NULL));
    await_waiting(EXECUTOR_HEAVY);
    atomic_int others = 0;
    for (int i = 0; i < 100; i++)
        assert_true(executor_submit(wide, i % 2 == 0, count, &others));
    while (atomic_load(&others) < 100)
        sched_yield();
    assert_int_equal(gate.waiting, EXECUTOR_HEAVY);
    open_gate();
    executor_close(wide);
    assert_int_equal(atomic_load(&gate.done), HEAVY);
}

static void closing_runs_what_was_for_later_at_once(void **state)
{
    (void)state;
    int64_t begun_ms = clock_boot_ms();
    assert_true(executor_submit_later(executor, true, 600000, count, &gate.done));
    executor_close(executor);
    assert_int_equal(atomic_load(&gate.done), 1);
    assert_true(clock_boot_ms() - begun_ms < 60000);
}

static struct {
    struct executor *executor;
    atomic_int runs, refused;
} again;

static void submit_itself(void *argument)
{
    atomic_fetch_add(&again.runs, 1);
    if (!executor_submit_later(again.executor, true, 1, submit_itself, argument))
        atomic_fetch_add(&again.refused, 1);
}

static void what_submits_itself_for_later_ends_when_the_executor_closes(void **state)
{
    (void)state;
    atomic_store(&again.runs, 0);
    atomic_store(&again.refused, 0);
    again.executor = executor;
    for (int i = 0; i < THREADS; i++)
        assert_true(executor_submit_later(executor, true, 600000, submit_itself, NULL));
    executor_close(executor);
    assert_int_equal(atomic_load(&again.runs), THREADS);
    assert_int_equal(atomic_load(&again.refused), THREADS);
}

static void what_is_not_urgent_and_due_lets_all_others_go_first(void **state)
{
    (void)state;
    static int numbers[] = {0, 1, 2};
    struct executor *single;
    struct bw_error error;
    assert_int_equal(executor_open(1, &single, &error), BW_OK);
    line.length = 0;
    assert_true(executor_submit(single, true, wait_at_gate, NULL));
    await_waiting(1);
    assert_true(executor_submit_later(single, false, 0, line_up, &numbers[2]));
    assert_true(executor_submit(single, false, line_up, &numbers[1]));
    assert_true(executor_submit(single, true, line_up, &numbers[0]));
    open_gate();
    executor_close(single);
    for (int i = 0; i < 3; i++)
        assert_int_equal(line.order[i], i);
    executor_close(executor);
}

/* CPU time of this thread, in microseconds, for so many that are all due later than those before
 * them, as polls that are shed are. */
static int64_t submit_many(int many)
{
    struct timespec begun, ended;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begun);
    for (int i = 0; i < many; i++)
        assert_true(executor_submit_later(executor, false, 600000 + i / 100, count, &gate.done));
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
    executor_close(executor);
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
        cmocka_unit_test_setup(what_submits_itself_for_later_ends_when_the_executor_closes, start),
        cmocka_unit_test_setup(what_is_not_urgent_and_due_lets_all_others_go_first, start),
        cmocka_unit_test_setup(twice_as_many_for_later_cost_no_more_than_twice_as_much_each, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
