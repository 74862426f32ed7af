/*
 * held_jobs: which of the jobs that a grader says it holds does it not hold any more? A job is lost
 * to its worker when the job has a result that the worker did not send (it or its run was
 * cancelled, another worker was faster, it was given up), when the worker's attempt was ended, or
 * when the run was removed. For graders that asked to be told (`cancel=true`): their heartbeats,
 * and their websockets.
 *
 * Requests that arrive during a read wait for the next one, which answers many of them at once. So
 * the database gets one small read at a time, however many graders ask. The reads are urgent tasks
 * of the thread pool, and take one of its threads. No state but that; safe from any thread.
 */
#ifndef API_GRADING_HELD_JOBS_H
#define API_GRADING_HELD_JOBS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"
#include "common/domain/job.h"
#include "common/store/lease_store.h"
#include "common/store/result_store.h"

struct held_jobs;
struct thread_pool;

enum {
    HELD_JOBS_MAX = 100,  /* jobs in a request */
    HELD_JOBS_BATCH = 400 /* jobs in a read, unless the first request alone has more */
};

struct held_jobs_settings {
    struct thread_pool **thread_pool; /* where the thread pool's pointer is stored before the first
                                         request; borrowed */
    struct lease_store *leases;       /* borrowed */
    struct result_store *results;     /* borrowed */
};

struct held_job {
    char id[JOB_ID_SIZE];
    bool is_lost; /* answered: the worker does not hold it any more */
};

/* Returns a new object, never NULL. `settings` are copied. */
struct held_jobs *held_jobs_new(const struct held_jobs_settings *settings);

/* The thread pool must have been closed before. NULL is allowed. */
void held_jobs_free(struct held_jobs *held);

/* Asks for `count` jobs (1 to HELD_JOBS_MAX; copied) of a worker. `completed` is called once, on a
 * thread of the pool, and must not wait; it borrows the jobs. If the database can't be reached, no
 * job is lost as far as is known. */
void held_jobs_ask(struct held_jobs *held, const char *worker, const struct held_job *jobs,
                   size_t count,
                   void (*completed)(void *context, const struct held_job *jobs, size_t count),
                   void *context);

/* Reads a list of ids separated by commas, at most HELD_JOBS_MAX, into jobs[]; "" has none.
 * BW_BAD_REQUEST: the sentence names the argument `jobs`. */
enum bw_code held_jobs_parse(const char *text, struct held_job jobs[HELD_JOBS_MAX], size_t *count,
                             struct bw_error *error) BW_CHECKED;

#endif
