/*
 * scheduler_metrics: the one table of what the scheduler counts. To add a metric, add a row here
 * and count it by its place, as in metric_add(scheduler->metrics, SCHEDULER_EVENTS, 1). The table
 * is in the header, since the enum of places, which the callers use, is made from it.
 */
#ifndef SCHEDULER_METRICS_H
#define SCHEDULER_METRICS_H

#include "common/base/metrics.h"
#include "common/db/database_operations.h"
#include "common/domain/pause.h"
#include "common/domain/protocol_map.h"

/* One for each protocol, in the order of enum protocol. */
#define SCHEDULER_WORKERS_ALIVE_ROW(X, protocol, name, title, ...)            \
    X(SCHEDULER_WORKERS_ALIVE_##protocol, "broadway_scheduler_workers_alive", \
      "protocol=\"" title "\"", METRIC_GAUGE, "Workers that are alive, by their protocol")
#define SCHEDULER_UNSERVED_JOBS_ROW(X, protocol, name, title, ...)            \
    X(SCHEDULER_UNSERVED_JOBS_##protocol, "broadway_scheduler_unserved_jobs", \
      "protocol=\"" title "\"", METRIC_GAUGE,                                 \
      "Jobs that wait while no grader of their protocol is alive")
#define SCHEDULER_JOBS_RETURNED_ROW(X, protocol, name, title, ...)                  \
    X(SCHEDULER_JOBS_RETURNED_##protocol, "broadway_scheduler_jobs_returned_total", \
      "protocol=\"" title "\"", METRIC_COUNTER,                                     \
      "Jobs that a grader returned because it can't run them")

/* One for each protocol, in the order of enum protocol. */
#define SCHEDULER_DONE_SECONDS_ROW(X, protocol, name, title, ...)           \
    X(SCHEDULER_DONE_SECONDS_##protocol, "broadway_scheduler_done_seconds", \
      "protocol=\"" title "\"", METRIC_GAUGE,                               \
      "Estimated time until all started jobs are done with the graders of now, by protocol")
#define SCHEDULER_GRADERS_WANTED_ROW(X, protocol, name, title, ...)             \
    X(SCHEDULER_GRADERS_WANTED_##protocol, "broadway_scheduler_graders_wanted", \
      "protocol=\"" title "\"", METRIC_GAUGE,                                   \
      "Jobs to be run at a time for all started ones to be done in ten minutes, by protocol")

/* One for each kind of pause, in the order of enum pause_kind. */
#define SCHEDULER_PAUSED_ROW(X, pause, title)                                                    \
    X(SCHEDULER_PAUSED_##pause, "broadway_scheduler_pauses", "kind=\"" title "\"", METRIC_GAUGE, \
      "Pauses in force, by what is paused")

/* One for each protocol, in the order of enum protocol. */
#define SCHEDULER_QUEUE_WAIT_ROW(X, protocol, name, title, ...)                 \
    X(SCHEDULER_QUEUE_WAIT_##protocol, "broadway_scheduler_queue_wait_seconds", \
      "protocol=\"" title "\"", METRIC_WAIT,                                    \
      "Time from a run's start until a grader is chosen for a job's first attempt")
#define SCHEDULER_HAND_OUT_SECONDS_ROW(X, protocol, name, title, ...)               \
    X(SCHEDULER_HAND_OUT_SECONDS_##protocol, "broadway_scheduler_hand_out_seconds", \
      "protocol=\"" title "\"", METRIC_HISTOGRAM,                                   \
      "Time from the choice of a grader until it has the job")

/* One for each kind of operation, in the order of enum database_operation. */
#define SCHEDULER_DATABASE_SECONDS_ROW(X, operation, name)                                     \
    X(SCHEDULER_DATABASE_SECONDS_##operation, "broadway_scheduler_database_operation_seconds", \
      "operation=\"" name "\"", METRIC_HISTOGRAM,                                              \
      "Time of the database's commands, those that failed included")
#define SCHEDULER_DATABASE_FAILED_ROW(X, operation, name)                              \
    X(SCHEDULER_DATABASE_FAILED_##operation,                                           \
      "broadway_scheduler_database_operations_failed_total", "operation=\"" name "\"", \
      METRIC_COUNTER, "Commands that the database refused or did not answer")

/* One for each outcome but OUTCOME_NONE, in the order of enum job_outcome. */
#define SCHEDULER_RESULTS_ROW(X, outcome, name)                                                \
    X(SCHEDULER_RESULTS_##outcome, "broadway_scheduler_results_total", "outcome=\"" name "\"", \
      METRIC_COUNTER, "Results stored, by the outcome of their job")

/* X(place, name, label, kind, help) */
#define SCHEDULER_METRIC_MAP(X)                                                                    \
    X(SCHEDULER_IS_LEADER, "broadway_scheduler_is_leader", NULL, METRIC_GAUGE,                     \
      "1 while this process leads")                                                                \
    X(SCHEDULER_TERM, "broadway_scheduler_term", NULL, METRIC_GAUGE,                               \
      "Term of the leader, as last seen")                                                          \
    X(SCHEDULER_HAND_OVERS, "broadway_scheduler_hand_overs_total", NULL, METRIC_COUNTER,           \
      "Changes of the leader seen by this process")                                                \
    X(SCHEDULER_QUEUED_JOBS, "broadway_scheduler_queued_jobs", NULL, METRIC_GAUGE,                 \
      "Jobs that wait for a grader")                                                               \
    X(SCHEDULER_RUNNING_JOBS, "broadway_scheduler_running_jobs", NULL, METRIC_GAUGE,               \
      "Jobs with a live lease")                                                                    \
    X(SCHEDULER_OLDEST_QUEUED_SECONDS, "broadway_scheduler_oldest_queued_seconds", NULL,           \
      METRIC_GAUGE, "Age of the oldest run that has a job waiting")                                \
    X(SCHEDULER_WAITING_POLLS, "broadway_scheduler_waiting_polls", NULL, METRIC_GAUGE,             \
      "Polls that wait for a job")                                                                 \
    PROTOCOL_MAP(SCHEDULER_WORKERS_ALIVE_ROW, X)                                                   \
    PROTOCOL_MAP(SCHEDULER_UNSERVED_JOBS_ROW, X)                                                   \
    PROTOCOL_MAP(SCHEDULER_DONE_SECONDS_ROW, X)                                                    \
    PROTOCOL_MAP(SCHEDULER_GRADERS_WANTED_ROW, X)                                                  \
    X(SCHEDULER_ESTIMATE_ERROR, "broadway_scheduler_estimate_error_ratio", NULL, METRIC_HISTOGRAM, \
      "How far the foretold ends of runs were off, as a part of the time that was left")           \
    X(SCHEDULER_REPLICAS_OUT_OF_CONTACT, "broadway_scheduler_replicas_out_of_contact", NULL,       \
      METRIC_GAUGE, "Known API replicas that do not answer callbacks")                             \
    X(SCHEDULER_HAND_OUTS, "broadway_scheduler_hand_outs_total", NULL, METRIC_COUNTER,             \
      "Jobs delivered to a grader")                                                                \
    PROTOCOL_MAP(SCHEDULER_QUEUE_WAIT_ROW, X)                                                      \
    PROTOCOL_MAP(SCHEDULER_HAND_OUT_SECONDS_ROW, X)                                                \
    X(SCHEDULER_REQUEUES, "broadway_scheduler_requeues_total", NULL, METRIC_COUNTER,               \
      "Leases that ended without a result")                                                        \
    PROTOCOL_MAP(SCHEDULER_JOBS_RETURNED_ROW, X)                                                   \
    X(SCHEDULER_JOBS_GIVEN_UP, "broadway_scheduler_jobs_given_up_total", NULL, METRIC_COUNTER,     \
      "Jobs that failed because their attempts were used up, or because five graders, or "         \
      "owner rules five times, returned them")                                                     \
    X(SCHEDULER_JOBS_SUPERSEDED, "broadway_scheduler_jobs_superseded_total", NULL, METRIC_COUNTER, \
      "Jobs that a newer one with the same key was to supersede")                                  \
    X(SCHEDULER_PAUSES, "broadway_scheduler_worker_pauses_total", NULL, METRIC_COUNTER,            \
      "Pauses of workers that failed every job immediately, or returned it")                       \
    X(SCHEDULER_WORKERS_PAUSED, "broadway_scheduler_workers_paused", NULL, METRIC_GAUGE,           \
      "Workers that are paused now")                                                               \
    X(SCHEDULER_WORKERS_FAULTY, "broadway_scheduler_workers_faulty", NULL, METRIC_GAUGE,           \
      "Live workers that say that they can't run jobs")                                            \
    X(SCHEDULER_BREAKERS, "broadway_scheduler_breaker_pauses_total", NULL, METRIC_COUNTER,         \
      "Runs that were paused because their first jobs failed in the same way")                     \
    PAUSE_KIND_MAP(SCHEDULER_PAUSED_ROW, X)                                                        \
    X(SCHEDULER_WORKERS_STUCK, "broadway_scheduler_workers_stuck", NULL, METRIC_GAUGE,             \
      "Workers that send heartbeats, but neither polls nor results for as long as a job may take") \
    X(SCHEDULER_MISSED, "broadway_scheduler_missed_events_total", NULL, METRIC_COUNTER,            \
      "Runs, workers and signals that the change stream did not report")                           \
    SCHEDULER_RESULTS_ROW(X, SUCCEEDED, "succeeded")                                               \
    SCHEDULER_RESULTS_ROW(X, FAILED, "failed")                                                     \
    SCHEDULER_RESULTS_ROW(X, CANCELLED, "cancelled")                                               \
    SCHEDULER_RESULTS_ROW(X, SUPERSEDED, "superseded")                                             \
    X(SCHEDULER_CALLBACKS, "broadway_scheduler_callbacks_total", NULL, METRIC_COUNTER,             \
      "Callbacks sent to replicas")                                                                \
    X(SCHEDULER_CALLBACKS_FAILED, "broadway_scheduler_callbacks_failed_total", NULL,               \
      METRIC_COUNTER, "Callbacks that were not answered")                                          \
    X(SCHEDULER_WEBHOOKS_DELIVERED, "broadway_scheduler_webhook_attempts_total",                   \
      "outcome=\"delivered\"", METRIC_COUNTER, "Requests to webhooks, by what became of them")     \
    X(SCHEDULER_WEBHOOKS_FAILED, "broadway_scheduler_webhook_attempts_total",                      \
      "outcome=\"failed\"", METRIC_COUNTER, "Requests to webhooks, by what became of them")        \
    X(SCHEDULER_WEBHOOKS_GIVEN_UP, "broadway_scheduler_webhook_attempts_total",                    \
      "outcome=\"given_up\"", METRIC_COUNTER, "Requests to webhooks, by what became of them")      \
    X(SCHEDULER_WEBHOOKS_DROPPED, "broadway_scheduler_webhook_events_dropped_total", NULL,         \
      METRIC_COUNTER, "Events for webhooks whose queue was full")                                  \
    X(SCHEDULER_WEBHOOKS_WAITING, "broadway_scheduler_webhooks_waiting", NULL, METRIC_GAUGE,       \
      "Webhooks that have pending deliveries")                                                     \
    X(SCHEDULER_WEBHOOKS_OLDEST_SECONDS, "broadway_scheduler_webhook_oldest_pending_seconds",      \
      NULL, METRIC_GAUGE, "Age of the oldest event that is to be delivered")                       \
    X(SCHEDULER_RECOVERIES, "broadway_scheduler_recoveries_total", NULL, METRIC_COUNTER,           \
      "Recoveries, the first included")                                                            \
    X(SCHEDULER_EVENTS, "broadway_scheduler_events_total", NULL, METRIC_COUNTER, "Events handled") \
    X(SCHEDULER_SPANS_SENT, "broadway_scheduler_spans_total", "outcome=\"sent\"", METRIC_COUNTER,  \
      "Spans of traces by what became of them")                                                    \
    X(SCHEDULER_SPANS_DROPPED, "broadway_scheduler_spans_total", "outcome=\"dropped\"",            \
      METRIC_COUNTER, "Spans of traces by what became of them")                                    \
    DATABASE_OPERATION_MAP(SCHEDULER_DATABASE_SECONDS_ROW, X)                                      \
    DATABASE_OPERATION_MAP(SCHEDULER_DATABASE_FAILED_ROW, X)

enum scheduler_metric {
#define SCHEDULER_METRIC_ENUM(place, name, label, kind, help) place,
    SCHEDULER_METRIC_MAP(SCHEDULER_METRIC_ENUM)
#undef SCHEDULER_METRIC_ENUM
};

/* New; to be freed with metrics_free. */
struct metrics *scheduler_metrics_new(void);

#endif
