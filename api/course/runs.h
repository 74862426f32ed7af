/*
 * course_runs: the endpoints of course staff that find runs, give back what was submitted, and show
 * a run with its students and results. Called by dispatch alone, see api/http/route.h, on the
 * thread pool.
 */
#ifndef API_COURSE_RUNS_H
#define API_COURSE_RUNS_H

#include "api/http/route.h"

/* GET grading_runs/{course} and grading_runs/{course}/{assignment} (api/grading/run_list.h) */
enum bw_code course_runs_list(struct api *api, struct exchange *exchange, struct bw_error *error);
enum bw_code course_runs_list_assignment(struct api *api, struct exchange *exchange,
                                         struct bw_error *error);

/* GET grading_run/{course}/{run}/definition → what was submitted */
enum bw_code course_runs_definition(struct api *api, struct exchange *exchange,
                                    struct bw_error *error);

/* GET grading_run/{course}/{run}/status (api/grading/status_answer.h) */
enum bw_code course_runs_status(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
