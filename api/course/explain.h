/*
 * course/explain: the endpoints that say why a job, a run or a grader waits. They may wait for the
 * database, and answer when the scheduler does. Called by dispatch alone, see api/http/route.h: the
 * token has been checked.
 */
#ifndef API_COURSE_EXPLAIN_H
#define API_COURSE_EXPLAIN_H

#include "api/http/route.h"

/* GET grading_run/{course}/{run}/explain */
enum bw_code course_explain_run(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET grading_job/{course}/{job}/explain */
enum bw_code course_explain_job(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET worker/{worker}/explain */
enum bw_code course_explain_worker(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

#endif
