/*
 * answer_caller: the key by which long answers are counted per caller: the token of the request,
 * or, without one, its address. Pure; safe from any thread.
 */
#ifndef API_HTTP_ANSWER_CALLER_H
#define API_HTTP_ANSWER_CALLER_H

#include "common/base/secret.h"

enum { ANSWER_CALLER_SIZE = SHA256_TEXT_SIZE + 2 };

/* Writes the key of a valid token. It contains the token's digest, not the token. */
void answer_caller_of_token(const char *token, char key[ANSWER_CALLER_SIZE]);

/* Writes the key of a numeric address, grouped as in api/http/client_network.h. */
void answer_caller_of_address(const char *address, char key[ANSWER_CALLER_SIZE]);

#endif
