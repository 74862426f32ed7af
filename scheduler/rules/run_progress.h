/*
 * run_progress: a run from its start to its end: results, phases, cancellation, and saving its
 * state. Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_RUN_PROGRESS_H
#define SCHEDULER_RULES_RUN_PROGRESS_H

#include <stdint.h>

#include "scheduler/state/event.h"
#include "scheduler/state/scheduler.h"

/* A run was started or cancelled, or was found by a scan. Takes over what `run` owns. */
void run_changed(struct scheduler *scheduler, struct run *run);

/* A result was stored (`result` is borrowed): completes its job. Repeated calls change nothing. */
void result_seen(struct scheduler *scheduler, const struct result *result);

/* EVENT_GIVEN_UP: the insert of a result is complete. `result`: the job's stored result;
 * `inserted`: the outcome that was to be inserted. */
void run_result_completed(struct scheduler *scheduler, const struct result *result,
                          enum job_outcome inserted, enum commit_outcome outcome);

/* DB_JOB_SAVE_RUN is done. */
void run_save_completed(struct scheduler *scheduler, struct db_job *db_job);

/* Saves the runs that have changed, each at most once a second. */
void run_progress_tick(struct scheduler *scheduler);

/* ---- For recovery ---- */

/* Enters a result into the run's summary and counts. */
void run_note_result(struct active_run *run, uint32_t slot, const struct result *result,
                     uint32_t attempts);

/* The phase that follows from the results. */
enum run_phase run_current_phase(const struct active_run *run);

/* The slots of a phase's jobs: [*first, *end). */
void run_phase_slots(const struct active_run *run, enum run_phase phase, uint32_t *first,
                     uint32_t *end);
/* The kind of the jobs that are handed out in a phase. */
enum job_kind run_phase_kind(enum run_phase phase);

/* Continues the run from the state that was read: queues, gives up or completes its jobs. */
void run_resume(struct scheduler *scheduler, struct active_run *run);

#endif
