/*
 * internal: the endpoints of the internal port: what the scheduler tells this replica, and what
 * operators ask. Called by dispatch alone, see api/http/route.h. The internal port stays open to
 * the end of the process.
 */
#ifndef API_UPLINK_CALLBACK_HANDLER_H
#define API_UPLINK_CALLBACK_HANDLER_H

#include "api/http/route.h"

extern const struct json_field callback_fields[];

/* POST /internal/v1/callbacks: hand-outs and empty polls, of one leader's term. Idempotent: a
 * hand-out that is repeated gets the same outcome again. Waits for definitions: ROUTE_BLOCKING. 200
 * {"process", "outcomes": ["delivered" | "gone" | "undeliverable"], "reasons": {"<index>": text}};
 * 409 {"error", "highest_term"} for a term below the highest seen; 409 {"error", "process"} if
 * another process was meant; 503 if a definition can't be read now. Unless it is 200, nothing was
 * handed out. */
enum bw_code internal_callbacks(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET /healthz: alive. GET /readyz: not draining, and the database was reached in the last round of
 * life. */
enum bw_code internal_healthz(struct api *api, struct exchange *exchange, struct bw_error *error);
enum bw_code internal_readyz(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET /metrics, for Prometheus. */
enum bw_code internal_metrics(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
