/*
 * classic/webhooks: the endpoints of webhooks: the operator's, and the list of a run's. All wait
 * for the database. Called by dispatch alone, see api/http/route.h.
 */
#ifndef API_CLASSIC_WEBHOOKS_H
#define API_CLASSIC_WEBHOOKS_H

#include "api/http/route.h"

/* POST /api/v1/webhooks → {"webhook"}, with its secret; GET /api/v1/webhooks → {"webhooks"} */
enum bw_code classic_webhooks_create(struct api *api, struct exchange *exchange,
                                     struct bw_error *error);
enum bw_code classic_webhooks_list(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);
/* POST /api/v1/webhooks/{webhook}/delete → {} */
enum bw_code classic_webhooks_delete(struct api *api, struct exchange *exchange,
                                     struct bw_error *error);
/* GET /api/v1/webhooks/{webhook}/deliveries → {"deliveries", "next"} */
enum bw_code classic_webhooks_deliveries(struct api *api, struct exchange *exchange,
                                         struct bw_error *error);
/* POST /api/v1/webhooks/{webhook}/redeliver → {} */
enum bw_code classic_webhooks_redeliver(struct api *api, struct exchange *exchange,
                                        struct bw_error *error);
/* GET /api/v1/grading_run/{id}/webhooks → {"webhooks"} */
enum bw_code classic_webhooks_of_run(struct api *api, struct exchange *exchange,
                                     struct bw_error *error);

#endif
