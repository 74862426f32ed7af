/*
 * callbacks: HTTP posts to the replicas' internal ports, by one thread with libcurl multi over
 * kept-alive connections. Each comes back to the inbox as EVENT_CALLBACK, answered or not; trying
 * again is the core's business.
 */
#ifndef SCHEDULER_IO_CALLBACKS_H
#define SCHEDULER_IO_CALLBACKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/domain/job.h"
#include "scheduler/io/inbox.h"

/* One hand-out that a callback carries. */
struct sent_hand_out {
    char job[JOB_ID_SIZE];
    uint32_t attempt;
    int64_t poll;
};

struct callback {
    char replica[WORKER_ID_SIZE]; /* id */
    char process[33];             /* as it was believed to be */
    char url[320];                /* whole */
    char *body;                   /* owned */
    int64_t generation;
    struct sent_hand_out *sent; /* owned: in the order of the body */
    size_t sent_count;
    bool has_events;   /* it tells watchers something, which nobody repeats */
    bool is_first_try; /* nothing failed since the replica answered last */
    long status;       /* once done: the HTTP status, or 0: no answer */
    char *reply;       /* once done: owned, NUL-terminated, "" if empty */
    size_t reply_length;
    void *easy, *headers; /* libcurl's, while under way */
    struct callback *next;
};

struct callbacks;

/* `token` is copied. */
enum bw_code callbacks_open(const char *token, struct inbox *inbox, struct callbacks **callbacks,
                            struct bw_error *error) BW_CHECKED;

/* Waits for what is under way (bounded by its time-out), then ends the thread. NULL is fine. */
void callbacks_close(struct callbacks *callbacks);

/* Posts; it comes back with EVENT_CALLBACK and is then the core's to free. */
void callbacks_post(struct callbacks *callbacks, struct callback *callback);

/* A zeroed one with room in `sent`; never NULL. */
struct callback *callback_new(size_t hand_outs);
void callback_free(struct callback *callback);

#endif
