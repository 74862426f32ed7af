/*
 * grader_limits: states the limits of what a grader may send, that it may return jobs, that jobs
 * and results may have files, that results may have scores, that chunks of logs may be sent while a
 * job runs, and which optional arguments a registration may have, in headers of the answer to its
 * registration (also of a websocket's handshake, which comes before the registration). They are not
 * in the bodies, since graders of the course protocol compare the bodies' keys. Callers: the
 * handlers of registrations, on any thread. No state.
 */
#ifndef API_GRADING_GRADER_LIMITS_H
#define API_GRADING_GRADER_LIMITS_H

#include "api/http/exchange.h"
#include "api/options.h"

/* What files may belong to: the value of the header Broadway-Files, and of `files` in the answer to
 * the registration by a websocket. */
#define GRADER_FILES "input, results"

/* Adds the headers to the exchange's answer. Called before the answer. */
void grader_limits_write(const struct api_options *options, struct exchange *exchange);

#endif
