#include "api/http/answer_caller.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

void answer_caller_of_token(const char *token, char key[ANSWER_CALLER_SIZE])
{
    char digest[SHA256_TEXT_SIZE];
    secret_digest(&(struct digest_part){.bytes = token, .length = strlen(token)}, 1, digest);
    snprintf(key, ANSWER_CALLER_SIZE, "t%s", digest);
}

void answer_caller_of_address(const char *address, char key[ANSWER_CALLER_SIZE])
{
    struct in6_addr ipv6;
    char plain[INET6_ADDRSTRLEN];
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(address, "%"), address); /* no zone */
    if (inet_pton(AF_INET6, plain, &ipv6) != 1) {
        snprintf(key, ANSWER_CALLER_SIZE, "a%s", address);
        return;
    }
    const unsigned char *bytes = ipv6.s6_addr;
    snprintf(key, ANSWER_CALLER_SIZE, "a%02x%02x:%02x%02x:%02x%02x:%02x%02x::", bytes[0], bytes[1],
             bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]);
}
