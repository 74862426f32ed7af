#include <stddef.h>

#include "api/course/client.h"
#include "api/course/grader.h"
#include "api/course/queue.h"
#include "api/course/route.h"
#include "api/course/stream.h"
#include "common/domain/course_definition.h"

#define PATH "/api/v1/"

const struct route course_routes[] = {
    /* course staff and front ends */
    {"POST", PATH "grading_config/{course}/{assignment}", AUTH_COURSE_ADMIN, BODY_JSON,
     ROUTE_BLOCKING, course_config_fields, course_config_put},
    {"GET", PATH "grading_config/{course}/{assignment}", AUTH_COURSE_ADMIN, BODY_NONE,
     ROUTE_BLOCKING, NULL, course_config_show},
    {"POST", PATH "grading_run/{course}/{assignment}", AUTH_COURSE_ADMIN, BODY_JSON, ROUTE_BLOCKING,
     course_run_fields, course_run_start},
    {"POST", PATH "grading_run/{course}/{run}/cancel", AUTH_COURSE_ADMIN, BODY_NONE, ROUTE_BLOCKING,
     NULL, course_run_cancel},
    {"GET", PATH "grading_run_status/{course}/{run}", AUTH_COURSE_MEMBER, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_run_status},
    {"GET", PATH "grading_run_env/{course}/{run}", AUTH_COURSE_ADMIN, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_run_env},
    {"GET", PATH "grading_job_log/{course}/{job}", AUTH_COURSE_ADMIN, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_job_log},
    {"GET", PATH "queue/{course}/length", AUTH_COURSE_ADMIN, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_queue_length},
    {"GET", PATH "queue/{course}/{job}/position", AUTH_COURSE_MEMBER, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_queue_position},
    {"GET", PATH "worker/{course}/{scope}", AUTH_COURSE_ADMIN, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_worker_list},
    {"GET", PATH "stream/{course}/{job}", AUTH_COURSE_MEMBER, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_stream_job},
    {"GET", PATH "stream/{course}/run/{run}", AUTH_COURSE_MEMBER, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_stream_run},
    /* graders */
    {"POST", PATH "worker/{worker}", AUTH_COURSE_CLUSTER, BODY_JSON, ROUTE_BODY_MEDIUM,
     course_register_fields, course_grader_register},
    {"GET", PATH "grading_job/{worker}", AUTH_COURSE_WORKER, BODY_NONE, ROUTE_UNSAFE, NULL,
     course_grader_poll},
    {"POST", PATH "grading_job/{worker}", AUTH_COURSE_WORKER, BODY_JSON, ROUTE_URGENT | ROUTE_LIFE,
     course_result_fields, course_grader_result},
    {"POST", PATH "heartbeat/{worker}", AUTH_COURSE_WORKER, BODY_NONE, ROUTE_URGENT | ROUTE_QUIET,
     NULL, course_grader_heartbeat},
    {"GET", PATH "worker_ws/{worker}", AUTH_COURSE_SOCKET, BODY_NONE, ROUTE_UNSAFE, NULL, NULL},
    {NULL, NULL, AUTH_NONE, BODY_NONE, 0, NULL, NULL},
};
