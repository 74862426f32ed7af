#include "api/http/client_network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static void network_of_ipv6(const struct in6_addr *address, char network[CLIENT_NETWORK_SIZE])
{
    struct in6_addr half = *address;
    if (IN6_IS_ADDR_V4MAPPED(address)) {
        inet_ntop(AF_INET, &address->s6_addr[12], network, CLIENT_NETWORK_SIZE);
        return;
    }
    memset(&half.s6_addr[8], 0, 8);
    inet_ntop(AF_INET6, &half, network, CLIENT_NETWORK_SIZE);
    strncat(network, "/64", CLIENT_NETWORK_SIZE - 1 - strlen(network));
}

void client_network(const char *address, char network[CLIENT_NETWORK_SIZE])
{
    struct in6_addr ipv6;
    snprintf(network, CLIENT_NETWORK_SIZE, "%.*s", (int)strcspn(address, "%"), address);
    if (strchr(network, ':') != NULL && inet_pton(AF_INET6, network, &ipv6) == 1)
        network_of_ipv6(&ipv6, network);
}

void client_network_of(const struct sockaddr *from, char network[CLIENT_NETWORK_SIZE])
{
    network[0] = '\0';
    if (from->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)from)->sin_addr, network,
                  CLIENT_NETWORK_SIZE);
    else if (from->sa_family == AF_INET6)
        network_of_ipv6(&((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, network);
}
