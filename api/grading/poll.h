/*
 * poll: a grader's poll for a job, in either protocol. Called by the handlers, see
 * api/http/route.h.
 */
#ifndef API_GRADING_POLL_H
#define API_GRADING_POLL_H

#include <stdint.h>

#include "api/http/exchange.h"

struct api;

/* Parks the exchange as a poll of `worker` for `wait_ms`. BW_PENDING: it is answered later.
 * BW_NO_JOB: the replica is shutting down. If too many polls wait already, it is held for a second
 * and answered empty. */
enum bw_code poll_begin(struct api *api, struct exchange *exchange, const char *worker,
                        int64_t wait_ms) BW_CHECKED;

#endif
