/*
 * classic/jobs: the clients' endpoints of jobs in the classic protocol: the jobs of a run, their
 * receipts, and one job. A run or a job of another protocol counts as unknown. Called by dispatch
 * alone, see api/http/route.h; all wait for the database (ROUTE_BLOCKING).
 */
#ifndef API_CLASSIC_JOBS_H
#define API_CLASSIC_JOBS_H

#include "api/http/route.h"
#include "common/store/run_store.h"

/* Reads the run of a classic job, and the job's slot in it. On BW_OK the caller must call
 * run_clear. `id`: NUL-terminated, of any length. BW_BAD_REQUEST: there is no such job;
 * BW_UNAVAILABLE. */
enum bw_code classic_jobs_read(struct api *api, const char *id, struct run *run, uint32_t *slot,
                               struct bw_error *error) BW_CHECKED;

/* GET /api/v1/grading_run/{id}/jobs → api/grading/job_list.h */
enum bw_code classic_jobs_list(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET /api/v1/grading_run/{id}/receipts → api/grading/run_receipts.h. A run that has not ended is
 * refused with its state. */
enum bw_code classic_jobs_receipts(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

/* GET /api/v1/grading_job/{id} → api/grading/job_detail.h */
enum bw_code classic_jobs_show(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET /api/v1/grading_job/{job}/log */
enum bw_code classic_jobs_log(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET /api/v1/grading_job/{job}/estimate → api/grading/estimate_answer.h */
enum bw_code classic_jobs_estimate(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

/* POST /api/v1/grading_job/{job}/cancel → {"job_id", "state"}. Cancelling again is harmless; a job
 * that is over is refused with its state. */
enum bw_code classic_jobs_cancel(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

#endif
