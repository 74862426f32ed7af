#include "api/http/descriptors.h"

#include <stdint.h>
#include <sys/resource.h>

#include "api/http/connection_table.h"
#include "api/http/server.h"

enum {
    DESCRIPTORS_SERVER = 2 * HTTP_SERVER_THREADS + 8 + CONNECTION_CLOSING_MAX / 2,
    /* a port: two of each thread, its helpers', connections that are just being closed */
    DESCRIPTORS_DATABASE = 96, /* its pools, and what watches a replica set */
    DESCRIPTORS_OTHER = 16,    /* the log, the websockets' loop, a file that is read */
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
static size_t descriptors_reserved(void)
{
    return (size_t)2 * DESCRIPTORS_SERVER + DESCRIPTORS_DATABASE + DESCRIPTORS_OTHER +
           DESCRIPTORS_INTERNAL + descriptors_lingering(DESCRIPTORS_INTERNAL);
}

static size_t descriptors_needed(size_t connections)
{
    return descriptors_reserved() + connections + descriptors_lingering(connections);
}

static size_t descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return SIZE_MAX;
    rlim_t most = limit.rlim_max;
    limit.rlim_cur = most;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) == 0)
        most = limit.rlim_cur;
    return most == RLIM_INFINITY ? SIZE_MAX : (size_t)most;
}

enum bw_code descriptors_settle(size_t *connections, struct bw_error *error)
{
    size_t limit = descriptors_raise();
    if (limit < descriptors_needed(DESCRIPTORS_LEAST))
        return bw_fail(
            error, BW_BAD_REQUEST,
            "the limit of open files is %zu, but at least %zu are needed, %d of them for "
            "connections: raise it (ulimit -n, LimitNOFILE)",
            limit, descriptors_needed(DESCRIPTORS_LEAST), DESCRIPTORS_LEAST);
    while (descriptors_needed(*connections) > limit)
        *connections -= (descriptors_needed(*connections) - limit + 1) / 2;
    return BW_OK;
}
