#include "api/http/host_check.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/config.h"

enum { HOST_NAME_SIZE = 256 };

static const char host_characters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:";

/* Copies the name from HOST, HOST:PORT, [V6] or [V6]:PORT. False: the text is none of these. */
static bool host_read_name(const char *host, char name[HOST_NAME_SIZE])
{
    bool is_bracketed = host[0] == '[';
    const char *begin = host + is_bracketed;
    size_t length = strcspn(begin, is_bracketed ? "]" : ":");
    if (length == 0 || length >= HOST_NAME_SIZE || strspn(begin, host_characters) < length ||
        (is_bracketed && begin[length] != ']'))
        return false;
    const char *rest = begin + length + is_bracketed;
    if (rest[0] == ':')
        rest += 1 + strspn(rest + 1, "0123456789");
    snprintf(name, HOST_NAME_SIZE, "%.*s", (int)length, begin);
    return rest[0] == '\0';
}

/* Whether both are numeric forms of the same address. */
static bool host_is_same_address(const char *one, const char *other)
{
    struct in6_addr a, b;
    if (inet_pton(AF_INET, one, &a) == 1)
        return inet_pton(AF_INET, other, &b) == 1 && memcmp(&a, &b, sizeof(struct in_addr)) == 0;
    return inet_pton(AF_INET6, one, &a) == 1 && inet_pton(AF_INET6, other, &b) == 1 &&
           memcmp(&a, &b, sizeof a) == 0;
}

static bool host_is_listed(const char *name, const char *allowed)
{
    size_t length = strlen(name);
    while (allowed != NULL && *allowed != '\0') {
        size_t own = strcspn(allowed, ",");
        bool is_bracketed = own > 2 && allowed[0] == '[' && allowed[own - 1] == ']';
        const char *entry = allowed + is_bracketed;
        size_t entry_length = is_bracketed ? own - 2 : own;
        if (entry_length == length && strncasecmp(entry, name, length) == 0)
            return true;
        allowed += own + (allowed[own] == ',');
    }
    return false;
}

bool host_is_served(const char *host, const char *allowed, const char *local)
{
    char name[HOST_NAME_SIZE];
    if (!host_read_name(host, name))
        return false;
    return strcasecmp(name, "localhost") == 0 || host_is_same_address(name, "127.0.0.1") ||
           host_is_same_address(name, "::1") || host_is_same_address(name, local) ||
           host_is_listed(name, allowed);
}

bool origin_is_served(const char *origin, const char *allowed, const char *local)
{
    static const char mark[] = "://";
    const char *at = strstr(origin, mark);
    return at != NULL && host_is_served(at + sizeof mark - 1, allowed, local);
}

enum bw_code host_list_check(const char *allowed, struct bw_error *error)
{
    char entry[HOST_NAME_SIZE], name[HOST_NAME_SIZE];
    while (allowed != NULL) {
        size_t length = strcspn(allowed, ",");
        snprintf(entry, sizeof entry, "%.*s", (int)length, allowed);
        bool has_port = entry[0] != '[' && strchr(entry, ':') != NULL;
        bool has_end = entry[0] != '[' || entry[strlen(entry) - 1] == ']';
        if (length >= sizeof entry || has_port || !has_end || !host_read_name(entry, name))
            return bw_fail(error, BW_BAD_REQUEST,
                           "%s: must be names or numeric addresses without a port, "
                           "separated by commas, like broadway.example.edu,[fd00::5]",
                           config_source("allowed-host"));
        allowed = allowed[length] == ',' ? allowed + length + 1 : NULL;
    }
    return BW_OK;
}
