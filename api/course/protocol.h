/*
 * course/protocol: the course protocol, as the table of protocols needs it (api/protocols.c): its
 * routes, and who may use them. Every request has a bearer token: a token of the course that is the
 * path's first part, or, from graders, the cluster token. A grader's path contains its worker id.
 * Constant; its functions run on the threads that wire_protocol.h names.
 */
#ifndef API_COURSE_PROTOCOL_H
#define API_COURSE_PROTOCOL_H

#include "api/http/wire_protocol.h"

extern const struct wire_protocol course_protocol;
extern const struct route course_routes[];

#endif
