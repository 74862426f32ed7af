/*
 * course_grader: the endpoints of graders that poll, in the course protocol. Called by dispatch
 * alone, see api/http/route.h: the cluster token has been checked, the worker in the path is
 * registered (except for a registration), and the body fits its fields. No handler waits; each
 * answers at once or later.
 */
#ifndef API_COURSE_GRADER_H
#define API_COURSE_GRADER_H

#include "api/http/route.h"

struct result_form;

extern const struct json_field course_register_fields[];
extern const struct json_field course_result_fields[];
extern const struct result_form course_result_form; /* api/grading/result_refusal.h */

/* Are these the arguments of a result, or of a job that is returned (api/grading/job_return.h)? The
 * route's fields are those of both. BW_BAD_REQUEST. */
enum bw_code course_result_check(const json_t *arguments, const char *path, struct bw_error *error)
    BW_CHECKED;

/* POST worker/{worker} */
enum bw_code course_grader_register(struct api *api, struct exchange *exchange,
                                    struct bw_error *error);

/* GET grading_job/{worker} */
enum bw_code course_grader_poll(struct api *api, struct exchange *exchange, struct bw_error *error);

/* POST grading_job/{worker} */
enum bw_code course_grader_result(struct api *api, struct exchange *exchange,
                                  struct bw_error *error);

/* POST heartbeat/{worker} */
enum bw_code course_grader_heartbeat(struct api *api, struct exchange *exchange,
                                     struct bw_error *error);

#endif
