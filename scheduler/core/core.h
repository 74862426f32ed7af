/*
 * core: the one thread that owns the scheduler's state. It takes events from the inbox, lets the
 * rules decide (rules/decide.h), and carries out the commands that they leave: leases and results
 * go to their group commits, rare reads and writes to the database jobs, HTTP to the callbacks.
 * Every function declared here runs on that thread.
 *
 *   core.c            the loop: recover, take events, tick
 *   carry_out.c       commands
 *   recovery.c        reads the state from the database, at startup and after every loss
 *   recovery_probe.c  finds the runs that recovery need not read
 */
#ifndef SCHEDULER_CORE_CORE_H
#define SCHEDULER_CORE_CORE_H

#include <stdint.h>

#include "common/base/error.h"
#include "common/db/database.h"
#include "common/store/leader_store.h"
#include "common/store/lease_store.h"
#include "common/store/pause_store.h"
#include "common/store/scheduling_store.h"
#include "common/store/replica_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "common/store/signal_store.h"
#include "common/store/worker_store.h"
#include "scheduler/io/callbacks.h"
#include "scheduler/io/change_stream.h"
#include "scheduler/io/db_jobs.h"
#include "scheduler/io/inbox.h"
#include "scheduler/io/leader.h"
#include "scheduler/state/scheduler.h"

struct scheduler_options;
struct metrics;
struct status;

struct core {
    /* set by main, fixed */
    const struct scheduler_options *options;
    struct database *database;
    struct run_store *runs;
    struct lease_store *lease_store;
    struct result_store *results;
    struct worker_store *worker_store;
    struct replica_store *replica_store;
    struct signal_store *signals;
    struct leader_store *leader_store;
    struct pause_store *pause_store;
    struct scheduling_store *scheduling_store;
    struct leadership *leadership;
    struct inbox *inbox;
    struct db_jobs *db_jobs;
    struct callbacks *callbacks;
    struct metrics *metrics;
    struct status *status;
    struct otlp *otlp; /* NULL: spans are not exported */

    struct change_stream *change_stream; /* of one recovery */
    struct scheduler scheduler;
};

/* Leads for the term in `leader`: recovers, handles events, and recovers again when the state can't
 * be trusted. Returns when stopped or deposed. */
void core_lead(struct core *core, const struct leader *leader);

/* core/carry_out.c: carries out the commands that the rules have left, in order. */
void core_carry_out(struct core *core);

/* core/recovery.c: reads the state from the database, and leaves commands for the work that follows
 * from it. BW_UNAVAILABLE: try again, after core_reset. */
enum bw_code core_recover(struct core *core, struct bw_error *error) BW_CHECKED;

/* core/recovery.c: drops the state and closes the change stream. */
void core_reset(struct core *core);

/* core/recovery_probe.c: marks the active runs that never had a job of their current phase handed
 * out. BW_UNAVAILABLE: try again, after core_reset. */
enum bw_code recovery_probe_find(struct core *core, struct bw_error *error) BW_CHECKED;

#endif
