/*
 * inflight: how much has been begun here that is not settled, beyond the requests that the fronts
 * count: submissions, registrations, messages of websockets, ends of event streams. Whatever goes
 * from thread to thread holds one from its begin until nothing of it touches the api any more. At a
 * stop the count must be 0 before anything is closed that these use: main waits for that. Safe from
 * any thread.
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

/* The last that its holder does with the api. */
static inline void inflight_end(struct api *api)
{
    atomic_fetch_sub(&api->inflight, 1);
}

static inline size_t inflight_count(struct api *api)
{
    return atomic_load(&api->inflight);
}

#endif
