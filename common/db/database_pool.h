/*
 * database_pool: validates a MongoDB URI, and opens pools of connections with bounded waits. Used
 * only by common/db/database.c.
 */
#ifndef COMMON_DB_DATABASE_POOL_H
#define COMMON_DB_DATABASE_POOL_H

#include <mongoc/mongoc.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct database_bounds {
    int32_t selection_ms, connect_ms, socket_ms;
    int32_t pool_size; /* connections at most */
    bool is_sized;     /* the URI's maxPoolSize takes precedence */
};

/* Reads a URI. Refuses an @ in a password (where it must be %40), an unknown option, an option that
 * weakens TLS or overrides a setting of the code, and a file of certificates that can't be read or
 * has none. Returns a URI that the caller destroys, or NULL with BW_BAD_REQUEST and a sentence that
 * names the option. Any thread. */
mongoc_uri_t *database_uri_read(const char *text, struct bw_error *error) BW_CHECKED;

/* How many connections a pool may have. */
int32_t database_pool_size(const mongoc_uri_t *base, const struct database_bounds *bounds);

/* Opens a pool. Time-outs in `base` take precedence over `bounds`, and so does its maxPoolSize if
 * `is_sized`. The driver repeats writes and reads once, unless `base` has retryWrites=false or
 * retryReads=false. `application` is the name that the database's logs show, unless `base` has one.
 * Returns a pool that the caller destroys, or NULL with BW_BAD_REQUEST in `error`. Any thread. */
mongoc_client_pool_t *database_pool_open(const mongoc_uri_t *base,
                                         const struct database_bounds *bounds,
                                         const char *application, struct bw_error *error);

#endif
