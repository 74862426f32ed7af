/*
 * classic/pauses: the endpoints that pause and resume, and those that show pauses. All wait for the
 * database, and for the scheduler. Called by dispatch alone, see api/http/route.h.
 */
#ifndef API_CLASSIC_PAUSES_H
#define API_CLASSIC_PAUSES_H

#include "api/http/route.h"

extern const struct json_field classic_worker_fields[];
extern const struct json_field classic_worker_pause_fields[];

/* POST /api/v1/grading_run/{id}/pause and resume → {"paused"} */
enum bw_code classic_pauses_begin_run(struct api *api, struct exchange *exchange,
                                      struct bw_error *error);
enum bw_code classic_pauses_resume_run(struct api *api, struct exchange *exchange,
                                       struct bw_error *error);
/* POST /api/v1/cluster_pause and cluster_resume */
enum bw_code classic_pauses_begin_cluster(struct api *api, struct exchange *exchange,
                                          struct bw_error *error);
enum bw_code classic_pauses_resume_cluster(struct api *api, struct exchange *exchange,
                                           struct bw_error *error);
/* GET /api/v1/pauses → {"pauses", "next_offset"} */
enum bw_code classic_pauses_list(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);
/* POST /api/v1/worker_pause and worker_resume */
enum bw_code classic_pauses_begin_worker(struct api *api, struct exchange *exchange,
                                         struct bw_error *error);
enum bw_code classic_pauses_resume_worker(struct api *api, struct exchange *exchange,
                                          struct bw_error *error);
/* GET /api/v1/worker_status → what is known of the grader */
enum bw_code classic_pauses_show_worker(struct api *api, struct exchange *exchange,
                                        struct bw_error *error);

#endif
