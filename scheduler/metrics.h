/* scheduler_metrics: the one table of what the scheduler counts. */
#ifndef SCHEDULER_METRICS_H
#define SCHEDULER_METRICS_H

#include "common/base/metrics.h"

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
    X(SCHEDULER_WORKERS_ALIVE_CLASSIC, "broadway_scheduler_workers_alive", "protocol=\"classic\"", \
      METRIC_GAUGE, "Workers that are alive, by their protocol")                                   \
    X(SCHEDULER_WORKERS_ALIVE_COURSE, "broadway_scheduler_workers_alive", "protocol=\"course\"",   \
      METRIC_GAUGE, "Workers that are alive, by their protocol")                                   \
    X(SCHEDULER_UNSERVED_JOBS_CLASSIC, "broadway_scheduler_unserved_jobs", "protocol=\"classic\"", \
      METRIC_GAUGE, "Jobs that wait while no grader of their protocol is alive")                   \
    X(SCHEDULER_UNSERVED_JOBS_COURSE, "broadway_scheduler_unserved_jobs", "protocol=\"course\"",   \
      METRIC_GAUGE, "Jobs that wait while no grader of their protocol is alive")                   \
    X(SCHEDULER_REPLICAS_OUT_OF_CONTACT, "broadway_scheduler_replicas_out_of_contact", NULL,       \
      METRIC_GAUGE, "Known API replicas that do not answer callbacks")                             \
    X(SCHEDULER_HAND_OUTS, "broadway_scheduler_hand_outs_total", NULL, METRIC_COUNTER,             \
      "Jobs delivered to a grader")                                                                \
    X(SCHEDULER_REQUEUES, "broadway_scheduler_requeues_total", NULL, METRIC_COUNTER,               \
      "Leases that ended without a result")                                                        \
    X(SCHEDULER_JOBS_GIVEN_UP, "broadway_scheduler_jobs_given_up_total", NULL, METRIC_COUNTER,     \
      "Jobs that failed because their attempts were used up")                                      \
    X(SCHEDULER_PAUSES, "broadway_scheduler_worker_pauses_total", NULL, METRIC_COUNTER,            \
      "Workers paused because they failed every job at once")                                      \
    X(SCHEDULER_WORKERS_PAUSED, "broadway_scheduler_workers_paused", NULL, METRIC_GAUGE,           \
      "Workers that get no job for a while because of that")                                       \
    X(SCHEDULER_WORKERS_STUCK, "broadway_scheduler_workers_stuck", NULL, METRIC_GAUGE,             \
      "Workers that beat but neither ask for jobs nor send results for as long as a job may take") \
    X(SCHEDULER_MISSED, "broadway_scheduler_missed_events_total", NULL, METRIC_COUNTER,            \
      "Runs and workers of which the change stream did not tell")                                  \
    X(SCHEDULER_RESULTS, "broadway_scheduler_results_total", NULL, METRIC_COUNTER, "Results seen") \
    X(SCHEDULER_CALLBACKS, "broadway_scheduler_callbacks_total", NULL, METRIC_COUNTER,             \
      "Callbacks sent to replicas")                                                                \
    X(SCHEDULER_CALLBACKS_FAILED, "broadway_scheduler_callbacks_failed_total", NULL,               \
      METRIC_COUNTER, "Callbacks that were not answered")                                          \
    X(SCHEDULER_RECOVERIES, "broadway_scheduler_recoveries_total", NULL, METRIC_COUNTER,           \
      "Recoveries, the first included")                                                            \
    X(SCHEDULER_EVENTS, "broadway_scheduler_events_total", NULL, METRIC_COUNTER, "Events handled")

enum scheduler_metric {
#define SCHEDULER_METRIC_ENUM(place, name, label, kind, help) place,
    SCHEDULER_METRIC_MAP(SCHEDULER_METRIC_ENUM)
#undef SCHEDULER_METRIC_ENUM
};

/* New, metrics_free. */
struct metrics *scheduler_metrics_new(void);

#endif
