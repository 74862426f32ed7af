/*
 * course/pauses: the endpoints of the course protocol that pause and resume, and those that show
 * pauses. All wait for the database, and for the scheduler. Called by dispatch alone, see
 * api/http/route.h: the token has been checked.
 */
#ifndef API_COURSE_PAUSES_H
#define API_COURSE_PAUSES_H

#include "api/http/route.h"

extern const struct json_field course_worker_pause_fields[];

/* POST grading_run/{course}/{run}/pause and resume: {"paused"} */
enum bw_code course_pauses_begin_run(struct api *api, struct exchange *exchange,
                                     struct bw_error *error);
enum bw_code course_pauses_resume_run(struct api *api, struct exchange *exchange,
                                      struct bw_error *error);
/* POST assignment/{course}/{assignment}/pause and resume */
enum bw_code course_pauses_begin_assignment(struct api *api, struct exchange *exchange,
                                            struct bw_error *error);
enum bw_code course_pauses_resume_assignment(struct api *api, struct exchange *exchange,
                                             struct bw_error *error);
/* POST course/{course}/pause and resume */
enum bw_code course_pauses_begin_course(struct api *api, struct exchange *exchange,
                                        struct bw_error *error);
enum bw_code course_pauses_resume_course(struct api *api, struct exchange *exchange,
                                         struct bw_error *error);
/* GET pauses/{course}, and of all: GET cluster/pauses */
enum bw_code course_pauses_list(struct api *api, struct exchange *exchange, struct bw_error *error);
enum bw_code course_pauses_list_all(struct api *api, struct exchange *exchange,
                                    struct bw_error *error);
/* POST cluster/pause and resume */
enum bw_code course_pauses_begin_cluster(struct api *api, struct exchange *exchange,
                                         struct bw_error *error);
enum bw_code course_pauses_resume_cluster(struct api *api, struct exchange *exchange,
                                          struct bw_error *error);
/* POST worker/{worker}/pause and resume */
enum bw_code course_pauses_begin_worker(struct api *api, struct exchange *exchange,
                                        struct bw_error *error);
enum bw_code course_pauses_resume_worker(struct api *api, struct exchange *exchange,
                                         struct bw_error *error);
/* GET worker/{worker} */
enum bw_code course_pauses_show_worker(struct api *api, struct exchange *exchange,
                                       struct bw_error *error);

#endif
