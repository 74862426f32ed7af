#include "common/base/descriptors.h"

#include <stdint.h>
#include <sys/resource.h>

size_t descriptors_raise(void)
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

enum bw_code descriptors_refuse(size_t limit, size_t needed, size_t connections, size_t database,
                                struct bw_error *error)
{
    return bw_fail(error, BW_BAD_REQUEST,
                   "the limit of open files is %zu, but at least %zu are needed, %zu of them for "
                   "connections and %zu for the database: raise it (ulimit -n, LimitNOFILE)",
                   limit, needed, connections, database);
}
