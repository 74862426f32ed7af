/*
 * supersede: a job with a supersede key replaces the older one with the same key: what is queued
 * ends as superseded, and its place goes to the newer run; what runs is told to stop, or goes on
 * and counts for nothing. Older and newer is by the starts of the runs, then by their ids, so that
 * a new leader decides the same. The insert of the superseded result decides against a grader's
 * result.
 *
 * A run that has superseded others isn't recorded as over before their results are inserted: until
 * then a new leader finds it, and decides again. Its place is recorded before it inserts them.
 * While its end is being recorded, it supersedes nothing more: an older run whose start is seen so
 * late runs. Jobs of a run that is over are not superseded.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_SUPERSEDE_H
#define SCHEDULER_RULES_SUPERSEDE_H

#include <stdbool.h>

#include "scheduler/state/scheduler.h"

/* A run with or without keys was started: withholds the jobs that it supersedes, or its own that
 * are superseded, and begins to end them. Called before its jobs are in the queue. */
void supersede_run_started(struct scheduler *scheduler, struct active_run *run);

/* After recovery: the same for all active runs, in order of their starts. */
void supersede_recover(struct scheduler *scheduler);

/* Goes on with the results that the run has to insert. Once per tick. */
void supersede_tick(struct scheduler *scheduler, struct active_run *run);

/* DB_JOB_PLACE_RUN is done. */
void supersede_place_completed(struct scheduler *scheduler, const struct db_job *db_job);

/* Whether jobs that the run supersedes have no result yet. */
bool supersede_is_pending(const struct active_run *run);

#endif
