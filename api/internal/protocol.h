/*
 * internal/protocol: the protocol of the internal port: the scheduler's callbacks, health, metrics.
 * Constant.
 */
#ifndef API_INTERNAL_PROTOCOL_H
#define API_INTERNAL_PROTOCOL_H

#include "api/http/wire_protocol.h"

extern const struct wire_protocol internal_protocol;
extern const struct route internal_routes[];

#endif
