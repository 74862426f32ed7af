/*
 * classic/scheduling: the operator's endpoints of shares and reservations
 * (api/grading/scheduling_settings.h). All wait for the database, those that write also for the
 * scheduler. Called by dispatch alone, see api/http/route.h: the token has been checked.
 */
#ifndef API_CLASSIC_SCHEDULING_H
#define API_CLASSIC_SCHEDULING_H

#include "api/http/route.h"

/* GET /api/v1/scheduling → {"courses", "reservations"} */
enum bw_code classic_scheduling_show(struct api *api, struct exchange *exchange,
                                     struct bw_error *error);
/* POST /api/v1/scheduling/courses/{course} and …/delete → {"share"} */
enum bw_code classic_scheduling_put_share(struct api *api, struct exchange *exchange,
                                          struct bw_error *error);
enum bw_code classic_scheduling_delete_share(struct api *api, struct exchange *exchange,
                                             struct bw_error *error);
/* POST /api/v1/scheduling/reservations/{reservation} → {"reservation"}; …/delete → {} */
enum bw_code classic_scheduling_put_reservation(struct api *api, struct exchange *exchange,
                                                struct bw_error *error);
enum bw_code classic_scheduling_delete_reservation(struct api *api, struct exchange *exchange,
                                                   struct bw_error *error);

#endif
