#include "api/executor.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/clock.h"

struct task {
    void (*function)(void *argument);
    void *argument;
    int64_t due_ms; /* of one that was submitted for later: clock_boot_ms */
    struct task *next;
};

struct queue {
    struct task *first, **end;
    int count;
};

struct executor {
    pthread_mutex_t mutex; /* guards all but the threads */
    pthread_cond_t work;
    struct queue urgent, calm, heavy;
    struct task *later;                 /* the one that is due first comes first */
    int calm_running, calm_running_max; /* heavy ones are counted there too */
    int heavy_running;
    int running;
    bool is_closing;
    int threads_count;
    pthread_t threads[];
};

static void queue_add(struct queue *queue, struct task *task)
{
    *queue->end = task;
    queue->end = &task->next;
    queue->count++;
}

static struct task *queue_take(struct queue *queue)
{
    struct task *task = queue->first;
    queue->first = task->next;
    if (queue->first == NULL)
        queue->end = &queue->first;
    queue->count--;
    return task;
}

/* What is due becomes urgent. */
static void wake_later(struct executor *executor)
{
    int64_t now_ms = clock_boot_ms();
    while (executor->later != NULL && (executor->is_closing || executor->later->due_ms <= now_ms)) {
        struct task *task = executor->later;
        LL_DELETE(executor->later, task);
        task->next = NULL;
        queue_add(&executor->urgent, task);
    }
}

/* The next task that may run now, or NULL, and the queue that it is of. */
static struct task *next_task(struct executor *executor, struct queue **queue)
{
    wake_later(executor);
    *queue = &executor->urgent;
    if (executor->urgent.first != NULL)
        return queue_take(*queue);
    if (executor->calm_running >= executor->calm_running_max)
        return NULL;
    bool may_be_heavy = executor->heavy.first != NULL && executor->heavy_running < EXECUTOR_HEAVY;
    *queue = may_be_heavy ? &executor->heavy : &executor->calm;
    return (*queue)->first != NULL ? queue_take(*queue) : NULL;
}

/* A task that runs may yet submit another one. */
static bool is_over(const struct executor *executor)
{
    return executor->is_closing && executor->running == 0 && executor->urgent.count == 0 &&
           executor->calm.count == 0 && executor->heavy.count == 0 && executor->later == NULL;
}

static void count_running(struct executor *executor, const struct queue *queue, int more)
{
    executor->running += more;
    executor->calm_running += queue == &executor->urgent ? 0 : more;
    executor->heavy_running += queue == &executor->heavy ? more : 0;
}

static void run_task(struct executor *executor, struct task *task, const struct queue *queue)
{
    count_running(executor, queue, 1);
    pthread_mutex_unlock(&executor->mutex);
    task->function(task->argument);
    free(task);
    pthread_mutex_lock(&executor->mutex);
    count_running(executor, queue, -1);
    if (is_over(executor))
        pthread_cond_broadcast(&executor->work);
}

static void wait_for_work(struct executor *executor)
{
    if (executor->later == NULL) {
        pthread_cond_wait(&executor->work, &executor->mutex);
        return;
    }
    int64_t wait_ms = executor->later->due_ms - clock_boot_ms();
    struct timespec until = clock_deadline(wait_ms > 0 ? wait_ms : 0);
    pthread_cond_timedwait(&executor->work, &executor->mutex, &until);
}

static void *run(void *context)
{
    struct executor *executor = context;
    pthread_mutex_lock(&executor->mutex);
    while (!is_over(executor)) {
        struct queue *queue;
        struct task *task = next_task(executor, &queue);
        if (task != NULL)
            run_task(executor, task, queue);
        else
            wait_for_work(executor);
    }
    pthread_mutex_unlock(&executor->mutex);
    return NULL;
}

enum bw_code executor_open(int threads, struct executor **executor, struct bw_error *error)
{
    struct executor *self = calloc(1, sizeof *self + (size_t)threads * sizeof *self->threads);
    if (self == NULL)
        return bw_fail(error, BW_INTERNAL, "memory is short");
    pthread_mutex_init(&self->mutex, NULL);
    clock_condition_init(&self->work);
    self->urgent.end = &self->urgent.first;
    self->calm.end = &self->calm.first;
    self->heavy.end = &self->heavy.first;
    self->calm_running_max = threads > 1 ? threads - (threads + 3) / 4 : 1;
    for (; self->threads_count < threads; self->threads_count++) {
        int reason = pthread_create(&self->threads[self->threads_count], NULL, run, self);
        if (reason != 0) {
            executor_close(self);
            return bw_fail(error, BW_INTERNAL, "can't start a thread: %s", strerror(reason));
        }
    }
    *executor = self;
    return BW_OK;
}

void executor_close(struct executor *executor)
{
    if (executor == NULL)
        return;
    pthread_mutex_lock(&executor->mutex);
    executor->is_closing = true;
    pthread_cond_broadcast(&executor->work);
    pthread_mutex_unlock(&executor->mutex);
    for (int i = 0; i < executor->threads_count; i++)
        pthread_join(executor->threads[i], NULL);
    pthread_cond_destroy(&executor->work);
    pthread_mutex_destroy(&executor->mutex);
    free(executor);
}

static struct task *task_new(void (*function)(void *argument), void *argument)
{
    struct task *task = calloc(1, sizeof *task);
    if (task == NULL)
        abort(); /* the caller's exchange could never be answered */
    task->function = function;
    task->argument = argument;
    return task;
}

static bool submit(struct executor *executor, struct queue *queue, void (*function)(void *),
                   void *argument)
{
    struct task *task = task_new(function, argument);
    pthread_mutex_lock(&executor->mutex);
    bool has_room = queue == &executor->urgent || queue->count < EXECUTOR_QUEUE_MAX;
    if (has_room)
        queue_add(queue, task);
    pthread_cond_signal(&executor->work);
    pthread_mutex_unlock(&executor->mutex);
    if (!has_room)
        free(task);
    return has_room;
}

bool executor_submit(struct executor *executor, bool is_urgent, void (*function)(void *argument),
                     void *argument)
{
    return submit(executor, is_urgent ? &executor->urgent : &executor->calm, function, argument);
}

bool executor_submit_heavy(struct executor *executor, void (*function)(void *argument),
                           void *argument)
{
    return submit(executor, &executor->heavy, function, argument);
}

static int compare_due(const struct task *left, const struct task *right)
{
    return left->due_ms < right->due_ms ? -1 : left->due_ms > right->due_ms;
}

void executor_submit_later(struct executor *executor, int64_t delay_ms,
                           void (*function)(void *argument), void *argument)
{
    struct task *task = task_new(function, argument);
    task->due_ms = clock_boot_ms() + delay_ms;
    pthread_mutex_lock(&executor->mutex);
    LL_INSERT_INORDER(executor->later, task, compare_due);
    pthread_cond_signal(&executor->work);
    pthread_mutex_unlock(&executor->mutex);
}
