#include "scheduler/io/db_jobs.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "scheduler/io/file_retention.h"
#include "scheduler/io/retention.h"
#include "scheduler/io/webhook_recording.h"
#include "scheduler/io/webhook_sender.h"

enum {
    THREADS = 4,
    AUDIT_AT_ONCE = 20000,  /* documents of the audit that one removal takes */
    PAUSED_AT_ONCE = 200,   /* paused runs that one read of the pauses looks up */
    PASSED_PAUSE_MS = 60000 /* after its end a pause is deleted */
};

struct db_jobs {
    struct db_jobs_settings settings;
    pthread_t threads[THREADS];
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t arrived;
    struct db_job *head, **end;
    bool is_closing;
};

struct search {
    struct inbox *inbox;
    int64_t generation;
};

static void post_returned(const struct lease *lease, void *context)
{
    const struct search *search = context;
    struct event *event = event_new(EVENT_RETURNED, search->generation);
    event->returned = *lease;
    inbox_post(search->inbox, event);
}

/* If its grader has returned the job meanwhile, that is told before this job's completion. */
static enum bw_code find_return(struct db_jobs *db_jobs, const struct db_job *db_job)
{
    struct bw_error unused;
    struct search search = {db_jobs->settings.inbox, db_job->generation};
    char jobs[1][JOB_ID_SIZE];
    memcpy(jobs[0], db_job->lease.job, sizeof jobs[0]);
    return lease_store_read_returned(db_jobs->settings.leases, (const char(*)[JOB_ID_SIZE])jobs,
                                     &db_job->lease.attempt, 1, post_returned, &search, &unused);
}

static void end_lease(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = lease_store_end(db_jobs->settings.leases, db_job->lease.job,
                                   db_job->lease.attempt, db_job->lease.term, db_job->lease.end,
                                   &db_job->lease.has_ended, &unused);
    if (db_job->code == BW_OK && !db_job->lease.has_ended)
        db_job->code = find_return(db_jobs, db_job);
    FAILPOINT("in_requeue");
}

static void db_jobs_save_run(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    const struct run_advance advance = {.phase = db_job->run.phase,
                                        .ended_ms = db_job->run.ended_ms,
                                        .summary = db_job->run.summary,
                                        .summary_length = db_job->run.summary_length,
                                        .breaker = &db_job->run.breaker,
                                        .foretold = &db_job->run.foretold};
    db_job->code = run_store_advance(db_jobs->settings.runs, db_job->run.id, &advance, &unused);
}

static void db_jobs_place_run(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = run_store_place(db_jobs->settings.runs, db_job->placed.id, &db_job->placed.place,
                                   &unused);
}

static void mark_workers(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = worker_store_mark(db_jobs->settings.workers, db_job->marks.list,
                                     db_job->marks.count, &unused);
}

static void note_graders(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = leader_store_note_graders(db_jobs->settings.leader, db_job->graders.holder,
                                             db_job->graders.term, db_job->graders.since_ms,
                                             db_job->graders.faulty, &unused);
}

static void db_jobs_read_worker(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = worker_store_read(db_jobs->settings.workers, db_job->read.worker.id,
                                     &db_job->read.worker, &unused);
}

static void find_runs(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = run_store_read_active(db_jobs->settings.runs, false, &db_job->found.runs,
                                         &db_job->found.count, &unused);
}

static void post_result(const struct result *result, void *context)
{
    const struct search *search = context;
    struct event *event = event_new(EVENT_RESULT, search->generation);
    event->result = *result;
    inbox_post(search->inbox, event);
}

static void find_results(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    struct search search = {db_jobs->settings.inbox, db_job->generation};
    db_job->code = result_store_read(db_jobs->settings.results,
                                     (const char(*)[JOB_ID_SIZE])db_job->wanted.jobs,
                                     db_job->wanted.count, false, post_result, &search, &unused);
    if (db_job->code == BW_OK)
        db_job->code = lease_store_read_returned(
            db_jobs->settings.leases, (const char(*)[JOB_ID_SIZE])db_job->wanted.jobs,
            db_job->wanted.attempts, db_job->wanted.count, post_returned, &search, &unused);
}

static void sample_clock(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = database_ping(db_jobs->settings.database, &unused);
}

/* Signals are found by their dates, so the database's clock is read first: after a step back, an
 * earlier reading would find none until the clock has made up for it. */
static void find_signals(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    if (FAILPOINT_FAILS("drop_found_signal"))
        return;
    sample_clock(db_jobs, db_job);
    if (db_job->code == BW_OK)
        db_job->code = signal_store_read(
            db_jobs->settings.signals,
            database_now_ms(db_jobs->settings.database) - db_job->found_signals.age_ms,
            &db_job->found_signals.signals, &db_job->found_signals.count, &unused);
}

static void delete_worker(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = pause_store_delete_worker(db_jobs->settings.pauses, db_job->worker.id, &unused);
    if (db_job->code == BW_OK)
        db_job->code = worker_store_delete(db_jobs->settings.workers, db_job->worker.id, &unused);
}

static void remove_runs(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    const struct retention_age age = {.now_ms = db_job->removed.now_ms,
                                      .retain_ms = db_job->removed.retain_ms,
                                      .job_timeout_ms = db_job->removed.job_timeout_ms};
    db_job->code = retention_remove_runs(db_jobs->settings.retention, &age, &db_job->removed.count,
                                         &unused);
}

static void remove_orphans(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    const struct db_jobs_settings *settings = &db_jobs->settings;
    size_t files = 0;
    db_job->code = retention_remove_orphans(settings->retention, &db_job->removed.count, &unused);
    if (db_job->code == BW_OK)
        db_job->code = file_retention_remove(settings->files, settings->runs,
                                             db_job->removed.now_ms - db_job->removed.retain_ms,
                                             &files, &unused);
    db_job->removed.count += files;
}

/* The rest is removed next time. */
static void remove_audit(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = audit_store_remove(db_jobs->settings.audit,
                                      db_job->removed.now_ms - db_job->removed.retain_ms,
                                      AUDIT_AT_ONCE, &db_job->removed.count, &unused);
}

/* A pause that passed long ago is deleted. If that fails, the next read repeats it. */
static void db_jobs_drop_passed(struct db_jobs *db_jobs, const struct db_job *db_job)
{
    struct bw_error unused;
    int64_t before_ms = db_job->pauses.date_ms - PASSED_PAUSE_MS;
    for (size_t i = 0; i < db_job->pauses.count; i++) {
        const struct pause *pause = &db_job->pauses.pauses[i];
        if (pause->until_ms != 0 && pause->until_ms < before_ms && !pause->is_automatic &&
            pause_store_delete_passed(db_jobs->settings.pauses, pause, &unused) != BW_OK)
            return;
    }
}

/* Paused runs: are they still open? */
struct paused_runs {
    char ids[PAUSED_AT_ONCE][RUN_ID_SIZE];
    bool are_open[PAUSED_AT_ONCE];
    size_t count;
};

static void paused_runs_take(const char *run_id, void *context)
{
    struct paused_runs *runs = context;
    for (size_t i = 0; i < runs->count; i++)
        if (strcmp(runs->ids[i], run_id) == 0)
            runs->are_open[i] = true;
}

/* If there are more pauses of runs than one read looks up, the next reads take the others. */
static void paused_runs_collect(struct paused_runs *runs, const struct db_job *db_job)
{
    size_t total = 0, number = 0;
    for (size_t i = 0; i < db_job->pauses.count; i++)
        total += db_job->pauses.pauses[i].kind == PAUSE_RUN;
    size_t first = total > PAUSED_AT_ONCE ? (size_t)db_job->pauses.read * PAUSED_AT_ONCE % total
                                          : 0;
    for (size_t i = 0; i < db_job->pauses.count && runs->count < PAUSED_AT_ONCE; i++) {
        const struct pause *pause = &db_job->pauses.pauses[i];
        if (pause->kind == PAUSE_RUN && number++ >= first)
            snprintf(runs->ids[runs->count++], RUN_ID_SIZE, "%.*s", RUN_ID_LENGTH, pause->name);
    }
}

/* Leaves the pauses of that run out of what was read. */
static void db_jobs_omit_run(struct db_job *db_job, const char *run_id)
{
    struct pause *pauses = db_job->pauses.pauses;
    size_t kept = 0;
    for (size_t i = 0; i < db_job->pauses.count; i++)
        if (pauses[i].kind != PAUSE_RUN || strcmp(pauses[i].name, run_id) != 0)
            pauses[kept++] = pauses[i];
    db_job->pauses.count = kept;
}

/* Deletes pauses of runs that are over or gone: whoever should have done so behind the run's end
 * may have died before. If that fails, a later read repeats it. */
static void db_jobs_drop_ended(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    struct paused_runs runs = {.count = 0};
    paused_runs_collect(&runs, db_job);
    enum bw_code code = BW_OK;
    if (runs.count > 0)
        code = run_store_find_open(db_jobs->settings.runs, (const char(*)[RUN_ID_SIZE])runs.ids,
                                   runs.count, paused_runs_take, &runs, &unused);
    for (size_t i = 0; code == BW_OK && i < runs.count; i++) {
        if (runs.are_open[i])
            continue;
        code = pause_store_delete_run(db_jobs->settings.pauses, runs.ids[i], &unused);
        db_jobs_omit_run(db_job, runs.ids[i]);
    }
}

static void db_jobs_read_pauses(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = pause_store_read(db_jobs->settings.pauses, &db_job->pauses.pauses,
                                    &db_job->pauses.count, &unused);
    if (db_job->code == BW_OK)
        db_job->code = scheduling_store_read(db_jobs->settings.scheduling,
                                             &db_job->pauses.scheduling, &unused);
    if (db_job->code != BW_OK)
        return;
    db_jobs_drop_passed(db_jobs, db_job);
    db_jobs_drop_ended(db_jobs, db_job);
}

static void db_jobs_insert_pause(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = pause_store_insert(db_jobs->settings.pauses, &db_job->pause, &unused);
}

static void db_jobs_forget_pauses(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = pause_store_delete_run(db_jobs->settings.pauses, db_job->pause.name, &unused);
}

/* What a job's events tell is recorded before the job is done: whoever finds it done need not ask.
 */
static enum bw_code db_jobs_record_events(struct db_jobs *db_jobs, const struct db_job *db_job)
{
    const struct db_jobs_settings *settings = &db_jobs->settings;
    const struct webhook_recording recording = {settings->webhooks, settings->webhook_deliveries,
                                                settings->metrics};
    struct bw_error unused;
    size_t count = 0;
    if (db_job->events.first == NULL)
        return BW_OK;
    enum bw_code code = webhook_recording_insert(&recording, &db_job->events, &count, &unused);
    if (count > 0)
        webhook_sender_wake(settings->webhook_sender);
    FAILPOINT("after_events");
    return code;
}

static void db_jobs_record_sample(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = history_store_insert(db_jobs->settings.history, &db_job->sample, &unused);
}

static void db_jobs_read_times(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = job_times_store_read(db_jobs->settings.job_times, &db_job->times.records,
                                        &db_job->times.count, &unused);
}

static void db_jobs_save_times(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = job_times_store_save(db_jobs->settings.job_times, db_job->times.records,
                                        db_job->times.count, &unused);
}

static void db_jobs_do_nothing(struct db_jobs *db_jobs, struct db_job *db_job)
{
    (void)db_jobs;
    (void)db_job;
}

static void (*const handlers[])(struct db_jobs *db_jobs, struct db_job *db_job) = {
    [DB_JOB_END_LEASE] = end_lease,
    [DB_JOB_SAVE_RUN] = db_jobs_save_run,
    [DB_JOB_PLACE_RUN] = db_jobs_place_run,
    [DB_JOB_MARK_WORKERS] = mark_workers,
    [DB_JOB_DELETE_WORKER] = delete_worker,
    [DB_JOB_READ_WORKER] = db_jobs_read_worker,
    [DB_JOB_SAMPLE_CLOCK] = sample_clock,
    [DB_JOB_FIND_RUNS] = find_runs,
    [DB_JOB_FIND_RESULTS] = find_results,
    [DB_JOB_REMOVE_RUNS] = remove_runs,
    [DB_JOB_NOTE_GRADERS] = note_graders,
    [DB_JOB_REMOVE_ORPHANS] = remove_orphans,
    [DB_JOB_REMOVE_AUDIT] = remove_audit,
    [DB_JOB_FIND_SIGNALS] = find_signals,
    [DB_JOB_READ_PAUSES] = db_jobs_read_pauses,
    [DB_JOB_INSERT_PAUSE] = db_jobs_insert_pause,
    [DB_JOB_FORGET_PAUSES] = db_jobs_forget_pauses,
    [DB_JOB_RECORD_EVENTS] = db_jobs_do_nothing,
    [DB_JOB_RECORD_SAMPLE] = db_jobs_record_sample,
    [DB_JOB_READ_TIMES] = db_jobs_read_times,
    [DB_JOB_SAVE_TIMES] = db_jobs_save_times,
};

/* The next database job, or NULL: closing, and nothing is left. */
static struct db_job *next_db_job(struct db_jobs *db_jobs)
{
    pthread_mutex_lock(&db_jobs->mutex);
    while (db_jobs->head == NULL && !db_jobs->is_closing)
        pthread_cond_wait(&db_jobs->arrived, &db_jobs->mutex);
    struct db_job *db_job = db_jobs->head;
    if (db_job != NULL)
        db_jobs->head = db_job->next;
    if (db_jobs->head == NULL)
        db_jobs->end = &db_jobs->head;
    pthread_mutex_unlock(&db_jobs->mutex);
    return db_job;
}

/* A scheduler in doubt does nothing more. */
static void do_db_job(struct db_jobs *db_jobs, struct db_job *db_job)
{
    const struct fence *fence = &db_jobs->settings.fence;
    db_job->code = BW_UNAVAILABLE;
    if (fence->is_open != NULL && !fence->is_open(fence->context))
        return;
    db_job->code = db_jobs_record_events(db_jobs, db_job);
    if (db_job->code == BW_OK)
        handlers[db_job->kind](db_jobs, db_job);
}

static void *db_jobs_work(void *context)
{
    struct db_jobs *db_jobs = context;
    struct db_job *db_job;
    for (db_job = next_db_job(db_jobs); db_job != NULL; db_job = next_db_job(db_jobs)) {
        do_db_job(db_jobs, db_job);
        struct event *event = event_new(EVENT_DB_JOB, db_job->generation);
        event->db_job = db_job;
        inbox_post(db_jobs->settings.inbox, event);
    }
    return NULL;
}

struct db_jobs *db_jobs_open(const struct db_jobs_settings *settings)
{
    struct db_jobs *db_jobs = bw_alloc(sizeof *db_jobs);
    db_jobs->settings = *settings;
    db_jobs->end = &db_jobs->head;
    pthread_mutex_init(&db_jobs->mutex, NULL);
    pthread_cond_init(&db_jobs->arrived, NULL);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&db_jobs->threads[i], NULL, db_jobs_work, db_jobs) != 0)
            abort(); /* at start, before anything was promised */
    return db_jobs;
}

void db_jobs_close(struct db_jobs *db_jobs)
{
    if (db_jobs == NULL)
        return;
    pthread_mutex_lock(&db_jobs->mutex);
    db_jobs->is_closing = true;
    pthread_cond_broadcast(&db_jobs->arrived);
    pthread_mutex_unlock(&db_jobs->mutex);
    for (int i = 0; i < THREADS; i++)
        pthread_join(db_jobs->threads[i], NULL);
    pthread_cond_destroy(&db_jobs->arrived);
    pthread_mutex_destroy(&db_jobs->mutex);
    free(db_jobs);
}

void db_jobs_submit(struct db_jobs *db_jobs, struct db_job *db_job)
{
    db_job->next = NULL;
    pthread_mutex_lock(&db_jobs->mutex);
    *db_jobs->end = db_job;
    db_jobs->end = &db_job->next;
    pthread_cond_signal(&db_jobs->arrived);
    pthread_mutex_unlock(&db_jobs->mutex);
}
