/*
 * job_log_request: answers with a job's stdout or stderr, or with a part of it, or with a stream of
 * events (api/grading/log_streams.h). Callers: the handlers of both protocols, on the thread pool;
 * waits for the database.
 */
#ifndef API_GRADING_JOB_LOG_REQUEST_H
#define API_GRADING_JOB_LOG_REQUEST_H

#include "common/base/error.h"
#include "common/base/json.h"

struct api;
struct exchange;

/* The arguments: stream, tail or range, follow. */
extern const struct json_field job_log_fields[];

/* Answers the request for the log of a job that exists: from its arguments, and its headers.
 * `before` and `after` are static, and put around the JSON. BW_BAD_REQUEST, BW_TOO_MANY,
 * BW_UNAVAILABLE. */
enum bw_code job_log_send(struct api *api, struct exchange *exchange, const char *job,
                          const char *before, const char *after, struct bw_error *error) BW_CHECKED;

#endif
