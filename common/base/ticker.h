/*
 * ticker: a thread that calls a function again and again until it is closed. The one form of "wake
 * every N milliseconds" in both binaries. Open and close are for one thread; ticker_wake is safe
 * from any, also from within the function.
 */
#ifndef COMMON_BASE_TICKER_H
#define COMMON_BASE_TICKER_H

#include <stdint.h>

#include "common/base/error.h"

enum {
    TICKER_IDLE = -1, /* no further call before ticker_wake */
    TICKER_END = -2   /* no further call at all: the thread ends */
};

/* Called on the ticker's thread, never twice at a time. Returns after how many milliseconds it is
 * to be called again, counted from its return on a clock that counts suspend; or one of the above.
 */
typedef int64_t ticker_function(void *context);

struct ticker;

/* Starts the thread, which calls `tick` in `first_ms` for the first time (or TICKER_IDLE).
 * `context` is borrowed until ticker_close. BW_INTERNAL: no thread; `what` names it in the
 * sentence, e.g. "the replica's heartbeat". */
enum bw_code ticker_open(const char *what, int64_t first_ms, ticker_function *tick, void *context,
                         struct ticker **ticker, struct bw_error *error) BW_CHECKED;

/* Has the function called at once, or once more if it is running now. Several wakes before a call
 * are one. */
void ticker_wake(struct ticker *ticker);

/* Waits for a call that is under way, and ends the thread. There is none later. NULL is fine. */
void ticker_close(struct ticker *ticker);

#endif
