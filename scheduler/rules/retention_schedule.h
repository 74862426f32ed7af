/*
 * retention_schedule: when the database is searched for what is to be removed: runs that ended
 * longer than --retain-runs ago, entries of the audit that are older than --retain-audit, and every
 * --orphan-age what has no owner. io/retention.h decides
 * which runs are deleted; the database jobs carry it out, one of a kind at a time. Belongs to the
 * scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_RETENTION_SCHEDULE_H
#define SCHEDULER_RULES_RETENTION_SCHEDULE_H

#include "scheduler/state/scheduler.h"

/* Begins a removal when it is time. */
void retention_schedule_tick(struct scheduler *scheduler);

/* A removal is done, or has failed: then the next one goes on. */
void retention_schedule_completed(struct scheduler *scheduler, const struct db_job *db_job);

#endif
