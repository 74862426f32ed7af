/*
 * db_jobs: carries out database jobs (state/db_job.h) by a few threads of their own, so that the
 * core never waits for the database. Each comes back to the inbox as EVENT_DB_JOB.
 */
#ifndef SCHEDULER_IO_DB_JOBS_H
#define SCHEDULER_IO_DB_JOBS_H

#include "common/store/audit_store.h"
#include "common/store/history_store.h"
#include "common/store/job_times_store.h"
#include "common/store/file_store.h"
#include "common/store/leader_store.h"
#include "common/store/lease_store.h"
#include "common/store/pause_store.h"
#include "common/store/scheduling_store.h"
#include "common/store/result_store.h"
#include "common/store/run_store.h"
#include "common/store/signal_store.h"
#include "common/store/webhook_delivery_store.h"
#include "common/store/webhook_store.h"
#include "common/store/worker_store.h"
#include "scheduler/io/inbox.h"
#include "scheduler/state/db_job.h"

struct db_jobs;
struct metrics;
struct retention;
struct webhook_sender;

/* Where database jobs are done. Borrowed until db_jobs_close. */
struct db_jobs_settings {
    struct database *database;
    struct run_store *runs;
    struct lease_store *leases;
    struct worker_store *workers;
    struct result_store *results;
    struct signal_store *signals;
    struct leader_store *leader;
    struct file_store *files;
    struct audit_store *audit;
    struct history_store *history;
    struct job_times_store *job_times;
    struct pause_store *pauses;
    struct scheduling_store *scheduling;
    struct webhook_store *webhooks;
    struct webhook_delivery_store *webhook_deliveries;
    struct webhook_sender *webhook_sender; /* woken when events were recorded */
    struct metrics *metrics;
    struct retention *retention;
    struct inbox *inbox;
    struct fence fence; /* closed: database jobs are returned as unknown */
};

struct db_jobs *db_jobs_open(const struct db_jobs_settings *settings);

/* Carries out the queued jobs, then ends the threads. NULL is allowed. */
void db_jobs_close(struct db_jobs *db_jobs);

/* Queues the database job. It comes back with EVENT_DB_JOB, which owns it. */
void db_jobs_submit(struct db_jobs *db_jobs, struct db_job *db_job);

#endif
