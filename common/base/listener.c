#include "common/base/listener.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 4096, PORT_SIZE = 8 };

static int open_at(const struct addrinfo *where)
{
    int one = 1;
    int fd = socket(where->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, where->ai_addr, where->ai_addrlen) == 0 && listen(fd, LISTEN_BACKLOG) == 0)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

uint16_t listener_port(int fd)
{
    struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof address;
    char port[PORT_SIZE] = "0";
    if (getsockname(fd, (struct sockaddr *)&address, &length) == 0)
        getnameinfo((struct sockaddr *)&address, length, NULL, 0, port, sizeof port,
                    NI_NUMERICSERV);
    return (uint16_t)strtoul(port, NULL, 10);
}

enum bw_code listener_open(const char *address, uint16_t port, int *fd, struct bw_error *error)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *where;
    char service[PORT_SIZE];
    snprintf(service, sizeof service, "%u", port);
    int reason = getaddrinfo(address, service, &hints, &where);
    if (reason != 0)
        return bw_fail(error, BW_INTERNAL, "'%s' is not a numeric address: %s", address,
                       gai_strerror(reason));
    int opened = open_at(where);
    int failure = errno;
    freeaddrinfo(where);
    if (opened < 0)
        return bw_fail(error, BW_BAD_REQUEST, "%s: can't be opened on %.60s: %s", service, address,
                       strerror(failure));
    *fd = opened;
    return BW_OK;
}
