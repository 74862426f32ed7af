#include "api/http/answer_caller.h"

#include <stdio.h>
#include <string.h>

#include "api/http/client_network.h"

void answer_caller_of_token(const char *token, char key[ANSWER_CALLER_SIZE])
{
    char digest[SHA256_TEXT_SIZE];
    secret_digest(&(struct digest_part){.bytes = token, .length = strlen(token)}, 1, digest);
    snprintf(key, ANSWER_CALLER_SIZE, "t%s", digest);
}

void answer_caller_of_address(const char *address, char key[ANSWER_CALLER_SIZE])
{
    char network[CLIENT_NETWORK_SIZE];
    client_network(address, network);
    snprintf(key, ANSWER_CALLER_SIZE, "a%s", network);
}
