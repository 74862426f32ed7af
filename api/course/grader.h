/*
 * course_grader: what graders that poll ask in the course protocol. Called by dispatch alone, see
 * api/http/route.h: the cluster token was judged, the worker in the path is known (but to the
 * registration), and the body has passed its table.
 */
#ifndef API_COURSE_GRADER_H
#define API_COURSE_GRADER_H

#include "api/http/route.h"

extern const struct json_field course_register_fields[];
extern const struct json_field course_result_fields[];

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

/* Whole seconds, as graders want them: rounded up, at least 1. */
int64_t heartbeat_seconds(const struct api *api);

/* How a result that was not taken is refused, whatever the reason. BW_BAD_REQUEST with one of the
 * two sentences that graders know, or the code and the sentence as they are. */
enum bw_code course_result_refusal(enum bw_code code, struct bw_error *error);

#endif
