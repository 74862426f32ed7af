#include "scheduler/state/returned_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

enum { MOST_DOUBLINGS = 4 };

struct returned_job *returned_jobs_find(struct returned_job *jobs, uint32_t slot)
{
    struct returned_job *job = NULL;
    HASH_FIND(hh, jobs, &slot, sizeof slot, job);
    return job;
}

static struct returned_job *returned_jobs_open(struct returned_job **jobs, uint32_t slot)
{
    struct returned_job *job = returned_jobs_find(*jobs, slot);
    if (job != NULL)
        return job;
    job = bw_alloc(sizeof *job);
    job->slot = slot;
    HASH_ADD(hh, *jobs, slot, sizeof job->slot, job);
    return job;
}

static const struct returning_worker *find_returning(const struct returned_job *job,
                                                     const char *worker)
{
    for (unsigned i = 0; i < job->count; i++)
        if (strcmp(job->workers[i].id, worker) == 0)
            return &job->workers[i];
    return NULL;
}

/* The worker's entry; NULL: enough others have returned the job. */
static struct returning_worker *open_returning(struct returned_job *job, const char *worker)
{
    const struct returning_worker *known = find_returning(job, worker);
    if (known != NULL)
        return &job->workers[known - job->workers];
    if (job->count == RETURNED_MOST_WORKERS)
        return NULL;
    struct returning_worker *added = &job->workers[job->count++];
    snprintf(added->id, sizeof added->id, "%s", worker);
    return added;
}

void returned_jobs_note(struct returned_job **jobs, uint32_t slot, const struct lease *lease,
                        int64_t now_ms)
{
    struct returned_job *job = returned_jobs_open(jobs, slot);
    struct returning_worker *worker = open_returning(job, lease->worker);
    if (lease->attempt > job->attempt) {
        job->attempt = lease->attempt;
        memcpy(job->reason, lease->reason, sizeof job->reason);
    }
    job->ruled += lease->is_ruled;
    if (worker == NULL)
        return;
    unsigned doublings = worker->times < MOST_DOUBLINGS ? worker->times : MOST_DOUBLINGS;
    worker->times++;
    worker->until_ms = now_ms + ((int64_t)RETURNED_PAUSE_MS << doublings);
}

static void returned_jobs_delete(struct returned_job **jobs, struct returned_job *job)
{
    HASH_DELETE(hh, *jobs, job);
    free(job);
}

void returned_jobs_remove(struct returned_job **jobs, uint32_t slot)
{
    struct returned_job *job = returned_jobs_find(*jobs, slot);
    if (job != NULL)
        returned_jobs_delete(jobs, job);
}

void returned_jobs_clear(struct returned_job **jobs)
{
    struct returned_job *job, *following;
    HASH_ITER (hh, *jobs, job, following)
        returned_jobs_delete(jobs, job);
}

bool returned_job_excludes(const struct returned_job *job, const char *worker, int64_t now_ms)
{
    const struct returning_worker *known = job == NULL ? NULL : find_returning(job, worker);
    return known != NULL && now_ms < known->until_ms;
}

bool returned_job_is_hopeless(const struct returned_job *job)
{
    return returned_job_count(job) >= RETURNED_MOST_WORKERS;
}

unsigned returned_job_count(const struct returned_job *job)
{
    if (job == NULL)
        return 0;
    return job->ruled > job->count ? job->ruled : job->count;
}
