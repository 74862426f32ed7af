/*
 * result_submission: stores a grader's result of a job. Callers: the handlers of both protocols,
 * and the websockets' thread. No function waits: database operations run in the thread pool and in
 * the stores' threads.
 *
 * The steps, each of which owns the submission: result_submission_begin checks and creates it; if
 * this replica does not have the hand-out in its table, the thread pool reads the leases; of a
 * failure it reads the rules of the run (common/domain/owner_rules.h), by which the job may be
 * returned in place of its result (api/grading/job_return.h); then it records the files (if there
 * are any); then its images are pinned (api/grading/image_pins.h) and the receipt is made
 * (api/grading/job_receipt.h); then the logs' store (if there are logs), then the results' store.
 * The owner of the last step completes and frees it, once.
 *
 * A result is stored only if its worker received the job. Parts that are too large are cut. A
 * result that can't be accepted at all (see api/grading/result_refusal.h) fails the job at once, by
 * the same steps and checks.
 */
#ifndef API_GRADING_RESULT_SUBMISSION_H
#define API_GRADING_RESULT_SUBMISSION_H

#include <jansson.h>
#include <stdbool.h>

#include "common/base/error.h"
#include "common/base/json.h"
#include "common/base/json_mend.h"
#include "common/domain/protocol_map.h"

struct api;

/* The keys of logs.stdout_cut and logs.stderr_cut: where the grader has cut a text. */
extern const struct json_field result_log_cut_fields[];

struct result_submission_request {
    const char *job, *worker;
    bool is_success;
    json_t *result; /* borrowed during result_submission_begin, as all of this */
    json_t *logs;   /* {"stdout"?, "stderr"?, "stdout_cut"?, "stderr_cut"?}, checked; NULL: none */
    json_t *files;  /* checked by result_files_check; NULL: none */
    const json_t *scores; /* an object that may have the keys of result_scores.h, checked; NULL:
                             none */
    const struct json_mend_report *mended; /* repairs while they were parsed; NULL: none */
    enum protocol protocol;                /* the worker's */
    /* Not BW_OK: the grader's result can't be accepted, with the reason in `refusal`; the job
     * fails. Then there is neither result, logs, files nor scores. */
    enum bw_code refused;
    const struct bw_error *refusal;
    /* Called once, from any thread. BW_OK: the result is stored, now or before. BW_TOO_LARGE: the
     * result can't be cut to the limit, and the job has failed. BW_NOT_FOUND: there is no such job.
     * BW_CONFLICT: the worker never had it, or it has another result. BW_UNAVAILABLE: not stored in
     * time. */
    void (*completed)(enum bw_code code, const struct bw_error *error, void *context);
    void *context;
};

/* Begins a submission. BW_OK: `completed` is called, now or later. Otherwise it is not called:
 * BW_NOT_FOUND: the text is not a job's id; BW_INTERNAL. */
enum bw_code result_submission_begin(struct api *api,
                                     const struct result_submission_request *request,
                                     struct bw_error *error) BW_CHECKED;

#endif
