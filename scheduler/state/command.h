/*
 * command: the I/O that the rules request. The rules append commands to the scheduler's list, in
 * order, and scheduler/core carries them out. The outcome of a command comes back as an event:
 *
 *   COMMAND_INSERT_LEASE         EVENT_LEASED
 *   COMMAND_INSERT_RESULT        EVENT_GIVEN_UP
 *   COMMAND_POST_CALLBACK        EVENT_CALLBACK
 *   COMMAND_SUBMIT_DB_JOB        EVENT_DB_JOB
 *   COMMAND_DISTRUST_LEADERSHIP  EVENT_DEPOSED
 *   COMMAND_EXPORT_SPAN          none
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_COMMAND_H
#define SCHEDULER_STATE_COMMAND_H

#include <stdint.h>

#include "common/base/span.h"
#include "common/domain/job.h"
#include "common/store/lease_store.h"
#include "common/store/result_store.h"
#include "scheduler/state/callback.h"
#include "scheduler/state/db_job.h"

enum command_kind {
    COMMAND_INSERT_LEASE,
    COMMAND_INSERT_RESULT, /* a result that the scheduler gives a job itself */
    COMMAND_POST_CALLBACK,
    COMMAND_SUBMIT_DB_JOB,
    COMMAND_DISTRUST_LEADERSHIP, /* a later leader was seen */
    COMMAND_EXPORT_SPAN
};

/* A lease to be inserted, and the poll that it answers. */
struct lease_insert {
    struct lease lease;
    char replica[WORKER_ID_SIZE]; /* id */
    char process[33];
    int64_t poll;
};

struct command {
    enum command_kind kind;
    int64_t generation; /* of the state that requests it; its event carries the same */
    union {
        struct lease_insert lease;
        struct result result;      /* owns nothing */
        struct callback *callback; /* owned */
        struct db_job *db_job;     /* owned */
        struct span span;
    };
    struct command *next;
};

/* Zeroed is empty. */
struct command_list {
    struct command *first, *last;
};

/* Appends a zeroed command of that kind; never NULL. The list owns it. */
struct command *command_list_append(struct command_list *list, enum command_kind kind,
                                    int64_t generation);

/* Removes the first command and passes it to the caller, who owns it; NULL: the list is empty. */
struct command *command_list_take(struct command_list *list);

/* Frees all commands with what they own, without carrying them out. */
void command_list_clear(struct command_list *list);

/* Frees a command with what it owns. A caller that has passed on the callback or the database job
 * sets that field to NULL first. */
void command_free(struct command *command);

#endif
