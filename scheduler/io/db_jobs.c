#include "scheduler/io/db_jobs.h"

#include <pthread.h>
#include <stdlib.h>

#include "common/base/failpoint.h"
#include "scheduler/state/deadline.h"
#include "scheduler/io/retention.h"

enum { THREADS = 4 };

struct chores {
    struct chores_settings settings;
    pthread_t threads[THREADS];
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t arrived;
    struct chore *head, **tail;
    bool is_closing;
};

static void end_lease(struct chores *chores, struct chore *chore)
{
    struct bw_error unused;
    chore->code = lease_store_end(chores->settings.leases, chore->lease.job, chore->lease.attempt,
                                  chore->lease.term, chore->lease.end, &chore->lease.has_ended,
                                  &unused);
    FAILPOINT("in_requeue");
}

static void save_run(struct chores *chores, struct chore *chore)
{
    struct bw_error unused;
    chore->code = run_store_advance(chores->settings.runs, chore->run.id, chore->run.phase,
                                    chore->run.ended_ms, chore->run.summary,
                                    chore->run.summary_length, &unused);
}

static void mark_workers(struct chores *chores, struct chore *chore)
{
    struct bw_error unused;
    chore->code = worker_store_mark(chores->settings.workers, chore->marks.list, chore->marks.count,
                                    &unused);
}

static void note_graders(struct chores *chores, struct chore *chore)
{
    struct bw_error unused;
    chore->code = leader_store_note_graders(chores->settings.leader, chore->graders.holder,
                                            chore->graders.term, chore->graders.since_ms, &unused);
}

static void read_worker(struct chores *chores, struct chore *chore)
{
    struct bw_error unused;
    chore->code = worker_store_read(chores->settings.workers, chore->read.worker.id,
                                    &chore->read.worker, &unused);
}

static void find_runs(struct chores *chores, struct chore *chore)
{
    struct bw_error unused;
    chore->code = run_store_read_active(chores->settings.runs, false, &chore->found.runs,
                                        &chore->found.count, &unused);
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

static void find_results(struct chores *chores, struct chore *chore)
{
    struct bw_error unused;
    struct search search = {chores->settings.inbox, chore->generation};
    chore->code = result_store_read(chores->settings.results,
                                    (const char(*)[JOB_ID_SIZE])chore->wanted.jobs,
                                    chore->wanted.count, false, post_result, &search, &unused);
}

static void find_signals(struct chores *chores, struct chore *chore)
{
    struct bw_error unused;
    if (FAILPOINT_FAILS("drop_found_signal"))
        return;
    chore->code = signal_store_read(chores->settings.signals, chore->unheard.since_ms,
                                    &chore->unheard.signals, &chore->unheard.count, &unused);
}

static void delete_worker(struct chores *chores, struct chore *chore)
{
    struct bw_error unused;
    chore->code = worker_store_delete(chores->settings.workers, chore->worker.id, &unused);
}

/* A late result may come as long as a replica remembers a hand-out: it must find its run. */
static bool may_be_removed(const struct run *run, const struct chore *chore)
{
    enum { MEMORY_MS = 10000 };
    int64_t quiet_ms = deadline_of_run(run, chore->removed.job_timeout_ms) + MEMORY_MS;
    return run->finished_ms + quiet_ms < chore->removed.now_ms;
}

static void remove_runs(struct chores *chores, struct chore *chore)
{
    enum { AT_ONCE = 50 };
    struct bw_error unused;
    struct run *runs;
    size_t count;
    chore->code = run_store_read_ended(chores->settings.runs, chore->removed.before_ms, AT_ONCE,
                                       &runs, &count, &unused);
    for (size_t i = 0; i < count; i++) {
        if (chore->code == BW_OK && may_be_removed(&runs[i], chore)) {
            chore->code = retention_remove_run(chores->settings.retention, &runs[i], &unused);
            chore->removed.count += chore->code == BW_OK;
        }
        run_clear(&runs[i]);
    }
    free(runs);
}

static void remove_orphans(struct chores *chores, struct chore *chore)
{
    struct bw_error unused;
    chore->code = retention_remove_orphans(chores->settings.retention, &chore->removed.count,
                                           &unused);
}

static void (*const doers[])(struct chores *chores, struct chore *chore) = {
    [CHORE_END_LEASE] = end_lease,       [CHORE_SAVE_RUN] = save_run,
    [CHORE_MARK_WORKERS] = mark_workers, [CHORE_DELETE_WORKER] = delete_worker,
    [CHORE_READ_WORKER] = read_worker,   [CHORE_FIND_RUNS] = find_runs,
    [CHORE_FIND_RESULTS] = find_results, [CHORE_REMOVE_RUNS] = remove_runs,
    [CHORE_NOTE_GRADERS] = note_graders, [CHORE_REMOVE_ORPHANS] = remove_orphans,
    [CHORE_FIND_SIGNALS] = find_signals,
};

/* The next chore, or NULL: closing, and nothing is left. */
static struct chore *next_chore(struct chores *chores)
{
    pthread_mutex_lock(&chores->mutex);
    while (chores->head == NULL && !chores->is_closing)
        pthread_cond_wait(&chores->arrived, &chores->mutex);
    struct chore *chore = chores->head;
    if (chore != NULL)
        chores->head = chore->next;
    if (chores->head == NULL)
        chores->tail = &chores->head;
    pthread_mutex_unlock(&chores->mutex);
    return chore;
}

/* A scheduler in doubt does nothing more. */
static void do_chore(struct chores *chores, struct chore *chore)
{
    const struct fence *fence = &chores->settings.fence;
    if (fence->is_open == NULL || fence->is_open(fence->context))
        doers[chore->kind](chores, chore);
    else
        chore->code = BW_UNAVAILABLE;
}

static void *work(void *context)
{
    struct chores *chores = context;
    struct chore *chore;
    for (chore = next_chore(chores); chore != NULL; chore = next_chore(chores)) {
        do_chore(chores, chore);
        struct event *event = event_new(EVENT_CHORE, chore->generation);
        event->chore = chore;
        inbox_post(chores->settings.inbox, event);
    }
    return NULL;
}

struct chores *chores_open(const struct chores_settings *settings)
{
    struct chores *chores = calloc(1, sizeof *chores);
    if (chores == NULL)
        abort();
    chores->settings = *settings;
    chores->tail = &chores->head;
    pthread_mutex_init(&chores->mutex, NULL);
    pthread_cond_init(&chores->arrived, NULL);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&chores->threads[i], NULL, work, chores) != 0)
            abort(); /* at start, before anything was promised */
    return chores;
}

void chores_close(struct chores *chores)
{
    if (chores == NULL)
        return;
    pthread_mutex_lock(&chores->mutex);
    chores->is_closing = true;
    pthread_cond_broadcast(&chores->arrived);
    pthread_mutex_unlock(&chores->mutex);
    for (int i = 0; i < THREADS; i++)
        pthread_join(chores->threads[i], NULL);
    pthread_cond_destroy(&chores->arrived);
    pthread_mutex_destroy(&chores->mutex);
    free(chores);
}

struct chore *chore_new(enum chore_kind kind, int64_t generation)
{
    struct chore *chore = calloc(1, sizeof *chore);
    if (chore == NULL)
        abort();
    chore->kind = kind;
    chore->generation = generation;
    return chore;
}

void chore_free(struct chore *chore)
{
    if (chore->kind == CHORE_SAVE_RUN)
        free(chore->run.summary);
    if (chore->kind == CHORE_MARK_WORKERS)
        free(chore->marks.list);
    if (chore->kind == CHORE_FIND_RESULTS)
        free(chore->wanted.jobs);
    if (chore->kind == CHORE_FIND_RUNS) {
        for (size_t i = 0; i < chore->found.count; i++)
            run_clear(&chore->found.runs[i]);
        free(chore->found.runs);
    }
    if (chore->kind == CHORE_FIND_SIGNALS) {
        for (size_t i = 0; i < chore->unheard.count; i++)
            signal_clear(&chore->unheard.signals[i]);
        free(chore->unheard.signals);
    }
    free(chore);
}

void chores_submit(struct chores *chores, struct chore *chore)
{
    chore->next = NULL;
    pthread_mutex_lock(&chores->mutex);
    *chores->tail = chore;
    chores->tail = &chore->next;
    pthread_cond_signal(&chores->arrived);
    pthread_mutex_unlock(&chores->mutex);
}
