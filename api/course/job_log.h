/*
 * job_log: sends a job's stdout and stderr, in the course protocol. They are read when there is
 * memory for both, and escaped part by part (api/http/answer_stream.h). Called by course_job_log,
 * on the thread pool; waits for the database.
 */
#ifndef API_COURSE_JOB_LOG_H
#define API_COURSE_JOB_LOG_H

#include "common/store/result_store.h"

struct api;
struct exchange;

/* Answers {"stderr", "stdout"}, and "files" if the result has any, from the log that `result`
 * (copied) names. The result's note follows the stderr. A job without a log, which was given up or
 * which no grader ran, has the result's reason as its stderr. */
void course_log_send(struct api *api, struct exchange *exchange, const struct result *result);

#endif
