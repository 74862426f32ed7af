/*
 * worker_heartbeat: takes the heartbeat of a grader, in either protocol, and answers it. The ping
 * of a websocket is a heartbeat too; its answer is the pong (api/course/websocket.h). The replica's
 * own heartbeat is another matter: api/uplink/replica_heartbeat.h. Called by handlers, see
 * api/http/route.h; never waits.
 */
#ifndef API_GRADING_WORKER_HEARTBEAT_H
#define API_GRADING_WORKER_HEARTBEAT_H

#include <jansson.h>

#include "common/base/error.h"

struct api;
struct exchange;

struct worker_heartbeat {
    struct exchange *exchange;
    const char *worker; /* its id, which dispatch has checked; borrowed */
    const char *jobs;   /* the jobs that the grader holds, as it says (held_jobs_parse); borrowed.
                           NULL: it does not ask what became of them, and the answer is empty */
    const char *fault;  /* why the grader can't run jobs, as it says, checked by worker_fault_check;
                           borrowed. "": it can. NULL: it does not say */
    /* Answers 200 with the value, which is stolen, in the protocol's form: {"cancelled": [those
     * that it does not hold any more]}, an empty list while the database is unavailable. */
    void (*answer)(struct exchange *exchange, json_t *value);
};

/* BW_OK: answered; BW_PENDING: will be; BW_BAD_REQUEST: `jobs` is no such list, and the heartbeat
 * counts nevertheless. So does one whose fault can't be stored, which is refused as BW_UNAVAILABLE.
 * `heartbeat` is borrowed during the call. */
enum bw_code worker_heartbeat_take(struct api *api, const struct worker_heartbeat *heartbeat,
                                   struct bw_error *error) BW_CHECKED;

#endif
