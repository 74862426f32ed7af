/*
 * job_log: where a job's stdout and stderr are, and what is there of them: the chunks of its
 * current attempt while it runs, the log that came with the result afterwards. Callers:
 * job_log_request, on the thread pool, and log_streams, on its own thread; waits for the database.
 */
#ifndef API_GRADING_JOB_LOG_H
#define API_GRADING_JOB_LOG_H

#include <stdbool.h>

#include "common/base/error.h"
#include "common/domain/log_pieces.h"
#include "common/domain/run.h"
#include "common/store/log_chunk_store.h"
#include "common/store/result_store.h"

struct api;

/* Where a job's log is now. */
struct job_log_state {
    struct log_place place; /* the current attempt; 0: it was never handed out */
    bool is_over;           /* the job has its result, and no grader goes on with it; or its run was
                               over before */
    struct result result;   /* then; without its text; or what stands for it (job_log_left_over) */
};

/* What stands for the result of a job that never got one, since its run is over: an outcome and a
 * reason. */
struct result job_log_left_over(const char *job, enum run_phase phase);

/* Finds the current attempt of place.job, and the result. BW_NOT_FOUND: its run is gone;
 * BW_UNAVAILABLE. */
enum bw_code job_log_find(struct api *api, struct job_log_state *state, struct bw_error *error)
    BW_CHECKED;

/* Reads the pieces, sorted, of the log: of a job that runs those from `from` on, and perhaps some
 * before. The caller must call log_pieces_clear in any case. BW_UNAVAILABLE. */
enum bw_code job_log_read(struct api *api, const struct job_log_state *state, int64_t from,
                          struct log_pieces *pieces, struct bw_error *error) BW_CHECKED;

#endif
