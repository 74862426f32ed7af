/*
 * thread_pool: a fixed number of threads for tasks that may wait, e.g. for the database. It has
 * three queues, first in, first out, and a heap of tasks that are due later. Urgent tasks go first.
 * Other tasks never occupy all threads, so that heartbeats and results find one even when
 * everything else is slow. Heavy tasks need much CPU and memory: few run at a time. Callers:
 * dispatch and handlers. Safe from any thread.
 */
#ifndef API_HTTP_THREAD_POOL_H
#define API_HTTP_THREAD_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct thread_pool;

enum {
    THREAD_POOL_QUEUE_MAX = 10000, /* limit of each queue of tasks that are not urgent */
    THREAD_POOL_HEAVY = 3          /* limit of threads that run heavy tasks */
};

/* Creates *thread_pool, and starts the threads. BW_INTERNAL: a thread can't be started. */
enum bw_code thread_pool_open(int threads, struct thread_pool **thread_pool, struct bw_error *error)
    BW_CHECKED;

/* Runs all queued tasks, then ends the threads. Only running tasks may still submit tasks. NULL is
 * allowed. */
void thread_pool_close(struct thread_pool *thread_pool);

/* Queues function(argument). False: the queue is full, and it will not run. Urgent tasks are always
 * queued: each belongs to a connection, and connections are limited. */
bool thread_pool_submit(struct thread_pool *thread_pool, bool is_urgent,
                        void (*function)(void *argument), void *argument);

/* The same for a heavy task. */
bool thread_pool_submit_heavy(struct thread_pool *thread_pool, void (*function)(void *argument),
                              void *argument);

/* Runs the task in `delay_ms`, or at once when the thread pool is closed before, without occupying
 * a thread in the meantime. Costs the logarithm of the number of such tasks. An urgent task is then
 * queued as urgent. Another one runs when no urgent or ordinary task can run, and must not wait
 * itself. False: the thread pool is closing, and the task will not run. */
bool thread_pool_submit_later(struct thread_pool *thread_pool, bool is_urgent, int64_t delay_ms,
                              void (*function)(void *argument), void *argument) BW_CHECKED;

/* Queues an ordinary task that must not be refused: if the queue is full, the task is submitted
 * again every 100 ms. If the thread pool closes before there is room, refused(argument) runs
 * instead, on this thread or on one of the pool's. */
void thread_pool_submit_or_wait(struct thread_pool *thread_pool, void (*function)(void *argument),
                                void (*refused)(void *argument), void *argument);

#endif
