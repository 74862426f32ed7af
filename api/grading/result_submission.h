/*
 * submission: a grader's result for a job, from what it sent to the promise. Callers: the handlers
 * of both protocols, and the websockets' thread. Nobody waits: what needs the database goes on in
 * the thread pool and in the stores' threads.
 *
 * The order, and who has the submission meanwhile: result_submission_begin checks and makes it; if
 * this replica does not remember the hand-out, the thread pool asks the leases; then the logs'
 * store (if there are logs), then the results' store. Whoever has it settles it and frees it, once.
 *
 * A result is stored once a worker has had the job: what is too large in it is cut, what can't be
 * taken at all (a refusal, see api/grading/result_refusal.h) fails the job at once, by the same way
 * and the same checks.
 */
#ifndef API_GRADING_RESULT_SUBMISSION_H
#define API_GRADING_RESULT_SUBMISSION_H

#include <jansson.h>
#include <stdbool.h>

#include "api/http/route.h"
#include "common/base/json_mend.h"
#include "common/domain/protocol.h"

struct result_submission_request {
    const char *job, *worker;
    bool is_success;
    json_t *result; /* borrowed during result_submission_begin, as all of this */
    json_t *logs;   /* {"stdout"?, "stderr"?}, checked; NULL: none */
    const struct json_mend_report *mended; /* what was done to them before; NULL: nothing */
    enum protocol protocol;                /* the worker's */
    /* Not BW_OK: what the grader sent can't be taken, as `refusal` says; the job fails by that.
     * Then there is neither result nor logs. */
    enum bw_code refused;
    const struct bw_error *refusal;
    /* Called once, from any thread. BW_OK: it is stored, now or before. BW_TOO_LARGE: the result
     * can't be cut to the limit, and the job has failed by that. BW_NOT_FOUND: there is no such
     * job. BW_CONFLICT: the worker never had it, or it has another result. BW_UNAVAILABLE: not
     * stored in time. */
    void (*settled)(enum bw_code code, const struct bw_error *error, void *context);
    void *context;
};

/* BW_OK: `settled` is called, now or later. Otherwise it is not: BW_NOT_FOUND, BW_INTERNAL. */
enum bw_code result_submission_begin(struct api *api,
                                     const struct result_submission_request *request,
                                     struct bw_error *error) BW_CHECKED;

/* POST /api/v1/grading_job/{id} of the classic protocol, called by dispatch. */
extern const struct json_field result_submission_fields[];

enum bw_code result_submission_handle(struct api *api, struct exchange *exchange,
                                      struct bw_error *error);

#endif
