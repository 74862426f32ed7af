/*
 * queue: decides which job is handed out next. Round-robin between courses; within a course by
 * priority, then in order of start; within a run its retries first, then the students in order. A
 * run is a cursor, not an entry per job: the memory depends on the number of runs, not of jobs.
 * A run can take the place of a job of another run (queue_move): it comes as that job would have.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_QUEUE_H
#define SCHEDULER_STATE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uthash.h>

#include "common/domain/job.h"
#include "common/domain/protocol_map.h"
#include "common/domain/run.h"
#include "common/store/run_store.h"
#include "scheduler/state/returned_jobs.h"
#include "scheduler/state/webhook_event.h"

/* How earlier attempts of a job failed, counted by reason. */
struct failed_attempts {
    uint32_t lost, expired, undeliverable;
};

/* The number of failed attempts of all kinds. */
uint32_t failed_attempts_total(const struct failed_attempts *failed_attempts);

/* An attempt after the first, or a first attempt that the cursor has passed. */
struct retry {
    uint32_t slot;
    uint32_t attempt;
    struct failed_attempts failed_attempts;
    int64_t due_ms;             /* clock_boot_ms from when it may be handed out */
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
    bool is_ready;        /* it is in its course's list */
    bool is_paused;       /* none of its jobs is handed out: it is not in that list */
    bool has_no_leases;   /* recovery found no lease of its current phase */
    struct course *course;
    struct active_run *prev, *next; /* in its course's list */
    UT_hash_handle hh;
};

struct course {
    enum protocol protocol;    /* of its runs */
    char name[WORKER_ID_SIZE]; /* "" for runs that belong to no course */
    struct queue *queue;
    struct active_run *ready; /* runs with jobs to hand out, best first */
    struct course *prev, *next;
};

struct queue {
    struct active_run *runs; /* all, by id */
    struct course *courses;  /* the head is served next */
    uint64_t started;        /* runs added so far */
};

/* One job that could be handed out now. */
struct offer {
    struct active_run *run;
    struct retry *retry; /* NULL: a first attempt */
    uint32_t slot;
    uint32_t attempt;
    struct failed_attempts failed_attempts;
    char job[JOB_ID_SIZE];
};

/* An empty queue in the caller's memory; queue_destroy frees its runs. */
void queue_init(struct queue *queue);
void queue_destroy(struct queue *queue);

/* The run with that id; NULL: none. */
struct active_run *queue_find(const struct queue *queue, const char *run_id);

/* Adds a started run and takes over what `run` owns. Its cursor is empty until queue_open_slots.
 * The pointer is valid until queue_remove. */
struct active_run *queue_add(struct queue *queue, struct run *run);
/* Removes the run and frees it with what it owns. */
void queue_remove(struct queue *queue, struct active_run *run);

/* Sets the range of first attempts that may be handed out: slots [next, end), but for those that
 * have a result by the run's summary. */
void queue_open_slots(struct active_run *run, uint32_t next, uint32_t end);

/* The job at `slot` has got a result, which the run's summary has: its first attempt is not handed
 * out any more. Called once for each job. */
void queue_job_ended(struct active_run *run, uint32_t slot);

/* A result of the scheduler's is about to be inserted for the job at `slot`, which has none: from
 * now on it is not handed out. Returns how many attempts of its retry had failed. */
uint32_t queue_withhold(struct active_run *run, uint32_t slot);

/* Whether the job at `slot` is withheld. */
bool queue_is_withheld(const struct active_run *run, uint32_t slot);

/* Whether the job at `slot` has a result or is withheld. */
bool queue_has_ended(const struct active_run *run, uint32_t slot);

/* The run takes that place. */
void queue_move(struct active_run *run, const struct run_place *place, uint64_t order);

/* The place of the run's job at `slot`: its run's, if that has taken one over. */
struct run_place queue_job_place(const struct active_run *run, uint32_t slot);

/* How many first attempts of the range the run has to hand out. */
uint32_t queue_first_attempts(const struct active_run *run);

/* The best job for graders of that protocol, or false if there is none. `offer` is valid until the
 * queue changes. */
bool queue_peek(const struct queue *queue, enum protocol protocol, struct offer *offer);

/* Removes the offered job and moves its course to the end of the round-robin. */
void queue_take(struct queue *queue, const struct offer *offer);

/* The offered job, which is a retry, may not be handed out before `due_ms`. */
void queue_put_off(const struct offer *offer, int64_t due_ms);

/* Queues another attempt, to be handed out once due; `retry` is copied. */
void queue_retry(struct active_run *run, const struct retry *retry, int64_t now_ms);

/* Empties the run's range and drops its retries: no job of it is handed out any more. */
void queue_close(struct active_run *run);

/* Takes a run that is paused out of the turn, or puts it back. */
void queue_set_paused(struct active_run *run, bool is_paused);

/* Drops the retry of a slot, if there is one; *failed_attempts (may be NULL) receives its failed
 * attempts. True if there was one. */
bool queue_drop_retry(struct active_run *run, uint32_t slot,
                      struct failed_attempts *failed_attempts);

/* Makes the retries that are due ready. Returns when the next one is due (clock_boot_ms), or
 * INT64_MAX. */
int64_t queue_wake(struct queue *queue, int64_t now_ms);

/* The number of the run's queued jobs: first attempts and retries, due or not. */
uint64_t queue_run_length(const struct active_run *run);

/* The same of all runs. */
uint64_t queue_length(const struct queue *queue);

#endif
