#include <stddef.h>

#include "api/classic/protocol.h"
#include "api/classic/audit.h"
#include "api/classic/history.h"
#include "api/classic/client.h"
#include "api/classic/explain.h"
#include "api/classic/files.h"
#include "api/classic/grader.h"
#include "api/classic/job_files.h"
#include "api/classic/jobs.h"
#include "api/classic/pauses.h"
#include "api/classic/log_chunks.h"
#include "api/classic/result.h"
#include "api/classic/runs.h"
#include "api/classic/results.h"
#include "api/classic/scheduling.h"
#include "api/classic/webhooks.h"
#include "api/grading/audit_list.h"
#include "api/grading/history_answer.h"
#include "api/grading/file_transfer.h"
#include "api/grading/job_list.h"
#include "api/grading/run_list.h"
#include "api/grading/status_answer.h"
#include "api/grading/run_receipts.h"
#include "api/grading/run_results.h"
#include "api/grading/pauses.h"
#include "api/grading/job_log_request.h"
#include "api/openapi/pages.h"
#include "api/grading/scheduling_settings.h"
#include "api/grading/webhooks.h"
#include "common/domain/rerun.h"

const struct route classic_routes[] = {
    /* clients */
    {"POST", "/api/v1/grading_run", AUTH_CLIENT, BODY_DOCUMENT, 0, classic_create_fields,
     classic_client_create},
    {"GET", "/api/v1/grading_run/{id}", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING,
     status_answer_fields, classic_client_show},
    {"POST", "/api/v1/grading_run/{id}", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_client_start},
    {"GET", "/api/v1/grading_run", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, run_list_fields,
     classic_runs_list},
    {"GET", "/api/v1/grading_run/{id}/definition", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_runs_definition},
    {"POST", "/api/v1/grading_run/{id}/cancel", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_client_cancel},
    {"POST", "/api/v1/grading_job/{job}/cancel", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_jobs_cancel},
    {"GET", "/api/v1/grading_run/{id}/jobs", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING,
     job_list_fields, classic_jobs_list},
    {"GET", "/api/v1/grading_job/{id}", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_jobs_show},
    {"GET", "/api/v1/grading_run/{id}/explain", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_explain_run},
    {"GET", "/api/v1/grading_job/{job}/explain", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_explain_job},
    {"GET", "/api/v1/grading_run/{id}/receipts", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_jobs_receipts},
    {"GET", "/api/v1/grading_run/{id}/results", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING,
     run_results_fields, classic_results_show},
    {"GET", "/api/v1/receipts/key", AUTH_NONE, BODY_NONE, 0, NULL, run_receipts_show_key},
    {"GET", "/api/v1/grading_job/{job}/log", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, job_log_fields,
     classic_jobs_log},
    {"GET", "/api/v1/grading_run/{id}/estimate", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_runs_estimate},
    {"GET", "/api/v1/grading_job/{job}/estimate", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_jobs_estimate},
    {"POST", "/api/v1/grading_run/{id}/rerun", AUTH_CLIENT, BODY_ARGUMENTS, ROUTE_BLOCKING,
     rerun_fields, classic_client_rerun},
    {"POST", "/api/v1/grading_run/{id}/pause", AUTH_CLIENT, BODY_ARGUMENTS,
     ROUTE_BLOCKING | ROUTE_BODY_SMALL, pause_fields, classic_pauses_begin_run},
    {"POST", "/api/v1/grading_run/{id}/resume", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_pauses_resume_run},
    {"POST", "/api/v1/files", AUTH_CLIENT, BODY_FILE, ROUTE_BLOCKING, file_transfer_fields,
     classic_files_store},
    {"GET", "/api/v1/files/{id}", AUTH_CLIENT, BODY_UNREAD, ROUTE_BLOCKING, NULL,
     classic_files_show},
    /* everyone */
    {"GET", "/api/v1/openapi.json", AUTH_NONE, BODY_UNREAD, 0, NULL, pages_show_document},
    {"GET", "/docs", AUTH_NONE, BODY_UNREAD, 0, NULL, pages_show_index},
    {"GET", "/docs/{id}", AUTH_NONE, BODY_UNREAD, 0, NULL, pages_show_file},
    {"GET", "/api/v1/grading_run/{id}/webhooks", AUTH_CLIENT, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_webhooks_of_run},
    /* operators */
    {"GET", "/api/v1/audit", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING, audit_list_fields,
     classic_audit_list},
    {"GET", "/api/v1/history", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING, history_fields,
     classic_history},
    {"POST", "/api/v1/cluster_pause", AUTH_OPERATOR, BODY_ARGUMENTS,
     ROUTE_BLOCKING | ROUTE_BODY_SMALL, pause_fields, classic_pauses_begin_cluster},
    {"POST", "/api/v1/cluster_resume", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_pauses_resume_cluster},
    {"GET", "/api/v1/pauses", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING, pause_list_fields,
     classic_pauses_list},
    {"POST", "/api/v1/worker_pause", AUTH_OPERATOR, BODY_ARGUMENTS,
     ROUTE_BLOCKING | ROUTE_BODY_SMALL, classic_worker_pause_fields, classic_pauses_begin_worker},
    {"POST", "/api/v1/worker_resume", AUTH_OPERATOR, BODY_ARGUMENTS,
     ROUTE_BLOCKING | ROUTE_BODY_SMALL, classic_worker_fields, classic_pauses_resume_worker},
    {"GET", "/api/v1/worker_status", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING,
     classic_worker_fields, classic_pauses_show_worker},
    {"GET", "/api/v1/worker_explain", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING,
     classic_worker_fields, classic_explain_worker},
    {"GET", "/api/v1/webhooks", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_webhooks_list},
    {"POST", "/api/v1/webhooks", AUTH_OPERATOR, BODY_ARGUMENTS, ROUTE_BLOCKING | ROUTE_BODY_SMALL,
     webhook_cluster_fields, classic_webhooks_create},
    {"POST", "/api/v1/webhooks/{webhook}/delete", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_webhooks_delete},
    {"GET", "/api/v1/webhooks/{webhook}/deliveries", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING,
     webhooks_deliveries_fields, classic_webhooks_deliveries},
    {"POST", "/api/v1/webhooks/{webhook}/redeliver", AUTH_OPERATOR, BODY_ARGUMENTS,
     ROUTE_BLOCKING | ROUTE_BODY_SMALL, webhooks_redeliver_fields, classic_webhooks_redeliver},
    {"GET", "/api/v1/scheduling", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING, NULL,
     classic_scheduling_show},
    {"POST", "/api/v1/scheduling/courses/{course}", AUTH_OPERATOR, BODY_ARGUMENTS,
     ROUTE_BLOCKING | ROUTE_BODY_SMALL, share_fields, classic_scheduling_put_share},
    {"POST", "/api/v1/scheduling/courses/{course}/delete", AUTH_OPERATOR, BODY_NONE, ROUTE_BLOCKING,
     NULL, classic_scheduling_delete_share},
    {"POST", "/api/v1/scheduling/reservations/{reservation}", AUTH_OPERATOR, BODY_ARGUMENTS,
     ROUTE_BLOCKING, reservation_fields, classic_scheduling_put_reservation},
    {"POST", "/api/v1/scheduling/reservations/{reservation}/delete", AUTH_OPERATOR, BODY_NONE,
     ROUTE_BLOCKING, NULL, classic_scheduling_delete_reservation},
    /* graders */
    {"GET", "/api/v1/worker_register", AUTH_CLUSTER, BODY_NONE, ROUTE_UNSAFE,
     classic_register_fields, classic_grader_register},
    {"GET", "/api/v1/grading_job", AUTH_WORKER, BODY_NONE, ROUTE_UNSAFE, classic_poll_fields,
     classic_grader_poll},
    {"POST", "/api/v1/grading_job/{id}", AUTH_WORKER, BODY_ARGUMENTS,
     ROUTE_URGENT | ROUTE_HEARTBEAT, classic_result_fields, classic_result_handle},
    {"GET", "/api/v1/grading_job/{job}/files/{id}", AUTH_WORKER, BODY_NONE, ROUTE_BLOCKING,
     classic_job_file_fields, classic_job_files_show},
    {"POST", "/api/v1/grading_job/{job}/files", AUTH_WORKER, BODY_FILE, ROUTE_BLOCKING,
     classic_job_upload_fields, classic_job_files_store},
    {"POST", "/api/v1/grading_job/{job}/log", AUTH_WORKER, BODY_BYTES, ROUTE_BLOCKING | ROUTE_QUIET,
     classic_log_chunk_fields, classic_log_chunks_store},
    {"POST", "/api/v1/heartbeat", AUTH_WORKER, BODY_ARGUMENTS,
     ROUTE_URGENT | ROUTE_QUIET | ROUTE_BODY_SMALL, classic_heartbeat_fields,
     classic_grader_heartbeat},
    {NULL, NULL, AUTH_NONE, BODY_NONE, 0, NULL, NULL},
};
