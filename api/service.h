/*
 * service: the parts of broadway-api, started by one table of steps and stopped by another. For
 * main alone, on its thread.
 */
#ifndef API_SERVICE_H
#define API_SERVICE_H

#include "api/api.h"
#include "api/options.h"
#include "common/base/error.h"
#include "common/store/course_store.h"

struct service {
    struct api_options options; /* not changed once the parts are started */
    struct api api;
    struct heartbeat *heartbeat;
    struct course_list courses; /* of --course-config, until they are stored */
    bool has_courses;
};

/* Checks everything that can be wrong, then starts all parts, or none: what was started is stopped
 * again. Does not wait for the database: both ports are open when it returns, and what must be
 * learned from the database first is refused. What went wrong, with a sentence in `error`. */
enum bw_code service_start(struct service *service, struct bw_error *error) BW_CHECKED;

/* Learns from the database what can only be known from it: tokens, courses. To be called until
 * BW_OK. BW_UNAVAILABLE: not yet. Otherwise it will never succeed: `error` says why. */
enum bw_code service_settle(struct service *service, struct bw_error *error) BW_CHECKED;

/* Stops all parts. Nothing may be under way any more. False: an HTTP server can't be closed;
 * nothing more was stopped or freed, and the process can only exit. */
bool service_stop(struct service *service) BW_CHECKED;

#endif
