#include "api/grading/socket_jobs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/base/alloc.h"
#include "common/domain/job.h"

struct socket_job {
    char job[JOB_ID_SIZE]; /* key */
    char worker[WORKER_ID_SIZE];
    uint64_t socket;
    UT_hash_handle hh;
};

struct socket_jobs {
    pthread_mutex_t mutex; /* guards what follows */
    struct socket_job *jobs;
};

struct socket_jobs *socket_jobs_new(void)
{
    struct socket_jobs *table = bw_alloc(sizeof *table);
    pthread_mutex_init(&table->mutex, NULL);
    return table;
}

void socket_jobs_free(struct socket_jobs *table)
{
    struct socket_job *job, *following;
    if (table == NULL)
        return;
    HASH_ITER (hh, table->jobs, job, following) {
        HASH_DEL(table->jobs, job);
        free(job);
    }
    pthread_mutex_destroy(&table->mutex);
    free(table);
}

static struct socket_job *socket_jobs_get(struct socket_jobs *table, const char *id)
{
    struct socket_job *job;
    HASH_FIND_STR(table->jobs, id, job);
    return job;
}

void socket_jobs_add(struct socket_jobs *table, const char *id, const char *worker, uint64_t socket)
{
    pthread_mutex_lock(&table->mutex);
    struct socket_job *job = socket_jobs_get(table, id);
    if (job == NULL) {
        job = bw_alloc(sizeof *job);
        snprintf(job->job, sizeof job->job, "%s", id);
        HASH_ADD_STR(table->jobs, job, job);
    }
    snprintf(job->worker, sizeof job->worker, "%s", worker);
    job->socket = socket;
    pthread_mutex_unlock(&table->mutex);
}

void socket_jobs_remove(struct socket_jobs *table, const char *id, uint64_t socket)
{
    pthread_mutex_lock(&table->mutex);
    struct socket_job *job = socket_jobs_get(table, id);
    if (job != NULL && job->socket == socket) {
        HASH_DEL(table->jobs, job);
        free(job);
    }
    pthread_mutex_unlock(&table->mutex);
}

uint64_t socket_jobs_find(struct socket_jobs *table, const char *id, const char *worker)
{
    pthread_mutex_lock(&table->mutex);
    const struct socket_job *job = socket_jobs_get(table, id);
    uint64_t socket = job != NULL && strcmp(job->worker, worker) == 0 ? job->socket : 0;
    pthread_mutex_unlock(&table->mutex);
    return socket;
}
