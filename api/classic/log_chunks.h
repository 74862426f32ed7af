/*
 * classic_log_chunks: POST /api/v1/grading_job/{job}/log: a grader sends a chunk of the log of a
 * job that it runs. The handler runs on the thread pool, and waits for the database.
 */
#ifndef API_CLASSIC_LOG_CHUNKS_H
#define API_CLASSIC_LOG_CHUNKS_H

#include "api/http/route.h"
#include "common/base/error.h"
#include "common/base/json.h"

extern const struct json_field classic_log_chunk_fields[];

/* Handler: see struct route. */
enum bw_code classic_log_chunks_store(struct api *api, struct exchange *exchange,
                                      struct bw_error *error) BW_CHECKED;

#endif
