#include "scheduler/rules/job_times.h"

enum {
    SAVE_MS = 10000,
    AGAIN_MS = 1000 /* after a failed read */
};

/* A new leader knows nothing until it has read. */
static void job_times_begin_term(struct scheduler *scheduler)
{
    struct job_times_table *table = &scheduler->job_times;
    if (table->term == scheduler->term)
        return;
    job_times_table_clear(table);
    table->term = scheduler->term;
}

/* How long the lease's worker had the job, as the result says, or as it is known here: a lease that
 * was recovered is as old as its date. */
static int64_t job_times_took_ms(const struct scheduler *scheduler, const struct live_lease *lease,
                                 const struct result *result)
{
    if (result->started_ms != 0 && result->finished_ms >= result->started_ms)
        return result->finished_ms - result->started_ms;
    if (lease->leased_at_ms != 0 && scheduler->date_ms >= lease->leased_at_ms)
        return scheduler->date_ms - lease->leased_at_ms;
    return scheduler->now_ms - lease->leased_ms;
}

void job_times_note_result(struct scheduler *scheduler, const struct live_lease *lease,
                           const struct result *result)
{
    enum job_kind kind;
    uint32_t index;
    const struct run *run = &lease->run->run;
    if (result->outcome != OUTCOME_SUCCEEDED && result->outcome != OUTCOME_FAILED)
        return;
    job_times_begin_term(scheduler);
    run_slot_job(run->has_pre, run->students, lease->slot, &kind, &index);
    job_times_learn(&scheduler->job_times, run, kind, job_times_took_ms(scheduler, lease, result));
}

static void job_times_submit(struct scheduler *scheduler, struct db_job *db_job)
{
    db_job->times.term = scheduler->term;
    scheduler->job_times.is_in_flight = true;
    scheduler_submit(scheduler, db_job);
}

static void job_times_save(struct scheduler *scheduler)
{
    size_t count;
    struct job_times_record *records = job_times_take_dirty(&scheduler->job_times, &count);
    if (records == NULL)
        return;
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_SAVE_TIMES);
    db_job->times.records = records;
    db_job->times.count = count;
    job_times_submit(scheduler, db_job);
}

void job_times_tick(struct scheduler *scheduler)
{
    struct job_times_table *table = &scheduler->job_times;
    job_times_begin_term(scheduler);
    if (table->is_in_flight || scheduler->now_ms < table->next_ms)
        return;
    table->next_ms = scheduler->now_ms + (table->is_read ? SAVE_MS : AGAIN_MS);
    if (table->is_read) {
        job_times_save(scheduler);
        return;
    }
    job_times_submit(scheduler, scheduler_db_job(scheduler, DB_JOB_READ_TIMES));
}

void job_times_completed_late(struct scheduler *scheduler, const struct db_job *db_job)
{
    struct job_times_table *table = &scheduler->job_times;
    if (db_job->times.term != table->term)
        return;
    table->is_in_flight = false;
    if (db_job->kind == DB_JOB_SAVE_TIMES)
        job_times_put_back(table, db_job->times.records, db_job->times.count);
}

void job_times_completed(struct scheduler *scheduler, const struct db_job *db_job)
{
    struct job_times_table *table = &scheduler->job_times;
    if (db_job->code != BW_OK || db_job->times.term != table->term) {
        job_times_completed_late(scheduler, db_job);
        return;
    }
    table->is_in_flight = false;
    if (db_job->kind != DB_JOB_READ_TIMES)
        return;
    for (size_t i = db_job->times.count; i > 0; i--) /* the oldest first, as they were learned */
        job_times_add(table, &db_job->times.records[i - 1]);
    table->is_read = true;
    table->next_ms = scheduler->now_ms + SAVE_MS;
}
