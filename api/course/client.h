/*
 * course_client: the endpoints of course staff and front ends in the course protocol: configs,
 * runs, and their results. Called by dispatch alone, see api/http/route.h: the token has been
 * checked, and the body fits its fields. A run or a job of another course counts as not found. All
 * may wait for the database (ROUTE_BLOCKING).
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

/* POST grading_run/{course}/{run}/cancel. Cancelling again is harmless; a run that is over is
 * refused with its state. */
enum bw_code course_run_cancel(struct api *api, struct exchange *exchange, struct bw_error *error);

/* POST grading_job/{course}/{job}/cancel, in the same way. */
enum bw_code course_job_cancel(struct api *api, struct exchange *exchange, struct bw_error *error);

/* POST grading_run/{course}/{run}/rerun: creates a run of the selected students, and starts it. */
enum bw_code course_run_rerun(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET grading_run_status/{course}/{run}, grading_run_env/{course}/{run} */
enum bw_code course_run_status(struct api *api, struct exchange *exchange, struct bw_error *error);
enum bw_code course_run_env(struct api *api, struct exchange *exchange, struct bw_error *error);

/* GET grading_job_log/{course}/{job} */
enum bw_code course_job_log(struct api *api, struct exchange *exchange, struct bw_error *error);

/* Reads a run of the course that the path names. BW_BAD_REQUEST: the course has no run with this
 * id. BW_UNAVAILABLE. On BW_OK the caller must call run_clear. */
enum bw_code course_find_run(struct api *api, const char *course, const char *id, struct run *run,
                             struct bw_error *error) BW_CHECKED;

/* Reads the run of a job; *slot is the job's slot in the run. The codes are those of
 * course_find_run. */
enum bw_code course_find_job(struct api *api, const char *course, const char *id, struct run *run,
                             uint32_t *slot, struct bw_error *error) BW_CHECKED;

#endif
