/*
 * deadline: how long a job may take. If all its stages have a timeout: their sum and a minute;
 * otherwise that sum or --job-timeout, the longer. Pure; safe from any thread.
 */
#ifndef SCHEDULER_DEADLINE_H
#define SCHEDULER_DEADLINE_H

#include <stdint.h>

#include "common/store/run_store.h"

/* Milliseconds from the hand-out of a job of that kind. */
int64_t deadline_of_job(const struct run *run, enum job_kind kind, int64_t job_timeout_ms);

/* The longest of the run's kinds of jobs. */
int64_t deadline_of_run(const struct run *run, int64_t job_timeout_ms);

#endif
