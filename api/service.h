/*
 * service: the parts of broadway-api, started by one table of steps and stopped by another. Called
 * by main, on its thread.
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
    struct course_list courses; /* from --course-config, until they are stored */
    bool has_courses;
};

/* Checks all settings, then starts all parts, or none: after an error the started parts are stopped
 * again. Does not wait for the database: both ports are open when it returns, and requests that
 * need values from the database are refused until service_load. On failure, a code with a sentence
 * in `error`. */
enum bw_code service_start(struct service *service, struct bw_error *error) BW_CHECKED;

/* Reads tokens and courses from the database. The caller repeats it until BW_OK. BW_UNAVAILABLE:
 * not yet. Any other code: it will never succeed, with the reason in `error`. */
enum bw_code service_load(struct service *service, struct bw_error *error) BW_CHECKED;

/* Stops all parts. Nothing may be in flight any more. False: an HTTP server can't be closed; no
 * further part was stopped or freed, and the process can only exit. */
bool service_stop(struct service *service) BW_CHECKED;

#endif
