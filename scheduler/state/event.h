/*
 * event: the input of the scheduler's core thread: changes of the database, completions of
 * commands, and events from outside (a stop, the loss of leadership). The event owns what its maker
 * puts into it. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_EVENT_H
#define SCHEDULER_STATE_EVENT_H

#include <stdint.h>

#include "common/store/lease_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "common/store/signal_store.h"
#include "common/store/worker_store.h"
#include "scheduler/state/command.h"

enum event_kind {
    /* from the change stream, in the database's order */
    EVENT_RUN_CHANGED, /* started or cancelled */
    EVENT_RESULT,
    EVENT_RETURNED, /* a grader has returned a job: its lease has ended */
    EVENT_SIGNAL,
    EVENT_WORKER,
    EVENT_MARK, /* the leader document's mark */
    EVENT_STREAM_LOST,
    /* completions of commands */
    EVENT_LEASED,   /* an insert of a lease is complete */
    EVENT_GIVEN_UP, /* an insert of a result by the scheduler is complete */
    EVENT_CALLBACK, /* a callback was answered or has failed */
    EVENT_DB_JOB,   /* a database job is done or has failed */
    /* from outside */
    EVENT_DEPOSED, /* the leader's lease is in doubt */
    EVENT_STOP
};

struct event {
    enum event_kind kind;
    int64_t generation; /* the core's state that it belongs to; events of another are dropped */
    union {
        struct run run; /* owned */
        struct result result;
        struct lease returned;
        struct signal signal; /* owned */
        struct worker worker;
        int64_t mark;
        struct {
            struct lease_insert insert;
            enum commit_outcome outcome;
        } leased;
        struct {
            struct result result;      /* the job's stored result: this one, or an earlier one */
            enum job_outcome inserted; /* the outcome that was to be inserted */
            enum commit_outcome outcome;
        } given_up;
        struct callback *callback; /* owned */
        struct db_job *db_job;     /* owned */
    };
    struct event *next; /* in the list that holds it */
};

/* A zeroed event of that kind; never NULL. */
struct event *event_new(enum event_kind kind, int64_t generation);

/* Frees an event and what it owns. */
void event_free(struct event *event);

#endif
