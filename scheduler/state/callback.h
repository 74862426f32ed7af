/*
 * callback: one HTTP post to a replica's internal port, with its body and its reply. The rules make
 * it (COMMAND_POST_CALLBACK); it comes back with EVENT_CALLBACK, which owns it. Pure: no I/O, no
 * clock.
 */
#ifndef SCHEDULER_STATE_CALLBACK_H
#define SCHEDULER_STATE_CALLBACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/domain/job.h"
#include "common/domain/trace.h"

/* One hand-out that a callback carries. */
struct sent_hand_out {
    char job[JOB_ID_SIZE], worker[WORKER_ID_SIZE];
    uint32_t attempt;
    int64_t poll;
};

struct callback {
    char replica[WORKER_ID_SIZE];       /* id */
    char process[33];                   /* the one that the rules know */
    char url[320];                      /* with scheme and path */
    char *body;                         /* owned */
    char traceparent[TRACEPARENT_SIZE]; /* of its first hand-out that has one; "": none */
    int64_t generation;
    struct sent_hand_out *sent; /* owned; in the order of the body */
    size_t sent_count;
    bool has_events;   /* the body has events for watchers, which are sent only once */
    bool is_first_try; /* no callback failed since the replica's last reply */
    /* once done */
    long status; /* the HTTP status, or 0: no answer */
    char *reply; /* owned, NUL-terminated; NULL or "" if empty */
    size_t reply_length;
};

/* A zeroed callback with room for `hand_outs` in `sent`; never NULL. */
struct callback *callback_new(size_t hand_outs);
/* Frees a callback and what it owns; NULL is allowed. */
void callback_free(struct callback *callback);

#endif
