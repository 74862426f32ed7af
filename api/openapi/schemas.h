/*
 * schemas: JSON schemas for the OpenAPI document: those of docs/schemas, which the binary contains,
 * and those that follow from tables of fields. Callers: openapi_document. Pure; safe from any
 * thread.
 */
#ifndef API_OPENAPI_SCHEMAS_H
#define API_OPENAPI_SCHEMAS_H

#include <jansson.h>

#include "common/base/json.h"

/* {name of the schema: schema} of docs/schemas, with references that fit the document. New
 * reference. */
json_t *schemas_components(void);

/* The object that refers to a schema. `to` is written as schemas refer to one another:
 * "file.json", "file.json#/$defs/name". New reference. */
json_t *schema_reference(const char *to);

/* The schema of one argument of a route with this path, with its note. New reference. */
json_t *schema_of_field(const struct json_field *field, const char *path);

/* The schema of an object with these fields (ends with a row whose name is NULL; NULL: none). New
 * reference. */
json_t *schema_of_fields(const struct json_field *fields, const char *path);

#endif
