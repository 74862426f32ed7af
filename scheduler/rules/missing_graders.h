/*
 * missing_graders: the protocols of which no grader is alive without a fault. They are counted
 * periodically and recorded in the leader's document, from which every replica reads what a run is
 * waiting for. Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_MISSING_GRADERS_H
#define SCHEDULER_RULES_MISSING_GRADERS_H

#include "common/store/leader_store.h"
#include "scheduler/state/scheduler.h"

/* Takes over what the former leader has recorded in its document. */
void missing_graders_take_over(struct scheduler *scheduler, const struct leader *leader);

/* Counts the live graders of each protocol, and records the protocols that have none without a
 * fault. */
void missing_graders_count(struct scheduler *scheduler);

/* DB_JOB_NOTE_GRADERS is done. */
void missing_graders_completed(struct scheduler *scheduler, const struct db_job *db_job);

#endif
