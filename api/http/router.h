/*
 * router: finds the protocol and the route of a path: it asks the protocols of a server, in their
 * order. Callers: the HTTP server and dispatch, on the server's threads. No state; never waits.
 */
#ifndef API_HTTP_ROUTER_H
#define API_HTTP_ROUTER_H

#include "api/http/exchange_internal.h"

/* Finds the route, and with it the protocol, for the exchange's method and a decoded path. Fills
 * the members of the request that depend on them, and the answer's Access-Control-Allow-Origin.
 * BW_OK; BW_NO_CONTENT: a browser's OPTIONS, to be answered with *allowed; BW_METHOD_NOT_ALLOWED:
 * with *allowed, a comma-separated list; BW_NOT_FOUND. */
enum bw_code router_choose(struct exchange *exchange, const char *path,
                           char allowed[ROUTE_ALLOWED_SIZE]) BW_CHECKED;

/* Sets the answer's Access-Control-Allow-Origin, after the request's protocol has changed. */
void router_allow_origin(struct exchange *exchange);

#endif
