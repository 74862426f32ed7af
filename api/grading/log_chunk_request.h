/*
 * log_chunk_request: a grader sends a chunk of a job's log while the job runs. Only the worker that
 * holds the job may: its last attempt is live, and the job has no result. Callers: the handlers of
 * both protocols and of websockets, on the thread pool; waits for the database.
 */
#ifndef API_GRADING_LOG_CHUNK_REQUEST_H
#define API_GRADING_LOG_CHUNK_REQUEST_H

#include <jansson.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/domain/protocol_map.h"
#include "common/store/log_chunk_store.h"

struct api;

/* The largest offset of a chunk. */
#define LOG_OFFSET_MAX 999999999999.0

struct log_chunk_request {
    const char *job, *worker, *stream; /* borrowed; `stream` fits log_stream_check */
    enum protocol protocol;            /* the worker's */
    struct log_chunk chunk;
};

/* Checks an argument `stream`: see struct json_field. */
enum bw_code log_stream_check(const json_t *value, const char *path, const void *context,
                              struct bw_error *error);

/* Stores the chunk; *size: of the stream. BW_BAD_REQUEST: there is no such job, the worker never
 * had it, or the chunk is empty or too long; BW_CONFLICT: the worker does not hold it any more, or
 * other bytes are there already; BW_UNAVAILABLE. */
enum bw_code log_chunk_receive(struct api *api, const struct log_chunk_request *request,
                               int64_t *size, struct bw_error *error) BW_CHECKED;

#endif
