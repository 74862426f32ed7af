/*
 * scheduler: the state of the rules: the settings, the tables, what is in flight, and the commands
 * that the rules have left. The driver (scheduler/core, or a simulator) sets the time (now_ms,
 * date_ms) before each call, and carries out the commands after it.
 *
 * Belongs to one thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_SCHEDULER_H
#define SCHEDULER_STATE_SCHEDULER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/job.h"
#include "common/domain/protocol_map.h"
#include "common/domain/scheduling.h"
#include "common/store/worker_store.h"
#include "scheduler/state/command.h"
#include "scheduler/state/history_table.h"
#include "scheduler/state/job_times_table.h"
#include "scheduler/state/kept_deadlines.h"
#include "scheduler/state/lease_table.h"
#include "scheduler/state/pause_table.h"
#include "scheduler/state/queue.h"
#include "scheduler/state/replica_table.h"
#include "scheduler/state/supersede_table.h"
#include "scheduler/state/webhook_event.h"
#include "scheduler/state/worker_group.h"
#include "scheduler/state/worker_table.h"

struct metrics;

/* Fixed at startup. */
struct scheduler_settings {
    char holder[WORKER_ID_SIZE]; /* this process's name in the leader document */
    int64_t heartbeat_ms, job_timeout_ms;
    int64_t retain_runs_ms; /* 0: for ever */
    int64_t orphan_age_ms;
    int64_t retain_audit_ms; /* 0: for ever */
    int64_t no_workers_ms;   /* without a live grader, while jobs wait, until webhooks are told */
    uint32_t max_attempts;
    bool exports_spans; /* and names them to graders */
};

/* The next batch of changes of workers to record, in this order. */
struct worker_marks {
    struct worker_mark *list; /* owned */
    size_t count, room;
    bool is_in_flight; /* an earlier batch is being written */
};

/* The protocols without a live grader that can work: rules/missing_graders. */
struct missing_graders {
    int64_t since_ms[PROTOCOLS]; /* clock_boot_ms since which no grader is alive without a fault; 0:
                                    one is */
    struct faulty_workers faulty[PROTOCOLS];       /* by the last count */
    int64_t recorded_ms[PROTOCOLS], recorded_term; /* in the leader's document; dates */
    struct faulty_workers recorded[PROTOCOLS];     /* in the same */
    bool is_in_flight;                             /* a record is being written */
};

/* What webhooks are told: rules/webhooks. */
struct webhook_progress {
    int64_t number;                       /* of the last event */
    struct webhook_event_list unrecorded; /* that wait for a database job; owned */
    int64_t again_ms;                     /* clock_boot_ms until which they wait after a failure */
    int64_t notified_missing_ms[PROTOCOLS]; /* dates since when no grader was alive; 0: not told */
};

/* The progress of the scans for missed events: rules/reconcile. */
struct reconcile {
    int64_t begun_ms;
    unsigned in_flight;
    size_t first_lease; /* where the next scan of leased jobs begins */
    char (
        *missed)[RUN_ID_SIZE]; /* owned: active runs that the last scan found and the queue lacks */
    size_t missed_count;
    int64_t streamed_ms; /* when the change stream brought a signal last */
    int64_t scanned_ms;  /* when signals were last looked for */
    bool is_scanning;    /* for signals, at this moment */
    int64_t sampled_ms;  /* when the database's clock was last asked for */
    bool is_sampling;    /* at this moment */
    int64_t counted_ms;  /* when workers' hand-outs were last recorded */
    size_t first_worker; /* where that goes on */
};

/* What is being removed: rules/retention_schedule. */
struct retention_schedule {
    /* when it was last begun to remove old runs, orphans, and old entries of the audit */
    int64_t runs_ms, orphans_ms, audit_ms;
    bool is_removing_runs, is_removing_orphans, is_removing_audit; /* at this moment */
};

/* A worker that a replica names and whose registration the change stream has not delivered. */
struct asked_worker {
    char id[WORKER_ID_SIZE]; /* key */
    int64_t asked_ms;
    UT_hash_handle hh;
};

/* A worker whose websocket has ended, and a replica that waits until that is stored. */
struct ended_worker {
    char worker[WORKER_ID_SIZE];
    char replica[WORKER_ID_SIZE], process[33];
    int64_t query;
    struct ended_worker *next;
};

struct scheduler {
    struct scheduler_settings settings;
    struct metrics *metrics; /* borrowed */

    /* set by the driver before each call */
    int64_t now_ms;         /* clock_boot_ms of this batch of events */
    int64_t date_ms;        /* the database's date at now_ms */
    int64_t stream_seen_ms; /* clock_boot_ms when the change stream last answered */
    bool is_stopping;       /* no more jobs are handed out; also set by EVENT_STOP */

    /* for the driver */
    struct command_list commands;
    bool must_recover;    /* this state may be wrong: recover */
    bool status_is_stale; /* the served status of the replicas must be updated */

    /* of one term */
    int64_t term;
    struct missing_graders graders;
    struct webhook_progress webhooks; /* what it tells is kept by scheduler_reset */
    struct history_table history;     /* kept by scheduler_reset */
    struct job_times_table job_times; /* the same */

    /* of one recovery; completions that carry another generation are dropped */
    int64_t generation;
    struct queue queue;
    struct worker_table workers;
    struct replica_table replicas;
    struct lease_table leases;
    struct supersede_table supersedes;    /* its usual times are kept by scheduler_reset */
    struct kept_deadlines kept_deadlines; /* of the leases before the last scheduler_reset */
    struct worker_marks marks;
    struct reconcile reconcile;
    struct retention_schedule retention;
    struct pause_table pauses;
    struct scheduling scheduling; /* as last read: rules/sharing */
    uint64_t scheduling_version;
    struct worker_groups groups;
    struct asked_worker
        *asked; /* unknown workers whose registration is being read or was read recently */
    struct ended_worker
        *ended;          /* ended websockets with a query about their end: rules/query_answers */
    json_t *worker_list; /* of this round: rules/query_answers; own, NULL: not made */
    size_t worker_list_bytes;
    int64_t listed_ms;   /* when it was last made */
    uint32_t giving_up;  /* results of given-up jobs that are being inserted */
    bool is_handing_out; /* a round is in progress: rules/decide */
    int64_t opens_ms;    /* when hand-outs open: rules/decide */
    int64_t ticked_ms;
    int64_t purged_ms;          /* when dead workers were last removed */
    int64_t workers_scanned_ms; /* when the workers were last scanned */
    int64_t watch_ms;           /* when the next events are sent: rules/watch_notify */
    int64_t published_ms;       /* when the metrics were last computed */
    int64_t estimated_ms;       /* when those of rules/estimate are computed next */
    int64_t foretold_ms;        /* when ends of runs are foretold next: the same */
};

/* Exports a span; `span` is copied. */
void scheduler_export_span(struct scheduler *scheduler, const struct span *span);

/* An empty state; `settings` is copied, `metrics` borrowed. */
void scheduler_init(struct scheduler *scheduler, const struct scheduler_settings *settings,
                    struct metrics *metrics);

/* Drops everything except settings, term, time and the leases' deadlines (kept_deadlines),
 * including commands that were not carried out. A new generation begins. */
void scheduler_reset(struct scheduler *scheduler);

/* How many answers may be made at a time that survey all that waits or all graders, so that they
 * take some milliseconds: 1 to 64. */
unsigned scheduler_surveys_at_once(const struct scheduler *scheduler);

/* Frees what it owns. */
void scheduler_destroy(struct scheduler *scheduler);

/* Append a command. Arguments are copied; a callback or database job is owned by the command. */
void scheduler_insert_lease(struct scheduler *scheduler, const struct lease_insert *lease);
void scheduler_insert_result(struct scheduler *scheduler, const struct result *result);
void scheduler_post_callback(struct scheduler *scheduler, struct callback *callback);
void scheduler_submit(struct scheduler *scheduler, struct db_job *db_job);
void scheduler_distrust_leadership(struct scheduler *scheduler);

/* A zeroed database job of this generation; never NULL. */
struct db_job *scheduler_db_job(const struct scheduler *scheduler, enum db_job_kind kind);

#endif
