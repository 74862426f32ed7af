#include "common/port.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Returns the length, or 0: no numeric address. */
static socklen_t make_address(const char *text, uint16_t port, union address *made)
{
    memset(made, 0, sizeof *made);
    if (inet_pton(AF_INET, text, &made->v4.sin_addr) == 1) {
        made->v4.sin_family = AF_INET;
        made->v4.sin_port = htons(port);
        return sizeof made->v4;
    }
    if (inet_pton(AF_INET6, text, &made->v6.sin6_addr) == 1) {
        made->v6.sin6_family = AF_INET6;
        made->v6.sin6_port = htons(port);
        return sizeof made->v6;
    }
    return 0;
}

/* 0, or errno. */
static int try_to_listen(const union address *address, socklen_t length)
{
    int yes = 1, reason = 0,
        listener = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0)
        return errno;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes,
               sizeof yes); /* connections that ended lately don't count */
    if (bind(listener, &address->any, length) != 0 || listen(listener, 1) != 0)
        reason = errno;
    close(listener);
    return reason;
}

enum bw_code port_refuse(const char *flag, const char *address, int64_t port, int reason,
                         struct bw_error *error)
{
    return bw_fail(error, BW_BAD_REQUEST, "%s %d: can't be opened on %.60s: %s", flag, (int)port,
                   address, strerror(reason));
}

enum bw_code port_check(const char *flag, const char *address, int64_t port, struct bw_error *error)
{
    union address made;
    socklen_t length = make_address(address, (uint16_t)port, &made);
    int reason = length == 0 ? EADDRNOTAVAIL : try_to_listen(&made, length);
    return reason == 0 ? BW_OK : port_refuse(flag, address, port, reason, error);
}
