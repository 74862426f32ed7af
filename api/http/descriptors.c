#include "api/http/descriptors.h"

#include "api/http/connection_table.h"
#include "api/http/server.h"
#include "common/base/descriptors.h"

enum {
    DESCRIPTORS_SERVER = 2 * HTTP_SERVER_THREADS + 8 + CONNECTION_CLOSING_MAX / 2,
    /* a port: two of each thread, its helpers', connections that are just being closed */
    DESCRIPTORS_OTHER = 16, /* the log, the websockets' loop, a file that is read */
    LINGERING_SHARE = 16
};

size_t descriptors_lingering(size_t connections)
{
    size_t share = connections / LINGERING_SHARE;
    if (share < DESCRIPTORS_LINGERING_LEAST)
        return DESCRIPTORS_LINGERING_LEAST;
    return share < DESCRIPTORS_LINGERING_MOST ? share : DESCRIPTORS_LINGERING_MOST;
}

/* All that is needed besides the public port's connections and their lingering ones. */
static size_t descriptors_reserved(size_t database)
{
    return (size_t)2 * DESCRIPTORS_SERVER + database + DESCRIPTORS_OTHER + DESCRIPTORS_INTERNAL +
           descriptors_lingering(DESCRIPTORS_INTERNAL);
}

static size_t descriptors_needed(size_t database, size_t connections)
{
    return descriptors_reserved(database) + connections + descriptors_lingering(connections);
}

enum bw_code descriptors_settle(size_t database, size_t *connections, struct bw_error *error)
{
    size_t limit = descriptors_raise(), least = descriptors_needed(database, DESCRIPTORS_LEAST);
    if (limit < least)
        return descriptors_refuse(limit, least, DESCRIPTORS_LEAST, database, error);
    while (descriptors_needed(database, *connections) > limit)
        *connections -= (descriptors_needed(database, *connections) - limit + 1) / 2;
    return BW_OK;
}
