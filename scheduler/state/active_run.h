/*
 * active_run: a run that is started and not finished, as the scheduler knows it: its cursor, its
 * retries, what of it is under way. scheduler/state/queue.h has the functions.
 *
 * Belongs to the scheduler's core thread.
 */
#ifndef SCHEDULER_STATE_ACTIVE_RUN_H
#define SCHEDULER_STATE_ACTIVE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/foretold.h"
#include "common/domain/job.h"
#include "common/domain/run.h"
#include "common/store/run_store.h"
#include "scheduler/state/returned_jobs.h"
#include "scheduler/state/webhook_event.h"

struct course;
struct queue;
struct submitter;

/* How earlier attempts of a job failed, counted by reason. */
struct failed_attempts {
    uint32_t lost, expired, undeliverable;
};

/* An attempt after the first, or a first attempt that the cursor has passed. */
struct retry {
    uint32_t slot;
    uint32_t attempt;
    struct failed_attempts failed_attempts;
    int64_t due_ms;             /* clock_boot_ms from when it may be handed out */
    bool is_put_off;            /* all who waited had returned it: queue_put_off */
    char avoid[WORKER_ID_SIZE]; /* the worker that failed it: another is preferred */
    struct retry *next;
};

/* A job that is superseded by one of the run that has it in its list. */
struct supersede {
    char job[JOB_ID_SIZE];
    uint32_t by_slot;            /* of the job that counts */
    uint32_t attempts;           /* of the superseded job that counted */
    char holder[WORKER_ID_SIZE]; /* the worker that goes on with it; "": nobody's */
};

/* The jobs that a run supersedes: results for them are inserted in order. */
struct supersedes {
    struct supersede *list;                  /* owned */
    size_t count, room, inserted, completed; /* the first ones, up to these counts */
    bool is_place_unsaved, is_place_in_flight;
};

/* A run that is started and not finished. */
struct active_run {
    struct run run; /* as submitted; owns run.summary, a byte per slot, kept current */
    enum run_phase phase;
    uint32_t slots; /* how many jobs it has */
    uint32_t students_done, students_cancelled, students_superseded;
    uint32_t next_slot, end_slot; /* first attempts not yet handed out in this phase */
    uint32_t ended_ahead; /* how many jobs in that range are not handed out: they have a result, or
                             are withheld */
    uint8_t *withheld;    /* by slot: a result of the scheduler's is about to be inserted for the
                             job, which is not handed out any more; or NULL; owned */
    uint32_t live;        /* its leased jobs */
    uint32_t inserting;   /* of these, those whose lease is being inserted */
    struct retry *due, *delayed;   /* lists, oldest first */
    uint64_t retries;              /* in both */
    struct returned_job *returned; /* jobs that workers have returned; owned */
    uint64_t order;                /* in order of start */
    struct supersedes supersedes;  /* rules/supersede */
    bool is_dirty, is_saving; /* the summary has changed since it was saved; a save is in flight */
    int64_t saved_ms;
    int64_t last_result_ms;           /* database date of its latest known result; 0: none */
    struct webhook_event_list events; /* that its next save records; owned: rules/webhooks */
    int64_t notified_pause_ms;        /* the date of its manual pause that was told */
    /* Jobs that get their result from the scheduler: those without stages, and all of a run that is
     * cancelled. */
    uint32_t own_next, own_end;
    uint32_t own_pending; /* results in flight for such jobs */
    bool is_ready;        /* it is in its submitter's list */
    bool is_paused;       /* none of its jobs is handed out: it is not in that list */
    bool has_no_leases;   /* recovery found no lease of its current phase */
    int64_t measure_ms;   /* clock_boot_ms when its job times are noted anew: rules/outlook */
    double job_mean_ms, job_variance, job_doubt_ms; /* of the mean */
    struct foretold_ends foretold;                  /* rules/foretold */
    int64_t foretold_next_ms; /* clock_boot_ms when the next one is due; 0: not known yet */
    struct queue *queue;
    struct submitter *submitter;
    struct course *course;
    uint64_t queued; /* what of its jobs the queue's and the course's counts have */
    bool is_attended, is_delaying;
    struct active_run *prev, *next; /* in its submitter's list */
    struct active_run *attended_prev,
        *attended_next; /* in the queue's lists, while the flag says */
    struct active_run *delaying_prev, *delaying_next;
    UT_hash_handle hh;
};

#endif
