#include "scheduler/io/db_jobs.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "scheduler/state/deadline.h"
#include "scheduler/io/retention.h"

enum { THREADS = 4 };

struct db_jobs {
    struct db_jobs_settings settings;
    pthread_t threads[THREADS];
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t arrived;
    struct db_job *head, **change_stream;
    bool is_closing;
};

static void end_lease(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = lease_store_end(db_jobs->settings.leases, db_job->lease.job,
                                   db_job->lease.attempt, db_job->lease.term, db_job->lease.end,
                                   &db_job->lease.has_ended, &unused);
    FAILPOINT("in_requeue");
}

static void db_jobs_save_run(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = run_store_advance(db_jobs->settings.runs, db_job->run.id, db_job->run.phase,
                                     db_job->run.ended_ms, db_job->run.summary,
                                     db_job->run.summary_length, &unused);
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
                                             &unused);
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

struct search {
    struct inbox *inbox;
    int64_t generation;
};

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
        db_job->code = signal_store_read(db_jobs->settings.signals,
                                         database_now_ms(db_jobs->settings.database) -
                                             db_job->unheard.age_ms,
                                         &db_job->unheard.signals, &db_job->unheard.count, &unused);
}

static void delete_worker(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = worker_store_delete(db_jobs->settings.workers, db_job->worker.id, &unused);
}

/* A late result may come as long as a replica remembers a hand-out: it must find its run. */
static bool may_be_removed(const struct run *run, const struct db_job *db_job)
{
    enum { MEMORY_MS = 10000 };
    int64_t quiet_ms = deadline_of_run(run, db_job->removed.job_timeout_ms) + MEMORY_MS;
    return run->finished_ms + quiet_ms < db_job->removed.now_ms;
}

static void remove_runs(struct db_jobs *db_jobs, struct db_job *db_job)
{
    enum { AT_ONCE = 50 };
    struct bw_error unused;
    struct run *runs;
    size_t count;
    db_job->code = run_store_read_ended(db_jobs->settings.runs, db_job->removed.before_ms, AT_ONCE,
                                        &runs, &count, &unused);
    for (size_t i = 0; i < count; i++) {
        if (db_job->code == BW_OK && may_be_removed(&runs[i], db_job)) {
            db_job->code = retention_remove_run(db_jobs->settings.retention, &runs[i], &unused);
            db_job->removed.count += db_job->code == BW_OK;
        }
        run_clear(&runs[i]);
    }
    free(runs);
}

static void remove_orphans(struct db_jobs *db_jobs, struct db_job *db_job)
{
    struct bw_error unused;
    db_job->code = retention_remove_orphans(db_jobs->settings.retention, &db_job->removed.count,
                                            &unused);
}

static void (*const handlers[])(struct db_jobs *db_jobs, struct db_job *db_job) = {
    [DB_JOB_END_LEASE] = end_lease,
    [DB_JOB_SAVE_RUN] = db_jobs_save_run,
    [DB_JOB_MARK_WORKERS] = mark_workers,
    [DB_JOB_DELETE_WORKER] = delete_worker,
    [DB_JOB_READ_WORKER] = db_jobs_read_worker,
    [DB_JOB_SAMPLE_CLOCK] = sample_clock,
    [DB_JOB_FIND_RUNS] = find_runs,
    [DB_JOB_FIND_RESULTS] = find_results,
    [DB_JOB_REMOVE_RUNS] = remove_runs,
    [DB_JOB_NOTE_GRADERS] = note_graders,
    [DB_JOB_REMOVE_ORPHANS] = remove_orphans,
    [DB_JOB_FIND_SIGNALS] = find_signals,
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
        db_jobs->change_stream = &db_jobs->head;
    pthread_mutex_unlock(&db_jobs->mutex);
    return db_job;
}

/* A scheduler in doubt does nothing more. */
static void do_db_job(struct db_jobs *db_jobs, struct db_job *db_job)
{
    const struct fence *fence = &db_jobs->settings.fence;
    if (fence->is_open == NULL || fence->is_open(fence->context))
        handlers[db_job->kind](db_jobs, db_job);
    else
        db_job->code = BW_UNAVAILABLE;
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
    db_jobs->change_stream = &db_jobs->head;
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

struct db_job *db_job_new(enum db_job_kind kind, int64_t generation)
{
    struct db_job *db_job = bw_alloc(sizeof *db_job);
    db_job->kind = kind;
    db_job->generation = generation;
    return db_job;
}

void db_job_free(struct db_job *db_job)
{
    if (db_job->kind == DB_JOB_SAVE_RUN)
        free(db_job->run.summary);
    if (db_job->kind == DB_JOB_MARK_WORKERS)
        free(db_job->marks.list);
    if (db_job->kind == DB_JOB_FIND_RESULTS)
        free(db_job->wanted.jobs);
    if (db_job->kind == DB_JOB_FIND_RUNS) {
        for (size_t i = 0; i < db_job->found.count; i++)
            run_clear(&db_job->found.runs[i]);
        free(db_job->found.runs);
    }
    if (db_job->kind == DB_JOB_FIND_SIGNALS) {
        for (size_t i = 0; i < db_job->unheard.count; i++)
            signal_clear(&db_job->unheard.signals[i]);
        free(db_job->unheard.signals);
    }
    free(db_job);
}

void db_jobs_submit(struct db_jobs *db_jobs, struct db_job *db_job)
{
    db_job->next = NULL;
    pthread_mutex_lock(&db_jobs->mutex);
    *db_jobs->change_stream = db_job;
    db_jobs->change_stream = &db_job->next;
    pthread_cond_signal(&db_jobs->arrived);
    pthread_mutex_unlock(&db_jobs->mutex);
}
