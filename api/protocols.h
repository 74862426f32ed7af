/*
 * protocols: the table of the wire protocols. A new protocol is a folder beside api/classic and
 * api/course, and a row here. Callers: service, hand_outs, callback_handler;
 * constant.
 */
#ifndef API_PROTOCOLS_H
#define API_PROTOCOLS_H

#include "api/http/wire_protocol.h"
#include "common/domain/protocol_map.h"

/* Indexed by enum protocol, which is the order of precedence where two protocols have the same
 * path. Ends with NULL. */
extern const struct wire_protocol *const protocols[PROTOCOLS + 1];

/* The protocols of the internal port; ends with NULL. */
extern const struct wire_protocol *const internal_protocols[];

#endif
