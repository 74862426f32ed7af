/*
 * poll: a grader asks for a job, in either protocol. Called by the handlers, see api/http/route.h.
 */
#ifndef API_GRADING_POLL_H
#define API_GRADING_POLL_H

#include <stdint.h>

#include "api/http/exchange.h"

struct api;

/* Parks the exchange as a poll of `worker` for `wait_ms`; it is answered later: BW_PENDING.
 * BW_NO_JOB while the replica leaves. Where too many wait already it is held for a moment and
 * answered empty. */
enum bw_code poll_begin(struct api *api, struct exchange *exchange, const char *worker,
                        int64_t wait_ms) BW_CHECKED;

#endif
