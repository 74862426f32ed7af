/*
 * socket_handshake: is this request one for a websocket, and what is its key answered with?
 * Callers: the HTTP server, on the server's threads. No state.
 */
#ifndef API_WEBSOCKET_HANDSHAKE_H
#define API_WEBSOCKET_HANDSHAKE_H

#include "api/http/exchange.h"
#include "common/base/error.h"

enum { SOCKET_ACCEPT_SIZE = 32 };

/* Checks the headers (RFC 6455, 4.2.1) and writes the value of Sec-WebSocket-Accept.
 * BW_BAD_REQUEST: it asks for no websocket, or not as it must. */
enum bw_code socket_handshake(const struct exchange *exchange, const char *http_version,
                              char accept[SOCKET_ACCEPT_SIZE], struct bw_error *error) BW_CHECKED;

/* The value for a key of 24 characters. */
void socket_accept_value(const char *key, char accept[SOCKET_ACCEPT_SIZE]);

#endif
