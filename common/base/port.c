#include "common/base/port.h"

#include <string.h>
#include <unistd.h>

#include "common/base/listener.h"

enum bw_code port_check(const char *flag, const char *address, int64_t port, struct bw_error *error)
{
    struct bw_error reason;
    int fd;
    if (listener_open(address, (uint16_t)port, &fd, &reason) != BW_OK)
        return bw_fail(error, BW_BAD_REQUEST, "%s %s", flag, reason.message);
    close(fd);
    return BW_OK;
}

enum bw_code port_refuse(const char *flag, const char *address, int64_t port, int reason,
                         struct bw_error *error)
{
    return bw_fail(error, BW_BAD_REQUEST, "%s %d: can't be opened on %.60s: %s", flag, (int)port,
                   address, strerror(reason));
}
