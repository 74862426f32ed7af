#include <stddef.h>

#include "api/course/audit.h"
#include "api/course/history.h"
#include "api/course/client.h"
#include "api/course/explain.h"
#include "api/course/files.h"
#include "api/course/grader.h"
#include "api/course/job_files.h"
#include "api/course/jobs.h"
#include "api/course/pauses.h"
#include "api/course/log_chunks.h"
#include "api/course/queue.h"
#include "api/course/runs.h"
#include "api/course/protocol.h"
#include "api/course/results.h"
#include "api/course/scheduling.h"
#include "api/course/stream_request.h"
#include "api/course/webhooks.h"
#include "api/grading/audit_list.h"
#include "api/grading/history_answer.h"
#include "api/grading/file_transfer.h"
#include "api/grading/job_list.h"
#include "api/grading/run_list.h"
#include "api/grading/status_answer.h"
#include "api/grading/pauses.h"
#include "api/grading/run_results.h"
#include "api/grading/job_log_request.h"
#include "api/grading/webhooks.h"
#include "common/domain/course_submission_check.h"
#include "common/domain/rerun.h"

#define PATH "/api/v1/"

const struct route course_routes[] = {
    /* course staff and front ends */
    {"GET", PATH "grading_config/{course}/{assignment}", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING,
     NULL, course_config_show},
    {"POST", PATH "grading_config/{course}/{assignment}", AUTH_CLIENT, BODY_JSON, ROUTE_BLOCKING,
     course_config_fields, course_config_put},
    {"POST", PATH "grading_run/{course}/{assignment}", AUTH_CLIENT, BODY_JSON, ROUTE_BLOCKING,
     course_run_fields, course_run_start},
    {"POST", PATH "grading_run/{course}/{run}/cancel", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING,
     NULL, course_run_cancel},
    {"POST", PATH "grading_job/{course}/{job}/cancel", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING,
     NULL, course_job_cancel},
    {"GET", PATH "grading_runs/{course}", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING | ROUTE_CURRENT,
     run_list_course_fields, course_runs_list},
    {"GET", PATH "grading_runs/{course}/{assignment}", AUTH_CLIENT, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, run_list_fields, course_runs_list_assignment},
    {"GET", PATH "grading_run/{course}/{run}/definition", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING,
     NULL, course_runs_definition},
    {"GET", PATH "grading_run/{course}/{run}/status", AUTH_CLIENT, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, status_answer_fields, course_runs_status},
    {"GET", PATH "grading_run/{course}/{run}/jobs", AUTH_CLIENT, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, job_list_fields, course_jobs_list},
    {"GET", PATH "grading_run/{course}/{run}/receipts", AUTH_CLIENT, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_jobs_receipts},
    {"GET", PATH "grading_run/{course}/{run}/results", AUTH_CLIENT, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, run_results_fields, course_results_show},
    {"GET", PATH "results/{course}", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING | ROUTE_CURRENT,
     run_results_fields, course_results_list},
    {"GET", PATH "results/{course}/{assignment}", AUTH_CLIENT, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, run_results_fields, course_results_list},
    {"GET", PATH "grading_job/{course}/{job}", AUTH_CLIENT, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_jobs_show},
    {"POST", PATH "grading_run/{course}/{run}/rerun", AUTH_CLIENT, BODY_JSON, ROUTE_BLOCKING,
     rerun_fields, course_run_rerun},
    {"GET", PATH "grading_run_status/{course}/{run}", AUTH_MEMBER, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_run_status},
    {"GET", PATH "grading_run_env/{course}/{run}", AUTH_CLIENT, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_run_env},
    {"GET", PATH "grading_job_log/{course}/{job}", AUTH_CLIENT, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_job_log},
    {"GET", PATH "grading_job/{course}/{job}/log", AUTH_CLIENT, BODY_NONE,
     ROUTE_BLOCKING | ROUTE_CURRENT, job_log_fields, course_jobs_log},
    {"GET", PATH "queue/{course}/length", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING | ROUTE_CURRENT,
     NULL, course_queue_length},
    {"GET", PATH "queue/{course}/{job}/position", AUTH_MEMBER, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_queue_position},
    {"GET", PATH "grading_run/{course}/{run}/explain", AUTH_CLIENT, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_explain_run},
    {"GET", PATH "grading_job/{course}/{job}/explain", AUTH_CLIENT, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_explain_job},
    {"GET", PATH "worker/{worker}/explain", AUTH_OPERATOR, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_explain_worker}, /* before {scope} */
    {"GET", PATH "grading_run/{course}/{run}/estimate", AUTH_MEMBER, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_queue_run_estimate},
    {"GET", PATH "grading_job/{course}/{job}/estimate", AUTH_MEMBER, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_queue_job_estimate},
    {"GET", PATH "course/{course}/estimate", AUTH_MEMBER, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_queue_estimate},
    {"GET", PATH "worker/{course}/{scope}", AUTH_CLIENT, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_worker_list},
    {"GET", PATH "stream/{course}/{job}", AUTH_MEMBER, BODY_UNREAD, ROUTE_BLOCKING | ROUTE_CURRENT,
     NULL, course_stream_job},
    {"GET", PATH "stream/{course}/run/{run}", AUTH_MEMBER, BODY_UNREAD,
     ROUTE_BLOCKING | ROUTE_CURRENT, NULL, course_stream_run},
    {"POST", PATH "grading_run/{course}/{run}/pause", AUTH_CLIENT, BODY_JSON,
     ROUTE_BLOCKING | ROUTE_BODY_SMALL, pause_fields, course_pauses_begin_run},
    {"POST", PATH "grading_run/{course}/{run}/resume", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING,
     NULL, course_pauses_resume_run},
    {"POST", PATH "assignment/{course}/{assignment}/pause", AUTH_CLIENT, BODY_JSON,
     ROUTE_BLOCKING | ROUTE_BODY_SMALL, pause_fields, course_pauses_begin_assignment},
    {"POST", PATH "assignment/{course}/{assignment}/resume", AUTH_CLIENT, BODY_UNREAD,
     ROUTE_BLOCKING, NULL, course_pauses_resume_assignment},
    {"POST", PATH "course/{course}/pause", AUTH_CLIENT, BODY_JSON,
     ROUTE_BLOCKING | ROUTE_BODY_SMALL, pause_fields, course_pauses_begin_course},
    {"POST", PATH "course/{course}/resume", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING, NULL,
     course_pauses_resume_course},
    {"GET", PATH "pauses/{course}", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, pause_list_fields,
     course_pauses_list},
    {"POST", PATH "files/{course}", AUTH_CLIENT, BODY_FILE, ROUTE_BLOCKING, file_transfer_fields,
     course_files_store},
    {"GET", PATH "files/{course}/{id}", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING, NULL,
     course_files_show},
    {"GET", PATH "audit/{course}", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, audit_list_course_fields,
     course_audit_list},
    {"GET", PATH "history/{course}", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, history_course_fields,
     course_history},
    {"GET", PATH "scheduling/{course}", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING, NULL,
     course_scheduling_show},
    {"GET", PATH "grading_run/{course}/{run}/webhooks", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING,
     NULL, course_webhooks_of_run},
    {"GET", PATH "webhooks/{course}", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING, NULL,
     course_webhooks_list},
    {"POST", PATH "webhooks/{course}", AUTH_CLIENT, BODY_JSON, ROUTE_BLOCKING | ROUTE_BODY_SMALL,
     webhook_run_fields, course_webhooks_create},
    {"POST", PATH "webhooks/{course}/{webhook}/delete", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING,
     NULL, course_webhooks_delete},
    {"GET", PATH "webhooks/{course}/{webhook}/deliveries", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING,
     webhooks_deliveries_fields, course_webhooks_deliveries},
    {"POST", PATH "webhooks/{course}/{webhook}/redeliver", AUTH_CLIENT, BODY_JSON,
     ROUTE_BLOCKING | ROUTE_BODY_SMALL, webhooks_redeliver_fields, course_webhooks_redeliver},
    /* operators */
    {"POST", PATH "cluster/pause", AUTH_OPERATOR, BODY_JSON, ROUTE_BLOCKING | ROUTE_BODY_SMALL,
     pause_fields, course_pauses_begin_cluster},
    {"POST", PATH "cluster/resume", AUTH_OPERATOR, BODY_UNREAD, ROUTE_BLOCKING, NULL,
     course_pauses_resume_cluster},
    {"GET", PATH "cluster/pauses", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING, pause_list_fields,
     course_pauses_list_all},
    {"POST", PATH "worker/{worker}/pause", AUTH_OPERATOR, BODY_JSON,
     ROUTE_BLOCKING | ROUTE_BODY_SMALL, course_worker_pause_fields, course_pauses_begin_worker},
    {"POST", PATH "worker/{worker}/resume", AUTH_OPERATOR, BODY_UNREAD, ROUTE_BLOCKING, NULL,
     course_pauses_resume_worker},
    {"GET", PATH "worker/{worker}", AUTH_OPERATOR, BODY_UNREAD, ROUTE_BLOCKING, NULL,
     course_pauses_show_worker},
    /* graders */
    {"POST", PATH "worker/{worker}", AUTH_CLUSTER, BODY_JSON, ROUTE_BODY_MEDIUM,
     course_register_fields, course_grader_register},
    {"GET", PATH "grading_job/{worker}", AUTH_WORKER, BODY_UNREAD, ROUTE_UNSAFE, NULL,
     course_grader_poll},
    {"POST", PATH "grading_job/{worker}", AUTH_WORKER, BODY_JSON, ROUTE_URGENT | ROUTE_HEARTBEAT,
     course_result_fields, course_grader_result},
    {"GET", PATH "grading_job/{worker}/{job}/files/{id}", AUTH_WORKER, BODY_UNREAD, ROUTE_BLOCKING,
     NULL, course_job_files_show},
    {"POST", PATH "grading_job/{worker}/{job}/files", AUTH_WORKER, BODY_FILE, ROUTE_BLOCKING,
     file_transfer_fields, course_job_files_store},
    {"POST", PATH "grading_job/{worker}/{job}/log", AUTH_WORKER, BODY_BYTES,
     ROUTE_BLOCKING | ROUTE_QUIET, course_log_chunk_fields, course_log_chunks_store},
    {"POST", PATH "heartbeat/{worker}", AUTH_WORKER, BODY_UNREAD, ROUTE_URGENT | ROUTE_QUIET, NULL,
     course_grader_heartbeat},
    {"GET", PATH "worker_ws/{worker}", AUTH_SOCKET, BODY_UNREAD, ROUTE_UNSAFE, NULL, NULL},
    {NULL, NULL, AUTH_NONE, BODY_NONE, 0, NULL, NULL},
};
