/*
 * course/jobs: the endpoints of jobs for course staff: the jobs of a run, and one job. A run or a
 * job of another course, or of another protocol, counts as not found. Called by dispatch alone, see
 * api/http/route.h; both wait for the database (ROUTE_BLOCKING).
 */
#ifndef API_COURSE_JOBS_H
#define API_COURSE_JOBS_H

#include "api/http/route.h"

/* GET grading_run/{course}/{run}/jobs → api/grading/job_list.h */
enum bw_code course_jobs_list(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET grading_run/{course}/{run}/receipts → api/grading/run_receipts.h. A run that has not ended is
 * refused. */
enum bw_code course_jobs_receipts(struct api *api, struct exchange *exchange,
                                  struct bw_error *error);

/* GET grading_job/{course}/{job} → api/grading/job_detail.h */
enum bw_code course_jobs_show(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET /api/v1/grading_job/{course}/{job}/log */
enum bw_code course_jobs_log(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
