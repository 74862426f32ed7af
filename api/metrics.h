/*
 * api_metrics: the table of a replica's metrics. To add a metric, add a row here and count it by
 * its place, as in metric_add(api->metrics, API_HEARTBEATS, 1). The table is in the header, since
 * the enum of places, which the callers use, is made from it. The counters are safe from any thread
 * (common/base/metrics.h).
 */
#ifndef API_METRICS_H
#define API_METRICS_H

#include "common/base/metrics.h"
#include "common/db/database_operations.h"

/* One for each kind of operation, in the order of enum database_operation. */
#define API_DATABASE_SECONDS_ROW(X, operation, name)                               \
    X(API_DATABASE_SECONDS_##operation, "broadway_api_database_operation_seconds", \
      "operation=\"" name "\"", METRIC_HISTOGRAM,                                  \
      "Time of the database's commands, those that failed included")
#define API_DATABASE_FAILED_ROW(X, operation, name)                                     \
    X(API_DATABASE_FAILED_##operation, "broadway_api_database_operations_failed_total", \
      "operation=\"" name "\"", METRIC_COUNTER,                                         \
      "Commands that the database refused or did not answer")

/* X(place, name, label, kind, help) */
#define API_METRIC_MAP(X)                                                                          \
    X(API_REQUESTS_2XX, "broadway_api_requests_total", "status=\"2xx\"", METRIC_COUNTER,           \
      "Requests answered")                                                                         \
    X(API_REQUESTS_4XX, "broadway_api_requests_total", "status=\"4xx\"", METRIC_COUNTER,           \
      "Requests answered")                                                                         \
    X(API_REQUESTS_498, "broadway_api_requests_total", "status=\"498\"", METRIC_COUNTER,           \
      "Requests answered")                                                                         \
    X(API_REQUESTS_5XX, "broadway_api_requests_total", "status=\"5xx\"", METRIC_COUNTER,           \
      "Requests answered")                                                                         \
    X(API_REQUEST_SECONDS, "broadway_api_request_seconds", NULL, METRIC_HISTOGRAM,                 \
      "Time from a request's headers to its answer, polls left out")                               \
    X(API_PARKED_POLLS, "broadway_api_parked_polls", NULL, METRIC_GAUGE,                           \
      "Polls that wait for a job")                                                                 \
    X(API_CONNECTIONS_UNPROVEN, "broadway_api_connections", "kind=\"unproven\"", METRIC_GAUGE,     \
      "Open connections of the public port, by who sent the last request")                         \
    X(API_CONNECTIONS_CLIENT, "broadway_api_connections", "kind=\"client\"", METRIC_GAUGE,         \
      "Open connections of the public port, by who sent the last request")                         \
    X(API_CONNECTIONS_WORKER, "broadway_api_connections", "kind=\"worker\"", METRIC_GAUGE,         \
      "Open connections of the public port, by who sent the last request")                         \
    X(API_CONNECTIONS_MAX, "broadway_api_connections_max", NULL, METRIC_GAUGE,                     \
      "How many connections the public port keeps")                                                \
    X(API_CONNECTIONS_EVICTED, "broadway_api_connections_evicted_total", NULL, METRIC_COUNTER,     \
      "Connections closed to make room for new ones")                                              \
    X(API_CONNECTIONS_REFUSED, "broadway_api_connections_refused_total", NULL, METRIC_COUNTER,     \
      "New connections closed because there was no room")                                          \
    X(API_ACCEPT_PAUSES, "broadway_api_accept_pauses_total", NULL, METRIC_COUNTER,                 \
      "How often accepting paused because descriptors or memory had run out")                      \
    X(API_WEBSOCKETS, "broadway_api_websockets", NULL, METRIC_GAUGE, "Open websockets of graders") \
    X(API_EVENT_STREAMS, "broadway_api_event_streams", NULL, METRIC_GAUGE,                         \
      "Open streams of events")                                                                    \
    X(API_POLLS_SHED, "broadway_api_polls_shed_total", NULL, METRIC_COUNTER,                       \
      "Polls not kept because too many waited already")                                            \
    X(API_HAND_OUTS_DELIVERED, "broadway_api_hand_outs_total", "outcome=\"delivered\"",            \
      METRIC_COUNTER, "Hand-outs by what became of them")                                          \
    X(API_HAND_OUTS_GONE, "broadway_api_hand_outs_total", "outcome=\"gone\"", METRIC_COUNTER,      \
      "Hand-outs by what became of them")                                                          \
    X(API_HAND_OUTS_UNDELIVERABLE, "broadway_api_hand_outs_total", "outcome=\"undeliverable\"",    \
      METRIC_COUNTER, "Hand-outs by what became of them")                                          \
    X(API_HAND_OUTS_LATER, "broadway_api_hand_outs_total", "outcome=\"later\"", METRIC_COUNTER,    \
      "Hand-outs by what became of them")                                                          \
    X(API_JOBS_CANCELLED, "broadway_api_jobs_cancelled_total", NULL, METRIC_COUNTER,               \
      "Jobs that clients cancelled alone")                                                         \
    X(API_RESULTS_ACCEPTED, "broadway_api_results_total", "outcome=\"accepted\"", METRIC_COUNTER,  \
      "Results by what became of them")                                                            \
    X(API_RESULTS_REPEATED, "broadway_api_results_total", "outcome=\"repeated\"", METRIC_COUNTER,  \
      "Results by what became of them")                                                            \
    X(API_RESULTS_RETURNED, "broadway_api_results_total", "outcome=\"returned\"", METRIC_COUNTER,  \
      "Results by what became of them")                                                            \
    X(API_RESULTS_REFUSED, "broadway_api_results_total", "outcome=\"refused\"", METRIC_COUNTER,    \
      "Results by what became of them")                                                            \
    X(API_RESULTS_UNSTORED, "broadway_api_results_total", "outcome=\"unstored\"", METRIC_COUNTER,  \
      "Results by what became of them")                                                            \
    X(API_AUDIT_STORED, "broadway_api_audit_entries_total", "outcome=\"stored\"", METRIC_COUNTER,  \
      "Entries of the audit by what became of them")                                               \
    X(API_AUDIT_UNSTORED, "broadway_api_audit_entries_total", "outcome=\"unstored\"",              \
      METRIC_COUNTER, "Entries of the audit by what became of them")                               \
    X(API_IMAGE_DRIFTS, "broadway_api_image_drifts_total", NULL, METRIC_COUNTER,                   \
      "Results whose graders ran another image than the run's pin")                                \
    X(API_LOG_CHUNKS, "broadway_api_log_chunks_total", NULL, METRIC_COUNTER,                       \
      "Chunks of logs taken from graders")                                                         \
    X(API_LOG_BYTES_LIVE, "broadway_api_log_bytes_total", "kind=\"live\"", METRIC_COUNTER,         \
      "Bytes of logs stored: of running jobs, and with results")                                   \
    X(API_LOG_BYTES_WHOLE, "broadway_api_log_bytes_total", "kind=\"whole\"", METRIC_COUNTER,       \
      "Bytes of logs stored: of running jobs, and with results")                                   \
    X(API_LOG_STREAMS, "broadway_api_log_streams", NULL, METRIC_GAUGE,                             \
      "Open streams of logs that clients follow")                                                  \
    X(API_HEARTBEATS, "broadway_api_heartbeats_total", NULL, METRIC_COUNTER, "Heartbeats taken")   \
    X(API_CALLBACKS, "broadway_api_callbacks_total", NULL, METRIC_COUNTER,                         \
      "Callbacks of the scheduler answered")                                                       \
    X(API_MEMORY_FIRST, "broadway_api_memory_held_bytes", "pool=\"first\"", METRIC_GAUGE,          \
      "Memory that requests and messages hold, by sender")                                         \
    X(API_MEMORY_UNKNOWN, "broadway_api_memory_held_bytes", "pool=\"unknown\"", METRIC_GAUGE,      \
      "Memory that requests and messages hold, by sender")                                         \
    X(API_MEMORY_CLIENT, "broadway_api_memory_held_bytes", "pool=\"client\"", METRIC_GAUGE,        \
      "Memory that requests and messages hold, by sender")                                         \
    X(API_MEMORY_WORKER, "broadway_api_memory_held_bytes", "pool=\"worker\"", METRIC_GAUGE,        \
      "Memory that requests and messages hold, by sender")                                         \
    X(API_MEMORY_SOCKET, "broadway_api_memory_held_bytes", "pool=\"websocket\"", METRIC_GAUGE,     \
      "Memory that requests and messages hold, by sender")                                         \
    X(API_MEMORY_HAND_OUT, "broadway_api_memory_held_bytes", "pool=\"hand_out\"", METRIC_GAUGE,    \
      "Memory that requests and messages hold, by sender")                                         \
    X(API_TOKENS_CHECKED, "broadway_api_tokens_judged_total", NULL, METRIC_COUNTER,                \
      "Tokens that were compared with the valid tokens")                                           \
    X(API_CREDENTIALS_UNJUDGED, "broadway_api_credentials_unjudged_total", NULL, METRIC_COUNTER,   \
      "Requests refused with 429 without checking their token or worker id")                       \
    X(API_DATABASE_REACHABLE, "broadway_api_database_reachable", NULL, METRIC_GAUGE,               \
      "1 while the database answers")                                                              \
    X(API_SPANS_SENT, "broadway_api_spans_total", "outcome=\"sent\"", METRIC_COUNTER,              \
      "Spans of traces by what became of them")                                                    \
    X(API_SPANS_DROPPED, "broadway_api_spans_total", "outcome=\"dropped\"", METRIC_COUNTER,        \
      "Spans of traces by what became of them")                                                    \
    DATABASE_OPERATION_MAP(API_DATABASE_SECONDS_ROW, X)                                            \
    DATABASE_OPERATION_MAP(API_DATABASE_FAILED_ROW, X)

enum api_metric {
#define API_METRIC_ENUM(place, name, label, kind, help) place,
    API_METRIC_MAP(API_METRIC_ENUM)
#undef API_METRIC_ENUM
};

/* Returns new metrics, never NULL; the caller frees them by metrics_free. */
struct metrics *api_metrics_new(void);

#endif
