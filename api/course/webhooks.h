/*
 * course/webhooks: the endpoints of a course's webhooks, and the list of a run's. All wait for the
 * database. Called by dispatch alone, see api/http/route.h.
 */
#ifndef API_COURSE_WEBHOOKS_H
#define API_COURSE_WEBHOOKS_H

#include "api/http/route.h"

/* POST webhooks/{course} → {"webhook"}, with its secret; GET webhooks/{course} → {"webhooks"} */
enum bw_code course_webhooks_create(struct api *api, struct exchange *exchange,
                                    struct bw_error *error);
enum bw_code course_webhooks_list(struct api *api, struct exchange *exchange,
                                  struct bw_error *error);
/* POST webhooks/{course}/{webhook}/delete; the webhook may be that of a run of the course */
enum bw_code course_webhooks_delete(struct api *api, struct exchange *exchange,
                                    struct bw_error *error);
/* GET webhooks/{course}/{webhook}/deliveries → {"deliveries", "next"} */
enum bw_code course_webhooks_deliveries(struct api *api, struct exchange *exchange,
                                        struct bw_error *error);
/* POST webhooks/{course}/{webhook}/redeliver */
enum bw_code course_webhooks_redeliver(struct api *api, struct exchange *exchange,
                                       struct bw_error *error);
/* GET grading_run/{course}/{run}/webhooks → {"webhooks"} */
enum bw_code course_webhooks_of_run(struct api *api, struct exchange *exchange,
                                    struct bw_error *error);

#endif
