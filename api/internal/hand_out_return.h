/*
 * hand_out_return: a job with files that comes to a grader which registered without files=true. The
 * replica returns it in the grader's name (api/grading/job_return.h), since such a grader would run
 * the job without its files and fail the student: another grader gets the job. Caller: hand_outs,
 * on the thread pool; waits for the database. No state.
 */
#ifndef API_INTERNAL_HAND_OUT_RETURN_H
#define API_INTERNAL_HAND_OUT_RETURN_H

#include <stdbool.h>

#include "api/grading/delivery_table.h"
#include "common/base/error.h"

struct api;

/* Returns the job, which has files, if its worker does not take files; *is_returned says so. May be
 * repeated. BW_OK, BW_UNAVAILABLE. */
enum bw_code hand_out_return_unfit(struct api *api, const struct hand_out *hand_out,
                                   bool *is_returned, struct bw_error *error) BW_CHECKED;

#endif
