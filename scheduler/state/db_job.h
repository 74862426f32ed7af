/*
 * db_job: one of the scheduler's rare writes and reads: ending a lease, recording a run's progress,
 * marking workers, scanning for what the change stream has missed. The rules make it
 * (COMMAND_SUBMIT_DB_JOB); it comes back with EVENT_DB_JOB, which owns it. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_DB_JOB_H
#define SCHEDULER_STATE_DB_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/domain/foretold.h"
#include "common/domain/history.h"
#include "common/domain/job.h"
#include "common/domain/pause.h"
#include "common/domain/protocol_map.h"
#include "common/domain/run.h"
#include "common/domain/scheduling.h"
#include "common/store/job_times_store.h"
#include "common/store/lease_store.h"
#include "common/store/run_store.h"
#include "common/store/signal_store.h"
#include "common/store/worker_store.h"
#include "scheduler/state/webhook_event.h"

enum db_job_kind {
    DB_JOB_END_LEASE,
    DB_JOB_SAVE_RUN,
    DB_JOB_PLACE_RUN,
    DB_JOB_MARK_WORKERS,
    DB_JOB_NOTE_GRADERS,
    DB_JOB_DELETE_WORKER, /* with its pause */
    DB_JOB_READ_WORKER,
    DB_JOB_SAMPLE_CLOCK, /* the database's clock */
    DB_JOB_FIND_RUNS,    /* the active ones */
    DB_JOB_FIND_RESULTS, /* of a list of jobs; each is posted as an EVENT_RESULT, and each of their
                            leases that was returned as an EVENT_RETURNED */
    DB_JOB_FIND_SIGNALS, /* that the change stream should have delivered */
    DB_JOB_REMOVE_RUNS,  /* that ended long ago */
    DB_JOB_REMOVE_ORPHANS,
    DB_JOB_REMOVE_AUDIT,  /* entries of the audit that are old */
    DB_JOB_READ_PAUSES,   /* all, and the settings of the queue's order; those that have passed long
                             ago, and those of runs that are over or   gone, are deleted */
    DB_JOB_INSERT_PAUSE,  /* an automatic one */
    DB_JOB_FORGET_PAUSES, /* of a run that has ended */
    DB_JOB_RECORD_EVENTS, /* nothing but its events */
    DB_JOB_RECORD_SAMPLE, /* of the history */
    DB_JOB_READ_TIMES,    /* that jobs take */
    DB_JOB_SAVE_TIMES
};

struct db_job {
    enum db_job_kind kind;
    int64_t generation;
    enum bw_code code;                /* once done: BW_OK, or BW_UNAVAILABLE: unknown */
    struct webhook_event_list events; /* of one run at most; owned. Recorded before the job is
                                         done; if that fails, it is not done */
    union {
        struct {
            char job[JOB_ID_SIZE];
            uint32_t attempt;
            int64_t term;
            enum lease_end end;
            bool has_ended; /* once done: this job ended the lease */
        } lease;
        struct {
            char id[RUN_ID_SIZE];
            enum run_phase phase;
            int64_t ended_ms; /* database date of the end (0: now); used if the phase is over */
            uint8_t *summary; /* owned */
            uint32_t summary_length;
            struct breaker breaker;        /* as of the same moment */
            struct foretold_ends foretold; /* stored with the run's end */
        } run;
        struct {
            char id[RUN_ID_SIZE];
            struct run_place place;
        } placed;
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
            struct faulty_workers faulty[PROTOCOLS];
        } graders;
        struct {
            char replica[WORKER_ID_SIZE]; /* through which it was first seen */
            struct worker worker;         /* in: its id; once done: all of it */
        } read;
        struct {
            struct run *runs; /* once done; owned, without summaries */
            size_t count;
        } found;
        struct {
            char (*jobs)[JOB_ID_SIZE]; /* owned */
            uint32_t *attempts;        /* that are leased; owned */
            size_t count;
        } wanted;
        struct {
            int64_t age_ms;         /* signals that are no older */
            struct signal *signals; /* once done; owned */
            size_t count;
        } found_signals;
        struct {
            int64_t now_ms;    /* the database's date */
            int64_t retain_ms; /* how old what is removed must be */
            int64_t job_timeout_ms;
            size_t count; /* once done: how many */
        } removed;
        struct {
            int64_t read;         /* the number of this read */
            int64_t date_ms;      /* the database's date */
            struct pause *pauses; /* once done; owned */
            size_t count;
            struct scheduling scheduling; /* once done; owned */
        } pauses;
        struct pause pause;           /* to be inserted, or of the run that has ended */
        struct history_sample sample; /* owned */
        struct {
            struct job_times_record *records; /* to be saved, or once read; owned */
            size_t count;
            int64_t term; /* in which they are read or were learned */
        } times;
    };
    struct db_job *next; /* in the list that holds it */
};

/* A zeroed database job; never NULL. */
struct db_job *db_job_new(enum db_job_kind kind, int64_t generation);
/* Frees a database job and what it owns; NULL is allowed. */
void db_job_free(struct db_job *db_job);

#endif
