/*
 * history: every ten seconds of the database's date the leader takes a sample of the cluster's load
 * and has it recorded (DB_JOB_RECORD_SAMPLE). Its first sample has what happened since it began to
 * lead. A step that ended without a leader, or without the database, has no sample. Belongs to the
 * scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_HISTORY_H
#define SCHEDULER_RULES_HISTORY_H

#include "scheduler/state/scheduler.h"

/* A job of the run was handed out. `wait_ms`: how long it had waited; -1: not for the first time.
 */
void history_note_hand_out(struct scheduler *scheduler, const struct active_run *run,
                           int64_t wait_ms);

/* A job of the run has its result. */
void history_note_result(struct scheduler *scheduler, const struct active_run *run,
                         enum job_outcome outcome);

/* Takes a sample if a step has ended. */
void history_tick(struct scheduler *scheduler);

#endif
