/*
 * collections: the collections and indices of Broadway's database. Caller: database, before its
 * first operation.
 */
#ifndef COMMON_DB_COLLECTIONS_H
#define COMMON_DB_COLLECTIONS_H

#include <mongoc/mongoc.h>
#include <stdbool.h>

/* Creates the missing collections and indices in the database `name`. Idempotent, also by several
 * processes at once. False: *reason has the reason. */
bool collections_make(mongoc_client_t *client, const char *name,
                      const mongoc_write_concern_t *concern, bson_error_t *reason);

#endif
