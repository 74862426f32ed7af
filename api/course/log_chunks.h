/*
 * course_log_chunks: POST /api/v1/grading_job/{worker}/{job}/log: a grader sends a chunk of the log
 * of a job that it runs. The handler runs on the thread pool, and waits for the database.
 */
#ifndef API_COURSE_LOG_CHUNKS_H
#define API_COURSE_LOG_CHUNKS_H

#include "api/http/route.h"
#include "common/base/error.h"
#include "common/base/json.h"

extern const struct json_field course_log_chunk_fields[];

/* Handler: see struct route. */
enum bw_code course_log_chunks_store(struct api *api, struct exchange *exchange,
                                     struct bw_error *error) BW_CHECKED;

#endif
