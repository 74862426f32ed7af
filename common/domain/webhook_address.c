#include "common/domain/webhook_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/alloc.h"

enum { ENTRIES_MAX = 100, NAME_SIZE = 254, ADDRESS_BYTES = 16 };

/* A network; addresses of IPv4 are kept as ::ffff:a.b.c.d. */
struct network {
    uint8_t bytes[ADDRESS_BYTES];
    unsigned bits;
};

struct webhook_allow_list {
    struct network networks[ENTRIES_MAX];
    char hosts[ENTRIES_MAX][NAME_SIZE];
    size_t network_count, host_count;
};

static const uint8_t mapped[] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* ---- Networks ---- */

static bool network_has(const struct network *network, const uint8_t address[ADDRESS_BYTES])
{
    unsigned whole = network->bits / 8, rest = network->bits % 8;
    if (memcmp(network->bytes, address, whole) != 0)
        return false;
    return rest == 0 || (network->bytes[whole] ^ address[whole]) >> (8 - rest) == 0;
}

/* Reads an address of either kind. *bits: how many there are of its kind. */
static bool network_parse_address(const char *text, struct network *network, unsigned *own_bits)
{
    memcpy(network->bytes, mapped, sizeof mapped);
    *own_bits = 32;
    if (inet_pton(AF_INET, text, network->bytes + sizeof mapped) == 1)
        return true;
    *own_bits = 128;
    return inet_pton(AF_INET6, text, network->bytes) == 1;
}

/* ADDRESS or ADDRESS/BITS. */
static bool network_parse(const char *text, struct network *network)
{
    char address[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "/");
    unsigned own_bits;
    char *end = "";
    if (length >= sizeof address)
        return false;
    memcpy(address, text, length);
    address[length] = '\0';
    if (!network_parse_address(address, network, &own_bits))
        return false;
    unsigned long bits = own_bits;
    if (text[length] == '/')
        bits = strtoul(text + length + 1, &end, 10);
    if (*end != '\0' || end == text + length + 1 || bits > own_bits)
        return false;
    network->bits = (unsigned)bits + (128 - own_bits);
    return true;
}

/* The special-purpose networks of the IANA's registries, what is not global unicast, and
 * 168.63.129.16, at which a cloud's hosts serve their machines. */
static const char *const refused_networks[] = {
    "0.0.0.0/8",     "10.0.0.0/8",      "100.64.0.0/10",  "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12", "192.0.0.0/24",    "192.0.2.0/24",   "192.88.99.0/24", "192.168.0.0/16",
    "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4",    "240.0.0.0/4",
    "2001::/23",     "2001:db8::/32",   "2002::/16",      "3fff::/20",      "168.63.129.16",
};

/* Of IPv6, only global unicast is public: mapped and translated addresses are not. */
static bool address_is_public(const uint8_t address[ADDRESS_BYTES], bool is_v4)
{
    static const struct network global = {{0x20}, 3};
    if (!is_v4 && !network_has(&global, address))
        return false;
    for (size_t i = 0; i < sizeof refused_networks / sizeof *refused_networks; i++) {
        struct network refused;
        if (!network_parse(refused_networks[i], &refused) || network_has(&refused, address))
            return false;
    }
    return true;
}

/* ---- The list ---- */

static bool is_host_name(const char *text)
{
    size_t length = strlen(text);
    return length > 0 && length < NAME_SIZE &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") ==
               length &&
           strspn(text, "0123456789.") < length;
}

static enum bw_code allow_list_add(struct webhook_allow_list *list, const char *entry,
                                   struct bw_error *error)
{
    if (list->network_count == ENTRIES_MAX || list->host_count == ENTRIES_MAX)
        return bw_fail(error, BW_BAD_REQUEST, "has more than %d entries", (int)ENTRIES_MAX);
    if (network_parse(entry, &list->networks[list->network_count]))
        list->network_count++;
    else if (is_host_name(entry))
        snprintf(list->hosts[list->host_count++], NAME_SIZE, "%s", entry);
    else
        return bw_fail(error, BW_BAD_REQUEST,
                       "'%s' is neither a network, like 10.1.0.0/16, nor a host name", entry);
    return BW_OK;
}

enum bw_code webhook_allow_list_new(const char *text, struct webhook_allow_list **list,
                                    struct bw_error *error)
{
    struct webhook_allow_list *read = bw_alloc(sizeof *read);
    enum bw_code code = BW_OK;
    while (code == BW_OK && text != NULL && *text != '\0') {
        char entry[NAME_SIZE];
        size_t length = strcspn(text, ",");
        snprintf(entry, sizeof entry, "%.*s", (int)(length < NAME_SIZE ? length : NAME_SIZE), text);
        code = allow_list_add(read, entry, error);
        text += length + (text[length] == ',');
    }
    if (code != BW_OK) {
        free(read);
        return code;
    }
    *list = read;
    return BW_OK;
}

void webhook_allow_list_free(struct webhook_allow_list *list)
{
    free(list);
}

/* The address in the form of struct network. False: it is of no kind that is known. */
static bool address_take(const struct sockaddr *address, uint8_t bytes[ADDRESS_BYTES])
{
    memcpy(bytes, mapped, sizeof mapped);
    if (address->sa_family == AF_INET) {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
        memcpy(bytes + sizeof mapped, &v4->sin_addr, 4);
    } else if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)address;
        memcpy(bytes, &v6->sin6_addr, ADDRESS_BYTES);
    } else {
        return false;
    }
    return true;
}

bool webhook_address_is_allowed(const struct webhook_allow_list *list, const char *host,
                                const struct sockaddr *address)
{
    uint8_t bytes[ADDRESS_BYTES];
    if (!address_take(address, bytes))
        return false;
    for (size_t i = 0; i < list->network_count; i++)
        if (network_has(&list->networks[i], bytes))
            return true;
    for (size_t i = 0; i < list->host_count; i++)
        if (strcasecmp(list->hosts[i], host) == 0)
            return true;
    return address_is_public(bytes, address->sa_family == AF_INET);
}
