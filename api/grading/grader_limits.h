/*
 * grader_limits: what a grader may send, told to it when it registers, in headers of the answer (of
 * a websocket's handshake too). They are not in the bodies: graders of the course protocol compare
 * those with what they expect. Callers: the HTTP server, on the server's threads. Pure.
 */
#ifndef API_GRADING_GRADER_LIMITS_H
#define API_GRADING_GRADER_LIMITS_H

#include <stdint.h>

#include "api/options.h"

enum { GRADER_LIMITS = 3, GRADER_LIMIT_SIZE = 24 };

struct grader_limit {
    const char *header;
    char bytes[GRADER_LIMIT_SIZE];
};

void grader_limits_list(const struct api_options *options,
                        struct grader_limit limits[GRADER_LIMITS]);

#endif
