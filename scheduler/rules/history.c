#include "scheduler/rules/history.h"

#include "common/base/alloc.h"

/* A new leader begins to count at zero. */
static void history_begin_term(struct scheduler *scheduler)
{
    struct history_table *table = &scheduler->history;
    if (table->term == scheduler->term)
        return;
    history_table_clear(table);
    table->term = scheduler->term;
    table->step = scheduler->date_ms / HISTORY_STEP_MS;
}

/* The counts of the course of this run. */
static struct history_load *history_load_of(struct scheduler *scheduler,
                                            const struct active_run *run)
{
    history_begin_term(scheduler);
    return &history_table_course(&scheduler->history, run->run.protocol, run->course->name)->load;
}

void history_note_hand_out(struct scheduler *scheduler, const struct active_run *run,
                           int64_t wait_ms)
{
    history_load_of(scheduler, run)->handed_out++;
    if (wait_ms >= 0)
        duration_buckets_add(&scheduler->history.waits, wait_ms);
}

void history_note_result(struct scheduler *scheduler, const struct active_run *run,
                         enum job_outcome outcome)
{
    history_load_of(scheduler, run)->results[outcome]++;
}

/* Adds what the run has queued and running to the counts of its course. */
static void history_add_run(struct scheduler *scheduler, const struct active_run *run)
{
    struct history_load *load = history_load_of(scheduler, run);
    uint64_t queued = queue_run_length(run);
    int64_t age_ms = scheduler->date_ms - run->run.started_ms;
    load->queued += queued;
    load->running += run->live;
    if (queued > 0 && age_ms > load->oldest_ms)
        load->oldest_ms = age_ms;
}

static void history_count_graders(const struct scheduler *scheduler,
                                  struct history_graders *graders)
{
    const struct known_worker *worker, *following;
    HASH_ITER (hh, scheduler->workers.workers, worker, following) {
        if (!worker->is_alive)
            continue;
        graders->working += worker->held > 0;
        if (worker->held > 0)
            continue;
        if (worker->fault[0] != '\0')
            graders->faulty++;
        else if (worker_is_paused(worker, scheduler->now_ms))
            graders->paused++;
        else
            graders->idle++;
    }
}

/* Moves the counts of the table into the sample. */
static void history_take(struct scheduler *scheduler, struct history_sample *sample)
{
    struct history_table *table = &scheduler->history;
    const struct history_entry *entry, *following;
    HASH_ITER (hh, table->entries, entry, following)
        *history_sample_add(sample, entry->course.protocol, entry->course.name) = entry->course;
    sample->waits = table->waits;
    int64_t term = table->term;
    history_table_clear(table);
    table->term = term;
    table->step = sample->at_ms / HISTORY_STEP_MS;
}

void history_tick(struct scheduler *scheduler)
{
    history_begin_term(scheduler);
    int64_t step = scheduler->date_ms / HISTORY_STEP_MS;
    if (step < scheduler->history.step)
        scheduler->history.step = step; /* the database's clock was set back */
    if (step == scheduler->history.step)
        return;
    const struct active_run *run, *following;
    HASH_ITER (hh, scheduler->queue.runs, run, following)
        history_add_run(scheduler, run);
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_RECORD_SAMPLE);
    db_job->sample.at_ms = step * HISTORY_STEP_MS;
    db_job->sample.term = scheduler->term;
    history_count_graders(scheduler, &db_job->sample.graders);
    history_take(scheduler, &db_job->sample);
    history_sample_bound(&db_job->sample);
    scheduler_submit(scheduler, db_job);
}
