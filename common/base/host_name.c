#include "common/base/host_name.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { HOST_NAME_LONGEST = 256 };

bool address_is_loopback(const char *address)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, address, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, address, &v6) != 1)
        return false;
    return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
}

bool host_is_foreign_name(const char *host)
{
    char name[HOST_NAME_LONGEST];
    struct in6_addr address;
    if (host == NULL || host[0] == '\0')
        return false;
    bool is_bracketed = host[0] == '[';
    size_t length = strcspn(host + is_bracketed, is_bracketed ? "]" : ":");
    if (length >= sizeof name)
        return true;
    snprintf(name, sizeof name, "%.*s", (int)length, host + is_bracketed);
    if (is_bracketed)
        return inet_pton(AF_INET6, name, &address) != 1;
    return strcasecmp(name, "localhost") != 0 && inet_pton(AF_INET, name, &address) != 1;
}
