#include "api/http/thread_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

enum { HEAP_ROOM = 64, AGAIN_MS = 100 };

struct task {
    void (*function)(void *argument);
    void *argument;
    int64_t due_ms; /* clock_boot_ms; for a task that was submitted for later */
    uint64_t number;
    bool is_urgent;
    struct task *next;
};

struct queue {
    struct task *first, **end;
    int count;
};

/* A binary heap: the task that is due first is at the top; of tasks due at the same time, the one
 * that was submitted first. */
struct heap {
    struct task **tasks; /* own */
    size_t count, room;
};

struct thread_pool {
    pthread_mutex_t mutex; /* guards all but the threads */
    pthread_cond_t work;   /* a task can run, or a thread must wait for `later` */
    pthread_cond_t sooner; /* the thread that waits for `later` must check again */
    struct queue urgent, calm, heavy, idle;
    struct heap later;
    uint64_t last_number;
    bool is_later_watched;              /* a thread waits for the next task of `later` */
    int calm_running, calm_running_max; /* includes heavy tasks */
    int heavy_running;
    int running;
    bool is_closing;
    int threads_count;
    pthread_t threads[];
};

static void thread_pool_queue_add(struct queue *queue, struct task *task)
{
    *queue->end = task;
    queue->end = &task->next;
    queue->count++;
}

static struct task *thread_pool_queue_take(struct queue *queue)
{
    struct task *task = queue->first;
    queue->first = task->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    queue->count--;
    return task;
}

static bool is_due_before(const struct task *left, const struct task *right)
{
    if (left->due_ms != right->due_ms)
        return left->due_ms < right->due_ms;
    return left->number < right->number;
}

static void heap_swap(struct heap *heap, size_t left, size_t right)
{
    struct task *task = heap->tasks[left];
    heap->tasks[left] = heap->tasks[right];
    heap->tasks[right] = task;
}

static void thread_pool_heap_add(struct heap *heap, struct task *task)
{
    if (heap->count == heap->room) {
        heap->room = heap->room == 0 ? HEAP_ROOM : 2 * heap->room;
        heap->tasks = bw_grow(heap->tasks, heap->room, sizeof *heap->tasks);
    }
    size_t at = heap->count++;
    heap->tasks[at] = task;
    while (at > 0 && is_due_before(heap->tasks[at], heap->tasks[(at - 1) / 2])) {
        heap_swap(heap, at, (at - 1) / 2);
        at = (at - 1) / 2;
    }
}

static struct task *heap_take(struct heap *heap)
{
    struct task *task = heap->tasks[0];
    heap->tasks[0] = heap->tasks[--heap->count];
    for (size_t at = 0;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < heap->count && is_due_before(heap->tasks[child + 1], heap->tasks[child]))
            child++;
        if (child >= heap->count || !is_due_before(heap->tasks[child], heap->tasks[at]))
            return task;
        heap_swap(heap, at, child);
        at = child;
    }
}

/* Moves the tasks that are due to their queues. */
static void wake_later(struct thread_pool *thread_pool)
{
    int64_t now_ms = clock_boot_ms();
    while (thread_pool->later.count > 0 &&
           (thread_pool->is_closing || thread_pool->later.tasks[0]->due_ms <= now_ms)) {
        struct task *task = heap_take(&thread_pool->later);
        thread_pool_queue_add(task->is_urgent ? &thread_pool->urgent : &thread_pool->idle, task);
        pthread_cond_signal(&thread_pool->work);
    }
}

/* The next task that may run now, or NULL; *queue: its queue. */
static struct task *next_task(struct thread_pool *thread_pool, struct queue **queue)
{
    wake_later(thread_pool);
    *queue = &thread_pool->urgent;
    if (thread_pool->urgent.first != NULL)
        return thread_pool_queue_take(*queue);
    bool may_be_calm = thread_pool->calm_running < thread_pool->calm_running_max;
    bool may_be_heavy = may_be_calm && thread_pool->heavy_running < THREAD_POOL_HEAVY;
    *queue = &thread_pool->idle;
    if (may_be_heavy && thread_pool->heavy.first != NULL)
        *queue = &thread_pool->heavy;
    else if (may_be_calm && thread_pool->calm.first != NULL)
        *queue = &thread_pool->calm;
    return (*queue)->first != NULL ? thread_pool_queue_take(*queue) : NULL;
}

/* Whether the threads may end: no task is queued, and none is running that could submit one. */
static bool is_over(const struct thread_pool *thread_pool)
{
    return thread_pool->is_closing && thread_pool->running == 0 && thread_pool->urgent.count == 0 &&
           thread_pool->calm.count == 0 && thread_pool->heavy.count == 0 &&
           thread_pool->idle.count == 0 && thread_pool->later.count == 0;
}

static void count_running(struct thread_pool *thread_pool, const struct queue *queue, int more)
{
    thread_pool->running += more;
    bool is_calm = queue == &thread_pool->calm || queue == &thread_pool->heavy;
    thread_pool->calm_running += is_calm ? more : 0;
    thread_pool->heavy_running += queue == &thread_pool->heavy ? more : 0;
}

static void run_task(struct thread_pool *thread_pool, struct task *task, const struct queue *queue)
{
    count_running(thread_pool, queue, 1);
    pthread_mutex_unlock(&thread_pool->mutex);
    task->function(task->argument);
    free(task);
    pthread_mutex_lock(&thread_pool->mutex);
    count_running(thread_pool, queue, -1);
    if (is_over(thread_pool))
        pthread_cond_broadcast(&thread_pool->work);
}

/* Waits for work. One idle thread waits for the next task of `later`, so that only one wakes for
 * it. When it leaves for another task, it wakes a successor. */
static void thread_pool_wait_for_work(struct thread_pool *thread_pool)
{
    if (thread_pool->later.count == 0 || thread_pool->is_later_watched) {
        pthread_cond_wait(&thread_pool->work, &thread_pool->mutex);
        return;
    }
    int64_t wait_ms = thread_pool->later.tasks[0]->due_ms - clock_boot_ms();
    struct timespec until = clock_deadline(wait_ms > 0 ? wait_ms : 0);
    thread_pool->is_later_watched = true;
    pthread_cond_timedwait(&thread_pool->sooner, &thread_pool->mutex, &until);
    thread_pool->is_later_watched = false;
    pthread_cond_signal(&thread_pool->work);
}

/* Wakes a thread for a task that was queued. Under the mutex. */
static void thread_pool_wake_thread(struct thread_pool *thread_pool)
{
    pthread_cond_signal(&thread_pool->work);
    if (thread_pool->is_later_watched)
        pthread_cond_signal(&thread_pool->sooner); /* that thread may be the only idle one */
}

static void *thread_pool_run(void *context)
{
    struct thread_pool *thread_pool = context;
    pthread_mutex_lock(&thread_pool->mutex);
    while (!is_over(thread_pool)) {
        struct queue *queue;
        struct task *task = next_task(thread_pool, &queue);
        if (task != NULL)
            run_task(thread_pool, task, queue);
        else
            thread_pool_wait_for_work(thread_pool);
    }
    pthread_mutex_unlock(&thread_pool->mutex);
    return NULL;
}

enum bw_code thread_pool_open(int threads, struct thread_pool **thread_pool, struct bw_error *error)
{
    struct thread_pool *self = bw_alloc(sizeof *self + (size_t)threads * sizeof *self->threads);
    pthread_mutex_init(&self->mutex, NULL);
    clock_condition_init(&self->work);
    clock_condition_init(&self->sooner);
    self->idle.end = &self->idle.first;
    self->urgent.end = &self->urgent.first;
    self->calm.end = &self->calm.first;
    self->heavy.end = &self->heavy.first;
    self->calm_running_max = threads > 1 ? threads - (threads + 3) / 4 : 1;
    for (; self->threads_count < threads; self->threads_count++) {
        int reason = pthread_create(&self->threads[self->threads_count], NULL, thread_pool_run,
                                    self);
        if (reason != 0) {
            thread_pool_close(self);
            return bw_fail(error, BW_INTERNAL, "can't start a thread: %s", strerror(reason));
        }
    }
    *thread_pool = self;
    return BW_OK;
}

void thread_pool_close(struct thread_pool *thread_pool)
{
    if (thread_pool == NULL)
        return;
    pthread_mutex_lock(&thread_pool->mutex);
    thread_pool->is_closing = true;
    pthread_cond_broadcast(&thread_pool->work);
    pthread_cond_broadcast(&thread_pool->sooner);
    pthread_mutex_unlock(&thread_pool->mutex);
    for (int i = 0; i < thread_pool->threads_count; i++)
        pthread_join(thread_pool->threads[i], NULL);
    pthread_cond_destroy(&thread_pool->sooner);
    pthread_cond_destroy(&thread_pool->work);
    pthread_mutex_destroy(&thread_pool->mutex);
    free(thread_pool->later.tasks);
    free(thread_pool);
}

static struct task *thread_pool_task_new(void (*function)(void *argument), void *argument)
{
    /* bw_alloc does not fail: without the task, the caller's exchange would never be answered. */
    struct task *task = bw_alloc(sizeof *task);
    task->function = function;
    task->argument = argument;
    return task;
}

static bool thread_pool_put(struct thread_pool *thread_pool, struct queue *queue,
                            void (*function)(void *), void *argument)
{
    struct task *task = thread_pool_task_new(function, argument);
    pthread_mutex_lock(&thread_pool->mutex);
    bool has_room = queue == &thread_pool->urgent || queue->count < THREAD_POOL_QUEUE_MAX;
    if (has_room)
        thread_pool_queue_add(queue, task);
    thread_pool_wake_thread(thread_pool);
    pthread_mutex_unlock(&thread_pool->mutex);
    if (!has_room)
        free(task);
    return has_room;
}

bool thread_pool_submit(struct thread_pool *thread_pool, bool is_urgent,
                        void (*function)(void *argument), void *argument)
{
    return thread_pool_put(thread_pool, is_urgent ? &thread_pool->urgent : &thread_pool->calm,
                           function, argument);
}

bool thread_pool_submit_heavy(struct thread_pool *thread_pool, void (*function)(void *argument),
                              void *argument)
{
    return thread_pool_put(thread_pool, &thread_pool->heavy, function, argument);
}

bool thread_pool_submit_later(struct thread_pool *thread_pool, bool is_urgent, int64_t delay_ms,
                              void (*function)(void *argument), void *argument)
{
    struct task *task = thread_pool_task_new(function, argument);
    task->due_ms = clock_boot_ms() + delay_ms;
    task->is_urgent = is_urgent;
    pthread_mutex_lock(&thread_pool->mutex);
    bool is_taken = !thread_pool->is_closing;
    if (is_taken) {
        task->number = ++thread_pool->last_number;
        thread_pool_heap_add(&thread_pool->later, task);
        if (thread_pool->later.tasks[0] == task)
            thread_pool_wake_thread(thread_pool);
    }
    pthread_mutex_unlock(&thread_pool->mutex);
    if (!is_taken)
        free(task);
    return is_taken;
}

/* A task for which there was no room yet. */
struct waiting_task {
    struct thread_pool *thread_pool;
    void (*function)(void *argument);
    void (*refused)(void *argument);
    void *argument;
};

static void thread_pool_submit_again(void *context)
{
    struct waiting_task *task = context;
    if (thread_pool_submit(task->thread_pool, false, task->function, task->argument)) {
        free(task);
        return;
    }
    if (thread_pool_submit_later(task->thread_pool, true, AGAIN_MS, thread_pool_submit_again, task))
        return;
    task->refused(task->argument);
    free(task);
}

void thread_pool_submit_or_wait(struct thread_pool *thread_pool, void (*function)(void *argument),
                                void (*refused)(void *argument), void *argument)
{
    struct waiting_task *task = bw_alloc(sizeof *task);
    *task = (struct waiting_task){thread_pool, function, refused, argument};
    thread_pool_submit_again(task);
}
