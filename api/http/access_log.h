/*
 * access_log: writes one line to the log for every answered request, and counts it in the metrics.
 * Called by the HTTP servers, once per request, from any thread. A line never has a token, a query
 * or a worker id, which is a credential. Reads, polls and heartbeats are logged at level debug,
 * unless they are refused.
 */
#ifndef API_HTTP_ACCESS_LOG_H
#define API_HTTP_ACCESS_LOG_H

#include "api/http/exchange.h"
#include "common/base/metrics.h"

/* `request` may have no route: then its path is not logged either, since it is any text that a
 * client sent. */
void access_log_write(struct metrics *metrics, const struct request *request, int status);

#endif
