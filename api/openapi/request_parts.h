/*
 * request_parts: what an operation of the OpenAPI document takes: parameters, body, credentials.
 * Callers: openapi_document. Pure; safe from any thread.
 */
#ifndef API_OPENAPI_REQUEST_PARTS_H
#define API_OPENAPI_REQUEST_PARTS_H

#include <jansson.h>

#include "api/http/route.h"
#include "api/openapi/operations.h"
#include "common/domain/protocol_map.h"

/* The parameters of a route in path and query. `path` is its path in the document, where names in
 * braces may differ. New reference. */
json_t *request_parameters(const struct route *route, const char *path);

/* Its body. NULL: it has none. New reference. */
json_t *request_body(const struct route *route, const struct operation *row);

/* Adds the body of another protocol's operation at the same path and method. NULL is allowed. */
void request_body_merge(json_t *body, const json_t *other);

/* The credentials that it accepts: a list of alternatives. New reference. */
json_t *request_security(const struct route *route, enum protocol protocol);

/* {name: scheme} of all credentials. New reference. */
json_t *request_security_schemes(void);

#endif
