/*
 * core: the scheduler's state and the one thread that owns it. It takes events from the inbox,
 * changes the tables, and leaves everything slow to others: leases and results to their group
 * commits, rare writes to the database jobs, HTTP to the callbacks. Everything declared here runs
 * on that thread.
 *
 *   core.c      the loop: recover, take events, tick
 *   recovery.c  the start-up path, and the only one
 *   hearing.c   what replicas signal: polls, heartbeats, announcements
 *   hand_out.c  matching polls with jobs, inserting leases
 *   contact.c   callbacks to the replicas and their answers
 *   requeue.c   the ends of leases: lost, expired, released; giving a job up
 *   progress.c  results, phases, and what is recorded of a run
 *   questions.c what replicas ask for their clients, and the ends of websockets
 *   watching.c  what those who follow a job or a run are told
 *   untouched.c runs that recovery need not read
 *   grader_presence.c  of which protocol no grader is alive
 *   sweep.c     what the change stream should have told, looked up now and then
 */
#ifndef SCHEDULER_CORE_CORE_H
#define SCHEDULER_CORE_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/db/database.h"
#include "common/store/lease_store.h"
#include "common/store/replica_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "common/store/signal_store.h"
#include "common/store/worker_store.h"
#include "scheduler/io/callbacks.h"
#include "scheduler/io/db_jobs.h"
#include "scheduler/io/inbox.h"
#include "scheduler/io/leader.h"
#include "scheduler/state/kept_deadlines.h"
#include "scheduler/state/lease_table.h"
#include "scheduler/state/queue.h"
#include "scheduler/state/replica_table.h"
#include "scheduler/rules/reconcile.h"
#include "scheduler/io/change_stream.h"
#include "scheduler/state/worker_table.h"

struct scheduler_options;
struct metrics;
struct status;

/* What is to be recorded of workers, in this order. */
struct worker_marks {
    struct worker_mark *list; /* owned */
    size_t count, room;
    bool is_under_way; /* a batch that was taken out of it */
};

/* grader_presence.c */
struct grader_presence {
    int64_t since_ms[PROTOCOLS]; /* clock_boot_ms since when no grader is alive; 0: one is */
    int64_t recorded_ms[PROTOCOLS], recorded_term; /* what the leader's document says: dates */
    bool is_under_way;                             /* being recorded */
};

struct core {
    /* made by main, fixed */
    const struct scheduler_options *options;
    int64_t heartbeat_ms, job_timeout_ms;
    uint32_t max_attempts;
    struct database *database;
    struct run_store *runs;
    struct lease_store *lease_store;
    struct result_store *results;
    struct worker_store *worker_store;
    struct replica_store *replica_store;
    struct signal_store *signals;
    struct leader_store *leader_store;
    struct leadership *leadership;
    struct inbox *inbox;
    struct db_jobs *db_jobs;
    struct callbacks *callbacks;
    struct metrics *metrics;
    struct status *status;
    char holder[WORKER_ID_SIZE]; /* this process's name in the leader document */

    /* of one term */
    int64_t term;
    /* of one recovery; completions that carry another generation are dropped */
    int64_t generation;
    struct change_stream *change_stream;
    struct queue queue;
    struct worker_table workers;
    struct replica_table replicas;
    struct lease_table leases;
    struct kept_deadlines kept_deadlines; /* of the leases before the last core_reset */
    int64_t now_ms;                       /* clock_boot_ms as of the events at hand */
    int64_t opens_ms; /* from when anything is handed out: once the replicas have seen this
                         term and have announced */
    int64_t ticked_ms;
    int64_t purged_ms;
    uint32_t giving_up;         /* results of jobs given up that are not on record yet */
    struct ended_worker *ended; /* whose end somebody waits for: questions.c */
    int64_t watch_ms;           /* not before this are watchers told anything: watching.c */
    int64_t published_ms;       /* when the metrics were counted last */
    int64_t looked_ms;          /* when the workers were looked at last */
    struct asked_worker *asked; /* workers that nobody told of, asked for a moment ago */
    struct worker_marks marks;  /* hearing.c */
    struct grader_presence graders;
    struct reconcile reconcile;
    bool must_recover; /* what this state says can't be trusted any longer */
    bool is_stopping;
    bool status_is_stale;
};

/* Leads for one term: recovers, works, recovers again where it must, until stopped or deposed. */
void core_lead(struct core *core, int64_t term);

/* Brings the state up from the database. BW_UNAVAILABLE: try again. */
enum bw_code core_recover(struct core *core, struct bw_error *error) BW_CHECKED;

/* Recovery: marks the active runs of which no job of their phase was ever handed out. */
enum bw_code recovery_probe_find(struct core *core, struct bw_error *error) BW_CHECKED;

/* Forgets everything. */
void core_reset(struct core *core);

/* Frees an event and what it owns. */
void core_discard(struct event *event);

/* hearing.c */
/* False: it was heard before, or a later one of its replica was. */
bool hear_signal(struct core *core, const struct signal *signal);
void hear_worker(struct core *core, const struct worker *worker);
void worker_was_read(struct core *core, const struct db_job *db_job);
void forget_asked_workers(struct core *core, int64_t before_ms);
/* Notes for the record whether the worker is alive, and how it behaves. */
void record_worker(struct core *core, struct known_worker *worker);
/* Sends what was noted, unless an earlier batch is under way; and the answer to one. */
void workers_record_round(struct core *core);
void workers_recorded(struct core *core);
void worker_marks_forget(struct core *core);
void hear_of_life(struct core *core, struct known_worker *worker, int64_t heard_ms,
                  const char *replica);

/* hand_out.c */
enum { GONE_HOLD_MS = 5000 }; /* a job whose poll was gone is kept so long for its worker */
void hand_out_round(struct core *core);
void hand_out_leased(struct core *core, struct pending_lease *pending);
void answer_empty(struct core *core, struct known_replica *replica, int64_t poll);
void lease_becomes_unconfirmed(struct core *core, struct live_lease *lease, int64_t hold_ms);
void lease_is_delivered(struct core *core, struct live_lease *lease);
void pending_lease_free(struct pending_lease *pending);
/* Gives the poll back to the waiters; its worker may be gone. */
void return_poll(struct core *core, struct parked_poll *poll, const char *worker_id);

/* contact.c */
/* Posts a callback to each replica that has something to be told and none under way. */
void replicas_tell(struct core *core);
void callback_answered(struct core *core, struct callback *callback);
void replica_lost_contact(struct core *core, struct known_replica *replica);
void replica_changed_process(struct core *core, struct known_replica *replica, const char *process);

/* requeue.c */
void lease_begin_end(struct core *core, struct live_lease *lease, enum lease_end end);
void lease_ended(struct core *core, struct db_job *db_job);
void given_up_settled(struct core *core, struct pending_result *pending);
void pending_result_free(struct pending_result *pending);
void requeue_tick(struct core *core);
/* What the worker had is lost; what it may never have had goes back without a failed attempt. */
void worker_lost(struct core *core, struct known_worker *worker);
uint32_t run_max_attempts(const struct core *core, const struct active_run *run);
void failed_attempts_add(struct failed_attempts *failed_attempts, enum lease_end end);
/* Queues the job's next attempt, or gives it up if it has had enough. `avoid` may be "". */
void job_try_again(struct core *core, struct active_run *run, uint32_t slot, uint32_t attempt,
                   const struct failed_attempts *failed_attempts, const char *avoid);
/* Inserts a result of the scheduler's own. */
void job_settle(struct core *core, struct active_run *run, uint32_t slot, enum job_outcome outcome,
                uint32_t attempts, const char *reason);

/* questions.c */
void hear_queries(struct core *core, struct known_replica *replica, const struct signal *signal);
/* Answers those who wait for a worker's end to be on record. */
void scheduler_queries_round(struct core *core);
void scheduler_queries_forget(struct core *core);
/* The process at which these websockets were open is no more. */
void sockets_lost(struct core *core, const struct known_replica *replica);
/* The id of a worker that was known has been registered again. */
void worker_registered_again(struct core *core, struct known_worker *worker,
                             const struct worker *registered);

/* grader_presence.c */
/* What the leader before has said, as a new leader found it. */
void grader_presence_take_over(struct core *core, const struct leader *leader);
/* Counts the graders that are alive, and records of which protocol there is none. */
void grader_presence_count(struct core *core);
void grader_presence_noted(struct core *core, const struct db_job *db_job);

/* progress.c */
/* A run was started or cancelled, or is merely found; takes what it owns. */
void run_changed(struct core *core, struct run *run);
void result_seen(struct core *core, const struct result *result);
void run_advance(struct core *core, struct active_run *run);
void run_note_result(struct active_run *run, uint32_t slot, const struct result *result,
                     uint32_t attempts);
enum run_phase run_current_phase(const struct active_run *run);
void run_phase_slots(const struct active_run *run, enum run_phase phase, uint32_t *first,
                     uint32_t *end);
enum job_kind run_phase_kind(enum run_phase phase);
void run_saved(struct core *core, struct db_job *db_job);
/* After recovery: begins what the run's facts ask for. */
void run_resume(struct core *core, struct active_run *run);
void progress_tick(struct core *core);

#endif
