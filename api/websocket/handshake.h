/*
 * handshake: the websocket handshake of RFC 6455: checks a request's headers, and computes the
 * answer's. Callers: protocols with websockets, on the server's threads. No state.
 */
#ifndef API_WEBSOCKET_HANDSHAKE_H
#define API_WEBSOCKET_HANDSHAKE_H

#include "api/http/exchange.h"
#include "api/http/wire_protocol.h"
#include "common/base/error.h"

/* Checks the headers (RFC 6455, 4.2.1) and writes the value of Sec-WebSocket-Accept.
 * BW_BAD_REQUEST: the request does not ask for a websocket, or has an invalid header;
 * BW_UPGRADE_REQUIRED: it asks for another version. */
enum bw_code socket_handshake(const struct exchange *exchange, const char *http_version,
                              char accept[UPGRADE_ACCEPT_SIZE], struct bw_error *error) BW_CHECKED;

/* The value for a key of 24 characters. For tests. */
void socket_accept_value(const char *key, char accept[UPGRADE_ACCEPT_SIZE]);

#endif
