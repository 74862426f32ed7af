/*
 * ticker: a thread that calls a function periodically until it is closed. Both binaries use it for
 * every periodic task. Open and close are for one thread; ticker_wake is safe from any thread, also
 * from within the function.
 */
#ifndef COMMON_BASE_TICKER_H
#define COMMON_BASE_TICKER_H

#include <stdint.h>

#include "common/base/error.h"

enum {
    TICKER_IDLE = -1, /* no further call before ticker_wake */
    TICKER_END = -2   /* no further call at all: the thread ends */
};

/* Called on the ticker's thread, never twice at a time. Returns the number of milliseconds until
 * the next call, counted from its return on a clock that counts suspended time; or one of the
 * above. */
typedef int64_t ticker_function(void *context);

struct ticker;

/* Starts the thread, which calls `tick` in `first_ms` for the first time (or TICKER_IDLE).
 * `context` is borrowed until ticker_close. BW_INTERNAL: no thread; `what` names it in the
 * sentence, e.g. "the replica's heartbeat". */
enum bw_code ticker_open(const char *what, int64_t first_ms, ticker_function *tick, void *context,
                         struct ticker **ticker, struct bw_error *error) BW_CHECKED;

/* Makes the function be called at once, or again if it is running now. Several wakes before a call
 * count as one. */
void ticker_wake(struct ticker *ticker);

/* Waits for a running call, and ends the thread. No call follows. NULL is allowed. */
void ticker_close(struct ticker *ticker);

#endif
