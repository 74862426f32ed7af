/*
 * inflight: counts the operations in flight, beside the requests that the HTTP servers count:
 * submissions, registrations, messages of websockets, ends of event streams. An operation that
 * moves between threads is counted from its begin until it no longer uses the api. At a shutdown
 * the count must be 0 before the modules that these operations use are closed: main waits for that.
 * Safe from any thread.
 */
#ifndef API_GRADING_INFLIGHT_H
#define API_GRADING_INFLIGHT_H

#include <stdatomic.h>
#include <stddef.h>

#include "api/api.h"

static inline void inflight_begin(struct api *api)
{
    atomic_fetch_add(&api->inflight, 1);
}

/* Must be the last use of the api by its operation. */
static inline void inflight_end(struct api *api)
{
    atomic_fetch_sub(&api->inflight, 1);
}

static inline size_t inflight_count(struct api *api)
{
    return atomic_load(&api->inflight);
}

#endif
