/*
 * service: the parts of broadway-api, started by a table of steps from the top and stopped from the
 * bottom. For main alone, on its thread.
 */
#ifndef API_SERVICE_H
#define API_SERVICE_H

#include "api/api.h"
#include "api/options.h"
#include "common/error.h"

struct service {
    struct api_options options; /* not changed once the parts are started */
    struct api api;
    struct life *life;
};

/* Starts all parts, or none: what was started is stopped again. Waits for the database where
 * something must be read from it. BW_PENDING: asked to leave meanwhile. Otherwise what went wrong,
 * with a sentence in `error`. */
enum bw_code service_start(struct service *service, struct bw_error *error) BW_CHECKED;

/* Stops all parts. Nothing may be under way any more. */
void service_stop(struct service *service);

#endif
