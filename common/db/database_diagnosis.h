/*
 * database_diagnosis: finds why a reachable database can't be used: its version, or the name of its
 * replica set. Only for database.c.
 */
#ifndef COMMON_DB_DATABASE_DIAGNOSIS_H
#define COMMON_DB_DATABASE_DIAGNOSIS_H

#include <mongoc/mongoc.h>
#include <stdbool.h>

#include "common/base/error.h"

/* Whether the server is older than the oldest supported version. `hello` is its reply to that
 * command, or `reason` the failure of it (else NULL). True: the sentence names both versions. Reads
 * the server's version. */
bool diagnosis_is_too_old(mongoc_client_t *client, const bson_t *hello, const bson_error_t *reason,
                          struct bw_error *sentence);

/* Queries the servers of `uri` one by one, without their replica set, which takes some seconds.
 * True: one of them has another replica set than `uri` names; the sentence names both. */
bool diagnosis_is_other_set(const mongoc_uri_t *uri, const char *application,
                            struct bw_error *sentence);

#endif
