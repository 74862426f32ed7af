/*
 * job_claim: was a job ever handed to the worker that sends something for it, and why is what it
 * sends refused? Callers: result_submission and job_return. Waits for the database, where it says
 * so: for the thread pool's threads.
 */
#ifndef API_GRADING_JOB_CLAIM_H
#define API_GRADING_JOB_CLAIM_H

#include <stdbool.h>

#include "common/base/error.h"
#include "common/domain/job.h"
#include "common/domain/protocol_map.h"
#include "common/store/lease_store.h"
#include "common/store/result_store.h"

struct api;

struct job_claim {
    struct job_id job;
    char id[JOB_ID_SIZE]; /* of the job, as text */
    char worker[WORKER_ID_SIZE];
    enum protocol protocol; /* the worker's: jobs of the other are not known to it */
};

/* Fills the claim of a request. BW_NOT_FOUND: `job` is no id of a job. */
enum bw_code job_claim_make(const char *job, const char *worker, enum protocol protocol,
                            struct job_claim *claim, struct bw_error *error) BW_CHECKED;

/* Reads the worker's last lease of the job, whatever became of it. BW_NOT_FOUND: there is no such
 * job; BW_CONFLICT: the worker never had it; BW_UNAVAILABLE. Waits. */
enum bw_code job_claim_check(struct api *api, const struct job_claim *claim, struct lease *last,
                             struct bw_error *error) BW_CHECKED;

/* Whether what the worker sends too late, for a job that has the result `first`, may have to be
 * answered as if it was taken, although nothing is stored: a grader that did not ask to be told of
 * cancels could not know that the job was cancelled or superseded, and may stop for ever when it is
 * refused. Then job_claim_read_excuse decides. */
bool job_claim_may_be_excused(const struct job_claim *claim, const struct result *first);

/* Whether the worker did not ask for cancels. BW_UNAVAILABLE. Waits. */
enum bw_code job_claim_read_excuse(struct api *api, const struct job_claim *claim, bool *is_excused,
                                   struct bw_error *error) BW_CHECKED;

/* The job has its result, `first`, already: BW_CONFLICT. */
enum bw_code job_claim_refuse_second(const char *job, const char *worker,
                                     const struct result *first, struct bw_error *error);

#endif
