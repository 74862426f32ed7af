/*
 * queue: the jobs that can be handed out. Which run's turn it is, queue_order decides; within a run
 * its retries come first, then the students in order. A run is a cursor, not an entry per job: the
 * memory depends on the number of runs, not of jobs. A run can take the place of a job of another
 * run (queue_move): it comes as that job would have.
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
#include "common/store/run_store.h"
#include "scheduler/state/active_run.h"
#include "scheduler/state/queue_order.h"

struct queue {
    struct active_run *runs; /* all, by id */
    struct queue_order order;
    struct active_run *attended; /* rules/run_progress looks after them at each tick */
    struct active_run *delaying; /* runs with retries that are not due */
    uint64_t queued[PROTOCOLS];  /* jobs */
    uint64_t started;            /* runs added so far */
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

/* The number of failed attempts of all kinds. */
uint32_t failed_attempts_total(const struct failed_attempts *failed_attempts);

/* An empty queue in the caller's memory; queue_destroy frees its runs. */
void queue_init(struct queue *queue);
void queue_destroy(struct queue *queue);

/* The run with that id; NULL: none. */
struct active_run *queue_find(const struct queue *queue, const char *run_id);

/* Adds a started run and takes over what `run` owns. Its cursor is empty until queue_open_slots.
 * The pointer is valid until queue_remove. */
struct active_run *queue_add(struct queue *queue, struct run *run);
/* The run may need something at the next tick: rules/run_progress looks after it until it needs
 * nothing more. A run that is added is looked after. */
void queue_attend(struct active_run *run);
void queue_stop_attending(struct active_run *run);
/* The run's record is behind what is known: the tick has it saved. */
void queue_set_dirty(struct active_run *run);

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

/* The job whose turn it is in a ready lane; `offer` is valid until the queue changes. */
void queue_offer(const struct lane *lane, struct offer *offer);

/* Why no job of the run is offered, whichever it is: a set of reasons
 * (common/domain/wait_reason.h); 0: those that it has to hand out are. */
uint64_t queue_run_wait_reasons(const struct active_run *run);

/* Why queue_offer does not offer the run's job at `slot`, which has neither a result nor a lease;
 * 0: it is the next one of its lane. */
uint64_t queue_job_wait_reasons(const struct active_run *run, uint32_t slot);

/* The same of an attempt in the run's list of those that are not due. */
uint64_t queue_delayed_wait_reasons(const struct active_run *run, const struct retry *delayed);

/* The attempt of the job at `slot` that is not due yet; NULL: there is none. Borrowed until the run
 * changes. */
const struct retry *queue_delayed_retry(const struct active_run *run, uint32_t slot);

/* The job whose turn it is in that protocol, whoever could take it; false if there is none. For
 * tests. */
bool queue_peek(const struct queue *queue, enum protocol protocol, struct offer *offer);

/* Removes the offered job. Returns what its course is charged for it, for queue_order_correct. */
double queue_take(const struct offer *offer);

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

/* The same of all runs, in constant time. */
uint64_t queue_length(const struct queue *queue);

#endif
