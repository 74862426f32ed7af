/*
 * queue: which job is next. Round-robin between courses; within a course by priority, then in order
 * of start; within a run its retries first, then the students in order. A run is a cursor, not an
 * entry per job: a million queued jobs cost what their runs cost.
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
#include "common/domain/protocol.h"
#include "common/domain/run.h"
#include "common/store/run_store.h"

/* Why earlier attempts of a job came to nothing. */
struct failed_attempts {
    uint32_t lost, expired, undeliverable;
};

uint32_t failed_attempts_total(const struct failed_attempts *failed_attempts);

/* An attempt after the first (or a first one that was passed over). */
struct retry {
    uint32_t slot;
    uint32_t attempt;
    struct failed_attempts failed_attempts;
    int64_t due_ms;             /* clock_boot_ms from when it may be handed out */
    char avoid[WORKER_ID_SIZE]; /* a worker that has failed it: another is preferred */
    struct retry *next;
};

/* A started run that is not over. */
struct active_run {
    struct run run; /* as submitted; run.summary belongs to it: a byte per slot, kept up to date */
    enum run_phase phase;
    uint32_t slots; /* how many jobs it has */
    uint32_t students_done, students_cancelled;
    uint32_t next_slot, end_slot; /* first attempts not yet handed out in this phase */
    uint32_t live;                /* jobs of it that are leased */
    uint32_t inserting;           /* of these, those whose lease is not on record yet */
    struct retry *due, *delayed;  /* lists, oldest first */
    uint64_t order;               /* of start */
    bool is_dirty, is_saving; /* the summary has changed since it was saved; a save is under way */
    int64_t saved_ms;
    int64_t last_result_ms; /* database date of its latest result that was seen; 0: none was */
    /* Jobs that get their result from the scheduler: those without stages, and all of a run that is
     * cancelled. */
    uint32_t own_next, own_end;
    uint32_t own_pending; /* results under way for such jobs */
    bool is_ready;        /* it stands in its course's list */
    bool has_no_leases;   /* found by recovery with none of its phase's jobs ever handed out */
    struct course *course;
    struct active_run *prev, *next; /* in that list */
    UT_hash_handle hh;
};

struct course {
    char name[WORKER_ID_SIZE]; /* "" for the classic protocol's runs */
    struct queue *queue;
    struct active_run *ready; /* runs with something to hand out, best first */
    struct course *prev, *next;
};

struct queue {
    struct active_run *runs; /* all, by id */
    struct course *courses;  /* the next to be served first */
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

void queue_init(struct queue *queue);
void queue_destroy(struct queue *queue);

struct active_run *queue_find(const struct queue *queue, const char *run_id);

/* Adds a started run; takes what `run` owns. Its cursor is empty until queue_open_slots. The run
 * lives until queue_remove. */
struct active_run *queue_add(struct queue *queue, struct run *run);
void queue_remove(struct queue *queue, struct active_run *run);

/* Sets the range of first attempts that may be handed out: slots [next, end). */
void queue_open_slots(struct active_run *run, uint32_t next, uint32_t end);

/* The best job for graders of that protocol, or false if there is none. `offer` is valid until the
 * queue changes. */
bool queue_peek(const struct queue *queue, enum protocol protocol, struct offer *offer);

/* Takes the offered job out and moves its course to the back. */
void queue_take(struct queue *queue, const struct offer *offer);

/* Queues another attempt; `retry` is copied. Handed out once due. */
void queue_retry(struct active_run *run, const struct retry *retry, int64_t now_ms);

/* Nothing of the run is handed out any more: its range is empty, its retries are dropped. */
void queue_close(struct active_run *run);

/* Drops the retry of a slot, if there is one; *failed_attempts (may be NULL) receives its failed
 * attempts. True if there was one. */
bool queue_drop_retry(struct active_run *run, uint32_t slot,
                      struct failed_attempts *failed_attempts);

/* Makes retries whose time has come ready. Returns when the next one is due, or INT64_MAX. */
int64_t queue_wake(struct queue *queue, int64_t now_ms);

/* Jobs that wait: first attempts and retries, due or not. */
uint64_t queue_length(const struct queue *queue);

#endif
