#include "scheduler/rules/asked_workers.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/alloc.h"

void asked_workers_ask(struct scheduler *scheduler, const char *id, const char *replica)
{
    struct asked_worker *asked;
    HASH_FIND_STR(scheduler->asked, id, asked);
    if (asked != NULL)
        return;
    asked = bw_alloc(sizeof *asked);
    snprintf(asked->id, sizeof asked->id, "%s", id);
    asked->asked_ms = scheduler->now_ms;
    HASH_ADD_STR(scheduler->asked, id, asked);
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_READ_WORKER);
    snprintf(db_job->read.replica, sizeof db_job->read.replica, "%s", replica);
    snprintf(db_job->read.worker.id, sizeof db_job->read.worker.id, "%s", id);
    scheduler_submit(scheduler, db_job);
}

void asked_workers_forget(struct scheduler *scheduler, int64_t before_ms)
{
    struct asked_worker *asked, *following;
    HASH_ITER (hh, scheduler->asked, asked, following) {
        if (asked->asked_ms > before_ms)
            continue;
        HASH_DELETE(hh, scheduler->asked, asked);
        free(asked);
    }
}
