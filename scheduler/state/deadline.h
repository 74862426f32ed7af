/*
 * deadline: how long a job may take: the sum of its stages' limits. A stage's limit is its timeout,
 * or --job-timeout if it has none. If all stages have a timeout, a minute is added for the grader's
 * own work around them; --job-timeout includes that. Pure; safe from any thread.
 */
#ifndef SCHEDULER_STATE_DEADLINE_H
#define SCHEDULER_STATE_DEADLINE_H

#include <stdint.h>

#include "common/store/run_store.h"

/* The limit of a job of that kind, in milliseconds from its hand-out. */
int64_t deadline_of_job(const struct run *run, enum job_kind kind, int64_t job_timeout_ms);

/* The longest limit among the run's kinds of jobs, in milliseconds. */
int64_t deadline_of_run(const struct run *run, int64_t job_timeout_ms);

/* The time left, in milliseconds, for a job that another leader handed out. `deadline_ms` and
 * `now_ms` are database dates, and the database's clock may have been stepped between them: an
 * impossible difference (none left, or more than limit_ms) is replaced by the whole limit. limit_ms
 * 0: the limit is unknown, so the plain difference is returned, which may be negative. */
int64_t deadline_time_left(int64_t deadline_ms, int64_t limit_ms, int64_t now_ms);

#endif
