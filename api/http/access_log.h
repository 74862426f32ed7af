/*
 * access_log: what is noted of every answered request: one line in the log, and the metrics. Called
 * by the fronts, once per request, from any thread. Never a token, a query or a worker id, which is
 * a credential. Reads, polls and heartbeats are told at the level debug, unless they are refused.
 */
#ifndef API_HTTP_ACCESS_LOG_H
#define API_HTTP_ACCESS_LOG_H

#include "api/http/exchange.h"
#include "common/base/metrics.h"

/* `request` may lack its route (then no path is noted either: it is foreign text). */
void access_log_write(struct metrics *metrics, const struct request *request, int status);

#endif
