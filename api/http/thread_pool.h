/*
 * thread_pool: a fixed number of threads for what may have to wait, e.g. for the database. Three
 * queues, first in, first out, and a heap of what is due later: urgent tasks go first, and the
 * others never take all of the threads, so that heartbeats and results find one even when all else
 * is slow. Heavy tasks need much CPU and memory: few run at a time. Callers: dispatch and handlers.
 * Safe from any thread.
 */
#ifndef API_HTTP_THREAD_POOL_H
#define API_HTTP_THREAD_POOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct thread_pool;

enum {
    THREAD_POOL_QUEUE_MAX = 10000, /* of tasks that are not urgent */
    THREAD_POOL_HEAVY = 3          /* threads that run heavy ones, at most */
};

/* BW_INTERNAL: no threads. */
enum bw_code thread_pool_open(int threads, struct thread_pool **thread_pool, struct bw_error *error)
    BW_CHECKED;

/* Runs what is still queued, then ends the threads. From outside nothing may be submitted any more,
 * from tasks it may. NULL is fine. */
void thread_pool_close(struct thread_pool *thread_pool);

/* Runs function(argument) on one of the threads. False: too much is queued, and it will not run.
 * That can't happen to urgent ones: each belongs to a connection, and the number of those is
 * limited. */
bool thread_pool_submit(struct thread_pool *thread_pool, bool is_urgent,
                        void (*function)(void *argument), void *argument);

/* The same for a heavy task. */
bool thread_pool_submit_heavy(struct thread_pool *thread_pool, void (*function)(void *argument),
                              void *argument);

/* Runs it in `delay_ms`, or at once when the thread pool is closed before: for what waits, and must
 * not hold a thread meanwhile. Costs the logarithm of what waits. Urgent: then it goes the way of
 * urgent tasks; otherwise it runs when neither these nor others are waiting for a thread, and must
 * not wait itself. False: the thread pool closes, and it will not run: there is no more time. */
bool thread_pool_submit_later(struct thread_pool *thread_pool, bool is_urgent, int64_t delay_ms,
                              void (*function)(void *argument), void *argument) BW_CHECKED;

#endif
