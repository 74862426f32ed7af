/*
 * classic/grader: the grader's endpoints of the classic protocol: register, poll, heartbeat.
 * (Results: api/classic/result.h.) None of them waits; each answers at once or later. Called by
 * dispatch alone, see api/http/route.h.
 */
#ifndef API_CLASSIC_GRADER_H
#define API_CLASSIC_GRADER_H

#include "api/http/route.h"

extern const struct json_field classic_register_fields[];
extern const struct json_field classic_poll_fields[];
extern const struct json_field classic_heartbeat_fields[];

/* GET /api/v1/worker_register → {"worker_id", "heartbeat"} */
enum bw_code classic_grader_register(struct api *api, struct exchange *exchange,
                                     struct bw_error *error);

/* GET /api/v1/grading_job → a job, or 498 */
enum bw_code classic_grader_poll(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

/* POST /api/v1/heartbeat → 200, empty */
enum bw_code classic_grader_heartbeat(struct api *api, struct exchange *exchange,
                                      struct bw_error *error);

#endif
