/*
 * registration: registers a grader of the course protocol under an id of its choice. A new id is
 * inserted. If the id was registered before, the scheduler decides whether its grader is present:
 * if it is, the registration is refused; if not, one compare-and-set raises the id's epoch. If the
 * id belongs to a websocket at another replica, the registration waits for up to two seconds, since
 * that socket may have ended and not be recorded yet. Callers: the handler, the websockets' thread.
 * Safe from any thread; no function waits.
 */
#ifndef API_GRADING_REGISTRATION_H
#define API_GRADING_REGISTRATION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/worker_store.h"

struct api;

struct registration {
    struct worker worker; /* id, hostname, tags, fault, concurrency, takes_files, is_socket */
    /* Called once, from any thread. BW_OK: `epoch` is the worker's new epoch. BW_CONFLICT: a grader
     * with this id is present. BW_UNAVAILABLE: the id could not be checked or stored in time. */
    void (*completed)(enum bw_code code, int64_t epoch, const struct bw_error *error,
                      void *context);
    void *context;
};

/* Takes the tags and the fault, if any, from checked arguments, which are borrowed. */
void registration_take_texts(struct registration *registration, const json_t *arguments);

/* Begins a registration, which is copied. */
void registration_begin(struct api *api, const struct registration *registration);

#endif
