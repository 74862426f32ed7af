#include <stddef.h>

#include "api/http/route.h"
#include "api/classic/client.h"
#include "api/classic/grader.h"
#include "api/grading/result_submission.h"

const struct route public_routes[] = {
    /* clients */
    {"POST", "/api/v1/grading_run", AUTH_CLIENT, BODY_DOCUMENT, 0, classic_create_fields,
     classic_client_create},
    {"GET", "/api/v1/grading_run/{id}", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, classic_show_fields,
     classic_client_show},
    {"POST", "/api/v1/grading_run/{id}", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_client_start},
    {"POST", "/api/v1/grading_run/{id}/cancel", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_client_cancel},
    /* graders */
    {"GET", "/api/v1/worker_register", AUTH_CLUSTER, BODY_NONE, ROUTE_UNSAFE,
     classic_register_fields, classic_grader_register},
    {"GET", "/api/v1/grading_job", AUTH_WORKER, BODY_NONE, ROUTE_UNSAFE, classic_poll_fields,
     classic_grader_poll},
    {"POST", "/api/v1/grading_job/{id}", AUTH_WORKER, BODY_ARGUMENTS, ROUTE_URGENT | ROUTE_LIFE,
     result_submission_fields, result_submission_handle},
    {"POST", "/api/v1/heartbeat", AUTH_WORKER, BODY_ARGUMENTS,
     ROUTE_URGENT | ROUTE_QUIET | ROUTE_BODY_SMALL, classic_heartbeat_fields,
     classic_grader_heartbeat},
    {NULL, NULL, AUTH_NONE, BODY_NONE, 0, NULL, NULL},
};
