/*
 * job_return: a grader returns a job that it was handed, because it can't run it: its lease ends,
 * and the scheduler hands the job to another worker. Callers: the handlers of results of both
 * protocols, and the websockets' thread. No function waits: database operations run in the thread
 * pool.
 *
 * It is no result. The holder of a superseded job that returns it does not go on with it. The
 * arguments of a result with `outcome` are one: "infrastructure" is its only value; `reason` is a
 * sentence for people. What else they have is ignored.
 */
#ifndef API_GRADING_JOB_RETURN_H
#define API_GRADING_JOB_RETURN_H

#include <jansson.h>
#include <stdbool.h>

#include "common/base/error.h"
#include "common/domain/protocol_map.h"

struct api;

struct job_return_request {
    const char *job, *worker; /* borrowed during job_return_begin, as all of this */
    const json_t *arguments;
    enum protocol protocol; /* the worker's */
    bool is_ruled;          /* by an owner rule of the run: the grader ran the job. If the job has a
                               result, that is BW_CONFLICT, whoever the grader is */
    /* Called once, from any thread. BW_OK: it is on record, now or before; or the job is over, and
     * the grader was its holder, or is excused (job_claim.h). BW_NOT_FOUND: there is no such job.
     * BW_CONFLICT: the worker never had it, its lease has ended otherwise, or the job has a result.
     * BW_UNAVAILABLE: not stored in time. */
    void (*completed)(enum bw_code code, const struct bw_error *error, void *context);
    void *context;
};

/* Are these the arguments of a return, not of a result? */
bool job_return_is_asked(const json_t *arguments);

/* The check of the field `outcome`: a struct json_field's. */
enum bw_code job_return_check_outcome(const json_t *value, const char *path, const void *context,
                                      struct bw_error *error);

/* BW_OK: `completed` is called, now or later. Otherwise it is not: BW_NOT_FOUND. */
enum bw_code job_return_begin(struct api *api, const struct job_return_request *request,
                              struct bw_error *error) BW_CHECKED;

#endif
