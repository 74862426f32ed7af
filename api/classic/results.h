/*
 * classic/results: the results of a run in the classic protocol. A run of another protocol counts
 * as unknown. Called by dispatch alone, see api/http/route.h; waits for the database
 * (ROUTE_BLOCKING).
 */
#ifndef API_CLASSIC_RESULTS_H
#define API_CLASSIC_RESULTS_H

#include "api/http/route.h"

/* GET /api/v1/grading_run/{id}/results → api/grading/run_results.h */
enum bw_code classic_results_show(struct api *api, struct exchange *exchange,
                                  struct bw_error *error);

#endif
