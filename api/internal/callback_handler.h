/*
 * callback_handler: the endpoint that the scheduler posts to: hand-outs, empty polls, answers to
 * queries and events, of one leader's term. Called by dispatch alone, see api/http/route.h.
 */
#ifndef API_INTERNAL_CALLBACK_HANDLER_H
#define API_INTERNAL_CALLBACK_HANDLER_H

#include "api/http/route.h"

extern const struct json_field callback_fields[];

/* POST /internal/v1/callbacks: hand-outs and empty polls, of one leader's term. Idempotent: a
 * hand-out that is repeated gets the same outcome again. Waits for definitions: ROUTE_BLOCKING. 200
 * {"process", "outcomes": ["delivered" | "gone" | "undeliverable"], "reasons": {"<index>": text}};
 * 409 {"error", "highest_term"} for a term below the highest seen; 409 {"error", "process"} if
 * another process was meant; 503 if a definition can't be read now. Unless it is 200, nothing was
 * handed out. */
enum bw_code callback_handle(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
