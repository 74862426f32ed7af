/*
 * classic/explain: the endpoints that say why a job, a run or a grader waits. They may wait for the
 * database, and answer when the scheduler does. Called by dispatch alone, see api/http/route.h.
 */
#ifndef API_CLASSIC_EXPLAIN_H
#define API_CLASSIC_EXPLAIN_H

#include "api/http/route.h"

/* GET /api/v1/grading_run/{id}/explain */
enum bw_code classic_explain_run(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

/* GET /api/v1/grading_job/{job}/explain */
enum bw_code classic_explain_job(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

/* GET /api/v1/worker_explain?worker_id= */
enum bw_code classic_explain_worker(struct api *api, struct exchange *exchange,
                                    struct bw_error *error);

#endif
