/*
 * db_jobs: the scheduler's rare writes and reads, done by a few threads of their own so that the
 * core never waits for the database: ending a lease, recording a run's progress, marking a worker,
 * looking for what the change stream has not told. Each comes back to the inbox as EVENT_DB_JOB.
 */
#ifndef SCHEDULER_IO_DB_JOBS_H
#define SCHEDULER_IO_DB_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/domain/run.h"
#include "common/store/leader_store.h"
#include "common/store/lease_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "common/store/signal_store.h"
#include "common/store/worker_store.h"
#include "scheduler/io/inbox.h"

enum db_job_kind {
    DB_JOB_END_LEASE,
    DB_JOB_SAVE_RUN,
    DB_JOB_MARK_WORKERS,
    DB_JOB_NOTE_GRADERS,
    DB_JOB_DELETE_WORKER,
    DB_JOB_READ_WORKER,
    DB_JOB_SAMPLE_CLOCK, /* the database's */
    DB_JOB_FIND_RUNS,    /* the active ones */
    DB_JOB_FIND_RESULTS, /* of some jobs: each comes as an EVENT_RESULT of its own */
    DB_JOB_FIND_SIGNALS, /* that the change stream should have told */
    DB_JOB_REMOVE_RUNS,  /* that ended long ago */
    DB_JOB_REMOVE_ORPHANS
};

struct db_job {
    enum db_job_kind kind;
    int64_t generation;
    enum bw_code code; /* once done: BW_OK, or BW_UNAVAILABLE: unknown */
    union {
        struct {
            char job[JOB_ID_SIZE];
            uint32_t attempt;
            int64_t term;
            enum lease_end end;
            bool has_ended; /* once done: it was this that ended it */
        } lease;
        struct {
            char id[RUN_ID_SIZE];
            enum run_phase phase;
            int64_t ended_ms; /* database date of the end, or 0: now; where the phase is over */
            uint8_t *summary; /* owned */
            uint32_t summary_length;
        } run;
        struct {
            struct worker_mark *list; /* owned */
            size_t count;
        } marks;
        struct {
            char id[WORKER_ID_SIZE];
        } worker;
        struct {
            char holder[WORKER_ID_SIZE];
            int64_t term;
            int64_t since_ms[PROTOCOLS];
        } graders;
        struct {
            char replica[WORKER_ID_SIZE]; /* through which it was heard of */
            struct worker worker;         /* its id; once done, all of it */
        } read;
        struct {
            struct run *runs; /* once done; owned, without summaries */
            size_t count;
        } found;
        struct {
            char (*jobs)[JOB_ID_SIZE]; /* owned */
            size_t count;
        } wanted;
        struct {
            int64_t age_ms;         /* those that are no older */
            struct signal *signals; /* once done; owned */
            size_t count;
        } unheard;
        struct {
            int64_t now_ms, before_ms; /* database dates: runs that ended before the second */
            int64_t job_timeout_ms;
            size_t count; /* once done: how many */
        } removed;
    };
    struct db_job *next;
};

struct db_jobs;
struct retention;

/* Where database jobs are done. Borrowed until db_jobs_close. */
struct db_jobs_settings {
    struct database *database;
    struct run_store *runs;
    struct lease_store *leases;
    struct worker_store *workers;
    struct result_store *results;
    struct signal_store *signals;
    struct leader_store *leader;
    struct retention *retention;
    struct inbox *inbox;
    struct fence fence; /* closed: database jobs come back undone, as unknown */
};

struct db_jobs *db_jobs_open(const struct db_jobs_settings *settings);

/* Does what is queued, then ends the threads. NULL is fine. */
void db_jobs_close(struct db_jobs *db_jobs);

/* A zeroed database job; never NULL. */
struct db_job *db_job_new(enum db_job_kind kind, int64_t generation);
void db_job_free(struct db_job *db_job);

/* Queues it; it comes back with EVENT_DB_JOB and is then the core's to free. */
void db_jobs_submit(struct db_jobs *db_jobs, struct db_job *db_job);

#endif
