#include "api/http/connection_capacity.h"

#include "api/http/connection_table.h"
#include "api/http/lingering_close.h"
#include "api/http/server.h"
#include "common/base/descriptors.h"

enum {
    CONNECTION_CAPACITY_SERVER = 2 * HTTP_SERVER_THREADS + 8 + CONNECTION_CLOSING_MAX / 2,
    /* a port: two of each thread, its helpers', connections that are just being closed */
    CONNECTION_CAPACITY_OTHER = 16 /* the log, the websockets' loop, a file that is read */
};

/* All that is needed besides the public port's connections and their lingering ones. */
static size_t connection_capacity_reserved(size_t database)
{
    return (size_t)2 * CONNECTION_CAPACITY_SERVER + database + CONNECTION_CAPACITY_OTHER +
           CONNECTION_CAPACITY_INTERNAL + lingering_close_room(CONNECTION_CAPACITY_INTERNAL);
}

static size_t connection_capacity_needed(size_t database, size_t connections)
{
    return connection_capacity_reserved(database) + connections + lingering_close_room(connections);
}

enum bw_code connection_capacity_fit(size_t database, size_t *connections, struct bw_error *error)
{
    size_t limit = descriptors_raise(),
           least = connection_capacity_needed(database, CONNECTION_CAPACITY_LEAST);
    if (limit < least)
        return descriptors_refuse(limit, least, CONNECTION_CAPACITY_LEAST, database, error);
    while (connection_capacity_needed(database, *connections) > limit)
        *connections -= (connection_capacity_needed(database, *connections) - limit + 1) / 2;
    return BW_OK;
}
