/*
 * course_log: sends what a job's grader said, in the course protocol: stdout and stderr, read when
 * there is memory for both, and escaped part by part (api/http/answer_stream.h). Called by its
 * handler, on the thread pool.
 */
#ifndef API_COURSE_LOG_H
#define API_COURSE_LOG_H

#include "common/store/result_store.h"

struct api;
struct exchange;

/* Answers: {"stderr", "stdout"}, of the log that the result (copied) names. Behind the stderr
 * stands the result's note; of a job that was given up, or that no grader ran, the reason takes the
 * stderr's place. */
void course_log_send(struct api *api, struct exchange *exchange, const struct result *result);

#endif
