/*
 * classic/runs: the clients' endpoints of the classic protocol that find runs and give back what
 * was submitted. Called by dispatch alone, see api/http/route.h, on the thread pool.
 */
#ifndef API_CLASSIC_RUNS_H
#define API_CLASSIC_RUNS_H

#include "api/http/route.h"

/* GET /api/v1/grading_run → the runs of this protocol (api/grading/run_list.h) */
enum bw_code classic_runs_list(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET /api/v1/grading_run/{id}/definition → what was submitted */
enum bw_code classic_runs_definition(struct api *api, struct exchange *exchange,
                                     struct bw_error *error);

/* GET /api/v1/grading_run/{id}/estimate → api/grading/estimate_answer.h */
enum bw_code classic_runs_estimate(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

#endif
