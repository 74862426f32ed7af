/*
 * deadline: how long a job may take: the sum of its stages' limits. A stage's limit is its timeout,
 * or --job-timeout if it has none. If all stages have a timeout, a minute is added for what the
 * grader does around them; --job-timeout leaves room for that. Pure; safe from any thread.
 */
#ifndef SCHEDULER_STATE_DEADLINE_H
#define SCHEDULER_STATE_DEADLINE_H

#include <stdint.h>

#include "common/store/run_store.h"

/* Milliseconds from the hand-out of a job of that kind. */
int64_t deadline_of_job(const struct run *run, enum job_kind kind, int64_t job_timeout_ms);

/* The longest of the run's kinds of jobs. */
int64_t deadline_of_run(const struct run *run, int64_t job_timeout_ms);

/* How long a job that another leader handed out may still take, in milliseconds. `deadline_ms` and
 * `now_ms` are database dates, which a step of the database's clock sets apart: a time left that
 * can't be true (none, or more than limit_ms) is replaced by the whole limit. limit_ms 0: the limit
 * is not known, and the dates decide; then the result may be negative. */
int64_t deadline_time_left(int64_t deadline_ms, int64_t limit_ms, int64_t now_ms);

#endif
