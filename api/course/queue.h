/*
 * course_queue: the endpoints of the course protocol that only the scheduler can answer: queue
 * length and position, estimates, the list of workers. Called by dispatch alone, see
 * api/http/route.h. The answer arrives in a callback; without a leader it is 503.
 */
#ifndef API_COURSE_QUEUE_H
#define API_COURSE_QUEUE_H

#include "api/http/route.h"

/* GET queue/{course}/length */
enum bw_code course_queue_length(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

/* GET queue/{course}/{job}/position. First reads the job from the database (ROUTE_BLOCKING). */
enum bw_code course_queue_position(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

/* GET grading_run/{course}/{run}/estimate, grading_job/{course}/{job}/estimate; first they read the
 * run from the database (ROUTE_BLOCKING). GET course/{course}/estimate. */
enum bw_code course_queue_run_estimate(struct api *api, struct exchange *exchange,
                                       struct bw_error *error);
enum bw_code course_queue_job_estimate(struct api *api, struct exchange *exchange,
                                       struct bw_error *error);
enum bw_code course_queue_estimate(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

/* GET worker/{course}/{scope}: "all" is the only scope. */
enum bw_code course_worker_list(struct api *api, struct exchange *exchange, struct bw_error *error);

#endif
