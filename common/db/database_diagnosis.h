/*
 * database_diagnosis: why a database that answers can't be used: its version, or the name of its
 * replica set. For database.c alone.
 */
#ifndef COMMON_DB_DATABASE_DIAGNOSIS_H
#define COMMON_DB_DATABASE_DIAGNOSIS_H

#include <mongoc/mongoc.h>
#include <stdbool.h>

#include "common/base/error.h"

/* Is the server older than what Broadway needs? `hello` is its reply to that command, or `reason`
 * tells why there is none (else NULL). True: the sentence names both versions. Asks the server for
 * its version. */
bool diagnosis_is_too_old(mongoc_client_t *client, const bson_t *hello, const bson_error_t *reason,
                          struct bw_error *sentence);

/* Asks the servers of `uri` one by one, without their replica set, seconds in all. True: one of
 * them has another replica set than `uri` names; the sentence names both. */
bool diagnosis_is_other_set(const mongoc_uri_t *uri, const char *application,
                            struct bw_error *sentence);

#endif
