/*
 * health: the endpoints for operators and probes on the internal port. Called by dispatch alone,
 * see api/http/route.h. None of these waits for the database. The internal port stays open to the
 * end of the process.
 */
#ifndef API_INTERNAL_HEALTH_H
#define API_INTERNAL_HEALTH_H

#include "api/http/route.h"

/* GET /healthz: 200 as long as the process serves requests. */
enum bw_code health_show_alive(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET /readyz: 200 if the public port is open, the process is not draining, and the last replica
 * heartbeat reached the database; otherwise 503 with the reason in "status". */
enum bw_code health_show_ready(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET /metrics, for Prometheus. */
enum bw_code health_show_metrics(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

#endif
