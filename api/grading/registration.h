/*
 * registration: a grader of the course protocol takes an id of its own choice. A new id is an
 * insert. One that was registered before is the scheduler's to judge ("already exists" while
 * somebody is there), and then one compare-and-set that raises its epoch. A websocket that ended at
 * another replica a moment ago is waited for, two seconds at most. Callers: the handler, the
 * websockets' thread. Safe from any thread; nobody waits.
 */
#ifndef API_GRADING_REGISTRATION_H
#define API_GRADING_REGISTRATION_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/worker_store.h"

struct api;

struct registration {
    struct worker worker; /* id, hostname, concurrency, is_socket */
    /* Called once, from any thread. BW_OK: `epoch` is the worker's. BW_CONFLICT: the id exists.
     * BW_UNAVAILABLE: nobody could judge it, or store it. */
    void (*settled)(enum bw_code code, int64_t epoch, const struct bw_error *error, void *context);
    void *context;
};

/* `registration` is copied. */
void registration_begin(struct api *api, const struct registration *registration);

#endif
