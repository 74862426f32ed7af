/*
 * job_times: learns from results how long jobs take (state/job_times_table.h), and keeps it in the
 * database: a new leader reads what the last one knew as soon as it leads, and adds it to what it
 * has learned meanwhile; every ten seconds it saves what has changed. Until the read is complete
 * nothing is saved, so that nothing is lost. Belongs to the scheduler's core thread. Pure: no I/O,
 * no clock.
 */
#ifndef SCHEDULER_RULES_JOB_TIMES_H
#define SCHEDULER_RULES_JOB_TIMES_H

#include "scheduler/state/scheduler.h"

/* The lease's worker has reported a result for its job. */
void job_times_note_result(struct scheduler *scheduler, const struct live_lease *lease,
                           const struct result *result);

/* Begins a read or a save if it is due. */
void job_times_tick(struct scheduler *scheduler);

/* A read or a save of an earlier generation may be in flight: it counts as failed. */
void job_times_completed_late(struct scheduler *scheduler, const struct db_job *db_job);

/* A read or a save is done. */
void job_times_completed(struct scheduler *scheduler, const struct db_job *db_job);

#endif
