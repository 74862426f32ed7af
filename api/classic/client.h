/*
 * classic/client: the clients' endpoints of the classic protocol: creating, reading, starting and
 * cancelling a grading run, and cancelling a job. All but classic_client_create may wait for the
 * database (ROUTE_BLOCKING). Called by dispatch alone, see api/http/route.h.
 */
#ifndef API_CLASSIC_CLIENT_H
#define API_CLASSIC_CLIENT_H

#include "api/http/route.h"
#include "common/store/run_store.h"

extern const struct json_field classic_create_fields[];

/* POST /api/v1/grading_run → {"id"} */
enum bw_code classic_client_create(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

/* GET /api/v1/grading_run/{id} → the run's status (api/grading/status_answer.h) */
enum bw_code classic_client_show(struct api *api, struct exchange *exchange,
                                 struct bw_error *error);

/* POST /api/v1/grading_run/{id} → {} */
enum bw_code classic_client_start(struct api *api, struct exchange *exchange,
                                  struct bw_error *error);

/* POST /api/v1/grading_run/{id}/cancel → {} */
enum bw_code classic_client_cancel(struct api *api, struct exchange *exchange,
                                   struct bw_error *error);

/* POST /api/v1/grading_run/{id}/rerun → {"id"}: creates a run of the selected students, and starts
 * it */
enum bw_code classic_client_rerun(struct api *api, struct exchange *exchange,
                                  struct bw_error *error);

/* Reads a run of this protocol. `id`: NUL-terminated, of any length. BW_BAD_REQUEST: there is no
 * such run; BW_UNAVAILABLE. On BW_OK the caller must call run_clear. */
enum bw_code classic_client_read_run(struct api *api, const char *id, struct run *run,
                                     struct bw_error *error) BW_CHECKED;

#endif
