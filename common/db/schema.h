/*
 * layout: which collections and indices there are in Broadway's database. Caller: database, before
 * its first operation.
 */
#ifndef COMMON_DB_SCHEMA_H
#define COMMON_DB_SCHEMA_H

#include <mongoc/mongoc.h>
#include <stdbool.h>

/* Makes what is missing of them in the database called `name`. Idempotent, also by several
 * processes at once. False: *reason says why not. */
bool schema_make(mongoc_client_t *client, const char *name, const mongoc_write_concern_t *concern,
                 bson_error_t *reason);

#endif
