/*
 * classic/client: the client's endpoints of the classic protocol: create a grading run, look at it,
 * start or cancel it. They wait for the database: ROUTE_BLOCKING. Called by dispatch alone, see
 * api/http/route.h.
 */
#ifndef API_CLASSIC_CLIENT_H
#define API_CLASSIC_CLIENT_H

#include "api/http/route.h"

extern const struct json_field classic_create_fields[];
extern const struct json_field classic_show_fields[];

/* POST /api/v1/grading_run → {"id"} */
enum bw_code classic_client_create(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

/* GET /api/v1/grading_run/{id} → the run's status (api/classic/status.h) */
enum bw_code classic_client_show(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

/* POST /api/v1/grading_run/{id} → {} */
enum bw_code classic_client_start(struct api *api, struct exchange *exchange,
                                  struct bw_error *error);

/* POST /api/v1/grading_run/{id}/cancel → {} */
enum bw_code classic_client_cancel(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

#endif
