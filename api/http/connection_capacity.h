/*
 * connection_capacity: fits the number of connections to the limit of open files. Called by
 * service, on main's thread, at startup.
 */
#ifndef API_HTTP_CONNECTION_CAPACITY_H
#define API_HTTP_CONNECTION_CAPACITY_H

#include <stddef.h>

#include "common/base/error.h"

enum {
    CONNECTION_CAPACITY_LEAST = 64,   /* least number of connections; with fewer the start fails */
    CONNECTION_CAPACITY_INTERNAL = 64 /* connections of the internal port */
};

/* Raises the process's soft limit of open files to its hard limit. Lowers *connections, the public
 * port's, to the number that the limit leaves besides `database` descriptors (database_descriptors)
 * and all others. BW_BAD_REQUEST: that is too few; the sentence says what is needed. */
enum bw_code connection_capacity_fit(size_t database, size_t *connections, struct bw_error *error)
    BW_CHECKED;

#endif
