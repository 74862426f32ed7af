/*
 * callback_handler: the endpoint for the scheduler's callbacks: hand-outs, empty polls, answers to
 * queries, and events of watches, from one leader's term. Called by dispatch alone, see
 * api/http/route.h.
 */
#ifndef API_INTERNAL_CALLBACK_HANDLER_H
#define API_INTERNAL_CALLBACK_HANDLER_H

#include "api/http/route.h"

extern const struct json_field callback_fields[];

/* POST /internal/v1/callbacks. Idempotent: a repeated hand-out gets the same outcome again. May
 * wait for definitions (ROUTE_BLOCKING). Answers:
 * - 200 {"process", "outcomes": ["delivered" | "gone" | "undeliverable" | "later"], "reasons":
 *   {"<index>": text}}, see hand_outs.h
 * - 409 {"error", "highest_term"}: the term is below the highest one that this replica has seen
 * - 409 {"error", "process"}: the callback is for another process of this replica
 * - 503: a definition can't be read now. Some hand-outs may have been delivered; the same callback,
 *   repeated, reports them. */
enum bw_code callback_handle(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
