/*
 * webhooks: decides what webhooks are told (docs/webhooks.md). Events of runs are recorded before
 * what they tell is recorded for good, so that no leader can know the one without the other: they
 * go with a database job (db_job.events). Other events wait for the next tick, which gives them a
 * database job of their own, repeated until it succeeds.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_WEBHOOKS_H
#define SCHEDULER_RULES_WEBHOOKS_H

#include "common/store/result_store.h"
#include "scheduler/state/scheduler.h"

/* A job of the run has failed for good: the event goes with the next save of the run. */
void webhooks_note_failure(struct active_run *run, uint32_t slot, const struct result *result,
                           uint32_t attempts);

/* Gives a save of the run its events: those of failed jobs, and the end of the run. */
void webhooks_take_run(struct scheduler *scheduler, struct active_run *run, struct db_job *db_job);

/* The save has failed: the events go with the next one. */
void webhooks_keep_run(struct active_run *run, struct db_job *db_job);

/* Gives the insert of a breaker's pause its event. `run` may be NULL. */
void webhooks_take_pause(struct scheduler *scheduler, const struct active_run *run,
                         const struct pause *pause, struct db_job *db_job);

/* Tells of the run's manual pause, if it was not told. */
void webhooks_check_pause(struct scheduler *scheduler, struct active_run *run);

/* A worker is lost, with the jobs that it holds. */
void webhooks_worker_lost(struct scheduler *scheduler, const struct known_worker *worker);

/* No grader of the protocol is alive since that date, while jobs wait: told once per date. */
void webhooks_check_missing(struct scheduler *scheduler, enum protocol protocol, int64_t since_ms);

/* A database job of the events' own is done. */
void webhooks_completed(struct scheduler *scheduler, struct db_job *db_job);

/* Submits one database job for the events that wait, or could not be recorded. */
void webhooks_tick(struct scheduler *scheduler);

#endif
