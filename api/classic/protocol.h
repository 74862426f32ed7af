/*
 * classic/protocol: the classic protocol, as the table of protocols needs it (api/protocols.c): its
 * routes, and who may use them. Graders identify themselves by the argument `worker_id`, and
 * register with the cluster token as the argument `token`. Clients send the client token as a
 * bearer token, or need none. Constant; its functions run on the threads that wire_protocol.h
 * names.
 */
#ifndef API_CLASSIC_PROTOCOL_H
#define API_CLASSIC_PROTOCOL_H

#include "api/http/wire_protocol.h"

extern const struct wire_protocol classic_protocol;
extern const struct route classic_routes[];

#endif
