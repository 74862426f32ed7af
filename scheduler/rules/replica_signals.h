/*
 * replica_signals: applies the replicas' signals (polls, heartbeats, deliveries, full resyncs,
 * queries, watches) and workers' registrations to the tables. Belongs to the scheduler's core
 * thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_REPLICA_SIGNALS_H
#define SCHEDULER_RULES_REPLICA_SIGNALS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/signal_store.h"
#include "scheduler/state/scheduler.h"

/* Applies a signal. False: it, or a later one of its replica, was applied before. */
bool replica_signals_take(struct scheduler *scheduler, const struct signal *signal);

/* A worker was registered, or its registration was read. */
void replica_signals_take_worker(struct scheduler *scheduler, const struct worker *worker);

/* DB_JOB_READ_WORKER is done. */
void replica_signals_take_read(struct scheduler *scheduler, const struct db_job *db_job);

#endif
