/*
 * inbox: how everything reaches the scheduler's core thread: one queue of events, in the order in
 * which they were posted. Any thread posts; the core alone takes. Bounded for the change stream,
 * which waits when the core lags.
 */
#ifndef SCHEDULER_IO_INBOX_H
#define SCHEDULER_IO_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/store/leader_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "common/store/signal_store.h"
#include "common/store/worker_store.h"

enum event_kind {
    /* out of the change stream, in the database's order */
    EVENT_RUN_CHANGED, /* started or cancelled */
    EVENT_RESULT,
    EVENT_SIGNAL,
    EVENT_WORKER,
    EVENT_MARK, /* the leader document's mark */
    EVENT_STREAM_LOST,
    /* completions of what the core began */
    EVENT_LEASED,   /* an insert of a lease is settled */
    EVENT_GIVEN_UP, /* an insert of a result by the scheduler is settled */
    EVENT_CALLBACK, /* a callback was answered, or not */
    EVENT_DB_JOB,   /* a rare write is done, or not */
    /* from outside */
    EVENT_DEPOSED, /* the leader's lease is in doubt */
    EVENT_STOP
};

struct pending_lease;
struct pending_result;
struct callback;
struct db_job;

struct event {
    enum event_kind kind;
    int64_t generation; /* of the core's state, for what belongs to one; others are dropped */
    union {
        struct run run;
        struct result result;
        struct signal signal;
        struct worker worker;
        int64_t mark;
        struct pending_lease *lease;
        struct pending_result *given_up;
        struct callback *callback;
        struct db_job *db_job;
    };
    struct event *next;
};

struct inbox;

struct inbox *inbox_new(void);
void inbox_free(struct inbox *inbox);

/* A zeroed event of that kind; never NULL. */
struct event *event_new(enum event_kind kind, int64_t generation);

/* Posts; the inbox takes the event. */
void inbox_post(struct inbox *inbox, struct event *event);

/* The same, waiting while the inbox is full. For the change stream. False: the inbox refuses, and
 * the event is still the caller's. */
bool inbox_post_bounded(struct inbox *inbox, struct event *event);

/* Lets bounded posts fail instead of wait (true), or wait again. */
void inbox_refuse(struct inbox *inbox, bool refuses);

/* Takes all there are, oldest first; waits until there is one or `until_ms` (clock_boot_ms) has
 * come. NULL: none came. */
struct event *inbox_take(struct inbox *inbox, int64_t until_ms);

/* Puts events that were taken back, before all others. */
void inbox_return(struct inbox *inbox, struct event *events);

#endif
