#include "api/protocols.h"

#include "api/classic/protocol.h"
#include "api/course/protocol.h"
#include "api/internal/protocol.h"

const struct wire_protocol *const protocols[PROTOCOLS + 1] = {
    [PROTOCOL_CLASSIC] = &classic_protocol,
    [PROTOCOL_COURSE] = &course_protocol,
};

const struct wire_protocol *const internal_protocols[] = {&internal_protocol, NULL};
