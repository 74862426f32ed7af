/*
 * answer_caller: whom a long answer is counted for: the token of the request, or without one its
 * address. Pure; safe from any thread.
 */
#ifndef API_HTTP_ANSWER_CALLER_H
#define API_HTTP_ANSWER_CALLER_H

#include "common/base/secret.h"

enum { ANSWER_CALLER_SIZE = SHA256_TEXT_SIZE + 2 };

/* By a token that is valid. The key holds its digest, not the token. */
void answer_caller_of_token(const char *token, char key[ANSWER_CALLER_SIZE]);

/* By a numeric address, as api/http/client_network.h counts them. */
void answer_caller_of_address(const char *address, char key[ANSWER_CALLER_SIZE]);

#endif
