/*
 * course_client: what course staff and front ends ask in the course protocol: configs, runs, and
 * what became of them. Called by dispatch alone, see api/http/route.h; the token was judged, and
 * the body has passed its table. A run or a job of another course is not found. They wait for the
 * database: ROUTE_BLOCKING.
 */
#ifndef API_COURSE_CLIENT_H
#define API_COURSE_CLIENT_H

#include "api/http/route.h"
#include "common/store/run_store.h"

/* POST and GET grading_config/{course}/{assignment} */
enum bw_code course_config_put(struct api *api, struct exchange *exchange, struct bw_error *error);
enum bw_code course_config_show(struct api *api, struct exchange *exchange, struct bw_error *error);

/* POST grading_run/{course}/{assignment}: creates and starts. */
enum bw_code course_run_start(struct api *api, struct exchange *exchange, struct bw_error *error);

/* POST grading_run/{course}/{run}/cancel: asking twice is fine; one that is over stays as it is. */
enum bw_code course_run_cancel(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET grading_run_status/{course}/{run}, grading_run_env/{course}/{run} */
enum bw_code course_run_status(struct api *api, struct exchange *exchange, struct bw_error *error);
enum bw_code course_run_env(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET grading_job_log/{course}/{job} */
enum bw_code course_job_log(struct api *api, struct exchange *exchange, struct bw_error *error);

/* Reads the run of the course that the path names. BW_BAD_REQUEST: it has none of that id. On BW_OK
 * run_clear is owed. */
enum bw_code course_find_run(struct api *api, const char *course, const char *id, struct run *run,
                             struct bw_error *error) BW_CHECKED;

/* The same for a job; *slot is its place in the run. */
enum bw_code course_find_job(struct api *api, const char *course, const char *id, struct run *run,
                             uint32_t *slot, struct bw_error *error) BW_CHECKED;

#endif
