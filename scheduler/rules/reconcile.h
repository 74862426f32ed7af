/*
 * sweep: what the change stream should have told and perhaps did not, looked up now and then: runs
 * that were started or cancelled, results of jobs that are leased, signals of replicas when none
 * come. A lost event costs seconds, never a run. And, more rarely, what is to be removed
 * (retention.h). The database's clock is read every second. How many hand-outs each worker has had
 * is recorded by the way. Belongs to the scheduler's core thread; the looking is a database job.
 */
#ifndef SCHEDULER_RULES_RECONCILE_H
#define SCHEDULER_RULES_RECONCILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/domain/job.h"

struct core;
struct db_job;

struct reconcile {
    int64_t begun_ms;
    unsigned under_way;
    size_t first_lease;          /* where the next look at leased jobs begins */
    char (*missed)[RUN_ID_SIZE]; /* active runs that the last look found and the queue lacks */
    size_t missed_count;
    int64_t streamed_ms;          /* when the change stream brought a signal last */
    int64_t heard_ms;             /* when it was last looked for signals */
    bool is_looking;              /* for signals, at this moment */
    int64_t sampled_ms;           /* when the database's clock was last asked for */
    bool is_sampling;             /* at this moment */
    int64_t aged_ms, orphaned_ms; /* when it was last looked for old runs, and for orphans */
    int64_t counted_ms;           /* when workers' hand-outs were last recorded */
    size_t first_worker;          /* where that goes on */
};

/* Begins a look when it is time. */
void reconcile_tick(struct core *core);

/* A look is done. */
void reconcile_seen(struct core *core, struct db_job *db_job);

/* Forgets what was seen. */
void reconcile_reset(struct reconcile *reconcile);

#endif
