/*
 * hand_outs: builds and delivers the hand-outs of one callback, one by one, within limits of time
 * and bytes. Hand-outs that are cheap to build come first. A hand-out that exceeds a limit, or
 * finds no room in the memory budget, gets the outcome "later": its state is unchanged, and the
 * scheduler sends it again, after new hand-outs. In each callback at least one of the hand-outs
 * that are expensive, or were not examined in time, is tried.
 *
 * Called by callback_handler, on the thread pool: waits for definitions. No state.
 */
#ifndef API_INTERNAL_HAND_OUTS_H
#define API_INTERNAL_HAND_OUTS_H

#include <jansson.h>
#include <stdbool.h>

#include "common/base/error.h"

struct api;

/* Delivers the hand-outs in `list`, which has been checked against the callback's fields; borrowed.
 * If `may_put_off` is false, no limits apply, since the scheduler does not know the outcome
 * "later". On BW_OK *answer is new: {"process", "outcomes", "reasons"}. BW_UNAVAILABLE: the
 * database can't be read now. */
enum bw_code hand_outs_deliver(struct api *api, const json_t *list, bool may_put_off,
                               json_t **answer, struct bw_error *error) BW_CHECKED;

#endif
