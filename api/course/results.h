/*
 * course/results: the results of runs for course staff: of one run, of an assignment, of a course.
 * A run of another course, or of another protocol, counts as not found. Called by dispatch alone,
 * see api/http/route.h; all wait for the database (ROUTE_BLOCKING).
 */
#ifndef API_COURSE_RESULTS_H
#define API_COURSE_RESULTS_H

#include "api/http/route.h"

/* GET grading_run/{course}/{run}/results → api/grading/run_results.h */
enum bw_code course_results_show(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

/* GET results/{course} and results/{course}/{assignment}: of all its runs. */
enum bw_code course_results_list(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

#endif
