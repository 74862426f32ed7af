/*
 * responses: the responses of an operation in the OpenAPI document, by the statuses that it can
 * answer. Which refusals a route can answer follows from who may use it and from its path; its row
 * in operations.c adds the others. Callers: openapi_document. Pure; safe from any thread.
 */
#ifndef API_OPENAPI_RESPONSES_H
#define API_OPENAPI_RESPONSES_H

#include <jansson.h>

#include "api/http/route.h"
#include "api/openapi/operations.h"
#include "common/domain/protocol_map.h"

/* {status: response} of a route. New reference. */
json_t *responses_of(const struct route *route, const struct operation *row,
                     enum protocol protocol);

/* {name: response}: all refusals, to which the responses refer. New reference. */
json_t *responses_components(void);

/* Adds the responses of another protocol's operation at the same path and method. Both are
 * borrowed. */
void responses_merge(json_t *responses, const json_t *others);

/* The same with their refusals alone. */
void responses_merge_refusals(json_t *responses, const json_t *others);

/* Adds a refusal in the form of any protocol. */
void responses_add_refusal(json_t *responses, int status);

#endif
