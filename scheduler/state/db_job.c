#include "scheduler/state/db_job.h"

#include <stdlib.h>

#include "common/base/alloc.h"

struct db_job *db_job_new(enum db_job_kind kind, int64_t generation)
{
    struct db_job *db_job = bw_alloc(sizeof *db_job);
    db_job->kind = kind;
    db_job->generation = generation;
    return db_job;
}

void db_job_free(struct db_job *db_job)
{
    if (db_job == NULL)
        return;
    if (db_job->kind == DB_JOB_SAVE_RUN)
        free(db_job->run.summary);
    if (db_job->kind == DB_JOB_MARK_WORKERS)
        free(db_job->marks.list);
    if (db_job->kind == DB_JOB_FIND_RESULTS) {
        free(db_job->wanted.jobs);
        free(db_job->wanted.attempts);
    }
    if (db_job->kind == DB_JOB_FIND_RUNS) {
        for (size_t i = 0; i < db_job->found.count; i++)
            run_clear(&db_job->found.runs[i]);
        free(db_job->found.runs);
    }
    if (db_job->kind == DB_JOB_FIND_SIGNALS) {
        for (size_t i = 0; i < db_job->found_signals.count; i++)
            signal_clear(&db_job->found_signals.signals[i]);
        free(db_job->found_signals.signals);
    }
    if (db_job->kind == DB_JOB_READ_PAUSES) {
        free(db_job->pauses.pauses);
        scheduling_clear(&db_job->pauses.scheduling);
    }
    if (db_job->kind == DB_JOB_RECORD_SAMPLE)
        history_sample_clear(&db_job->sample);
    if (db_job->kind == DB_JOB_READ_TIMES || db_job->kind == DB_JOB_SAVE_TIMES)
        job_times_records_free(db_job->times.records, db_job->times.count);
    webhook_event_list_clear(&db_job->events);
    free(db_job);
}
