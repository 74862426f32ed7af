#include "api/grading/held_jobs.h"

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/thread_pool.h"
#include "common/base/alloc.h"
#include "common/base/json.h"

enum { ATTEMPTS_WINDOW = 4 /* attempts that are read at once */ };

struct request {
    char worker[WORKER_ID_SIZE];
    struct held_job *jobs; /* own */
    size_t count;
    void (*completed)(void *context, const struct held_job *jobs, size_t count);
    void *context;
    struct request *next;
};

struct held_jobs {
    struct held_jobs_settings settings;
    pthread_mutex_t mutex; /* guards what follows */
    struct request *first, **end;
    bool is_reading; /* a task of the thread pool is queued or running */
};

struct held_jobs *held_jobs_new(const struct held_jobs_settings *settings)
{
    struct held_jobs *held = bw_alloc(sizeof *held);
    held->settings = *settings;
    held->end = &held->first;
    pthread_mutex_init(&held->mutex, NULL);
    return held;
}

void held_jobs_free(struct held_jobs *held)
{
    if (held == NULL)
        return;
    pthread_mutex_destroy(&held->mutex);
    free(held);
}

/* Removes requests from the queue, the oldest first: as many as fit into a read, at least one. */
static struct request *held_jobs_take(struct held_jobs *held, size_t *jobs)
{
    pthread_mutex_lock(&held->mutex);
    struct request *taken = held->first, **end = &taken;
    for (*jobs = 0; *end != NULL && (*jobs == 0 || *jobs + (*end)->count <= HELD_JOBS_BATCH);
         end = &(*end)->next)
        *jobs += (*end)->count;
    held->first = *end;
    *end = NULL;
    if (held->first == NULL)
        held->end = &held->first;
    pthread_mutex_unlock(&held->mutex);
    return taken;
}

/* ---- One read ---- */

/* A job that is asked for, and what was read of it. */
struct wanted {
    struct held_job *job;
    const char *worker;
    uint32_t found;        /* leases in this window, of any worker */
    bool has_live;         /* one of any worker has not ended */
    bool goes_on;          /* there may be further attempts */
    uint32_t last_attempt; /* this worker's; 0: none */
    bool is_live;          /* that one has not ended */
    bool has_result, is_own_result;
};

struct batch {
    struct wanted *wanted; /* sorted by the job's id: several workers may name the same job */
    size_t count;
};

static int wanted_compare(const void *left, const void *right)
{
    return strcmp(((const struct wanted *)left)->job->id, ((const struct wanted *)right)->job->id);
}

/* The index of the first that is not less than `id`. */
static size_t batch_find(const struct batch *batch, const char *id)
{
    size_t low = 0, high = batch->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(batch->wanted[middle].job->id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool batch_is(const struct batch *batch, size_t at, const char *id)
{
    return at < batch->count && strcmp(batch->wanted[at].job->id, id) == 0;
}

static void batch_take_result(const struct result *result, void *context)
{
    const struct batch *batch = context;
    for (size_t at = batch_find(batch, result->job); batch_is(batch, at, result->job); at++) {
        struct wanted *wanted = &batch->wanted[at];
        wanted->has_result = true;
        wanted->is_own_result = strcmp(result->worker, wanted->worker) == 0 ||
                                result_is_held_by(result, wanted->worker);
    }
}

static void batch_take_lease(const struct lease *lease, void *context)
{
    const struct batch *batch = context;
    for (size_t at = batch_find(batch, lease->job); batch_is(batch, at, lease->job); at++) {
        struct wanted *wanted = &batch->wanted[at];
        wanted->found++;
        wanted->has_live = wanted->has_live || lease->end == LEASE_LIVE;
        if (strcmp(lease->worker, wanted->worker) != 0 || lease->attempt < wanted->last_attempt)
            continue;
        wanted->last_attempt = lease->attempt;
        wanted->is_live = lease->end == LEASE_LIVE;
    }
}

/* The ids of the jobs for which `is_wanted` holds, each once; *count is their number. free() */
static char (*batch_ids(const struct batch *batch, bool (*is_wanted)(const struct wanted *wanted),
                        size_t *count))[JOB_ID_SIZE]
{
    char(*ids)[JOB_ID_SIZE] = bw_alloc_array(batch->count + 1, sizeof *ids);
    *count = 0;
    for (size_t i = 0; i < batch->count; i++) {
        const struct wanted *wanted = &batch->wanted[i];
        bool is_new = *count == 0 || strcmp(ids[*count - 1], wanted->job->id) != 0;
        if (is_new && is_wanted(wanted))
            memcpy(ids[(*count)++], wanted->job->id, JOB_ID_SIZE);
    }
    return ids;
}

static bool wants_result(const struct wanted *wanted)
{
    (void)wanted;
    return true;
}

static enum bw_code batch_read_results(struct batch *batch, struct result_store *results)
{
    struct bw_error unused;
    size_t count;
    char(*ids)[JOB_ID_SIZE] = batch_ids(batch, wants_result, &count);
    enum bw_code code = result_store_read(results, (const char(*)[JOB_ID_SIZE])ids, count, false,
                                          batch_take_result, batch, &unused);
    free(ids);
    return code;
}

/* Attempts have no gaps, and none follows a live one: another one may exist if all of the window
 * do, and have ended. */
static bool wants_window(const struct wanted *wanted)
{
    return !wanted->has_result && wanted->goes_on;
}

static void batch_end_window(const struct batch *batch, uint32_t window)
{
    for (size_t i = 0; i < batch->count; i++) {
        struct wanted *wanted = &batch->wanted[i];
        wanted->goes_on = wanted->found == window && !wanted->has_live;
        wanted->found = 0;
    }
}

/* The first attempt of each job, which is mostly the only one; then the others, some at a time. */
static enum bw_code batch_read_leases(struct batch *batch, struct lease_store *leases)
{
    struct bw_error unused;
    enum bw_code code = BW_OK;
    uint32_t first = 1, window = 1;
    size_t count;
    batch_end_window(batch, 0);
    do {
        char(*ids)[JOB_ID_SIZE] = batch_ids(batch, wants_window, &count);
        if (count > 0)
            code = lease_store_read(leases, (const char(*)[JOB_ID_SIZE])ids, count, first, window,
                                    batch_take_lease, batch, &unused);
        free(ids);
        batch_end_window(batch, window);
        first += window;
        window = ATTEMPTS_WINDOW;
    } while (code == BW_OK && count > 0);
    return code;
}

static void batch_decide(const struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct wanted *wanted = &batch->wanted[i];
        wanted->job->is_lost = wanted->has_result ? !wanted->is_own_result : !wanted->is_live;
    }
}

static void held_jobs_read(const struct held_jobs *held, struct request *requests, size_t jobs)
{
    struct batch batch = {.wanted = bw_alloc_array(jobs, sizeof *batch.wanted)};
    for (struct request *request = requests; request != NULL; request = request->next)
        for (size_t i = 0; i < request->count; i++)
            batch.wanted[batch.count++] = (struct wanted){.job = &request->jobs[i],
                                                          .worker = request->worker};
    qsort(batch.wanted, batch.count, sizeof *batch.wanted, wanted_compare);
    enum bw_code code = batch_read_results(&batch, held->settings.results);
    if (code == BW_OK)
        code = batch_read_leases(&batch, held->settings.leases);
    if (code == BW_OK)
        batch_decide(&batch);
    free(batch.wanted);
}

/* ---- Requests ---- */

static void held_jobs_complete(struct request *requests)
{
    while (requests != NULL) {
        struct request *request = requests;
        requests = request->next;
        request->completed(request->context, request->jobs, request->count);
        free(request->jobs);
        free(request);
    }
}

/* Does one read, then queues itself again behind other urgent tasks. */
static void held_jobs_run(void *context)
{
    struct held_jobs *held = context;
    size_t jobs;
    struct request *requests = held_jobs_take(held, &jobs);
    held_jobs_read(held, requests, jobs);
    held_jobs_complete(requests);
    pthread_mutex_lock(&held->mutex);
    held->is_reading = held->first != NULL;
    bool goes_on = held->is_reading;
    pthread_mutex_unlock(&held->mutex);
    if (goes_on)
        thread_pool_submit(*held->settings.thread_pool, true, held_jobs_run, held);
}

void held_jobs_ask(struct held_jobs *held, const char *worker, const struct held_job *jobs,
                   size_t count,
                   void (*completed)(void *context, const struct held_job *jobs, size_t count),
                   void *context)
{
    struct request *request = bw_alloc(sizeof *request);
    snprintf(request->worker, sizeof request->worker, "%s", worker);
    request->jobs = bw_alloc_array(count, sizeof *request->jobs);
    memcpy(request->jobs, jobs, count * sizeof *jobs);
    request->count = count;
    request->completed = completed;
    request->context = context;
    pthread_mutex_lock(&held->mutex);
    *held->end = request;
    held->end = &request->next;
    bool begins = !held->is_reading;
    held->is_reading = true;
    pthread_mutex_unlock(&held->mutex);
    if (begins)
        thread_pool_submit(*held->settings.thread_pool, true, held_jobs_run, held);
}

enum bw_code held_jobs_parse(const char *text, struct held_job jobs[HELD_JOBS_MAX], size_t *count,
                             struct bw_error *error)
{
    char shown[80];
    *count = 0;
    while (*text != '\0') {
        size_t length = strcspn(text, ",");
        if (*count == HELD_JOBS_MAX)
            return bw_fail(error, BW_BAD_REQUEST, "jobs: more than %d ids", (int)HELD_JOBS_MAX);
        struct held_job *job = &jobs[(*count)++];
        *job = (struct held_job){.is_lost = false};
        if (length == JOB_ID_LENGTH)
            memcpy(job->id, text, length);
        if (!is_hex_id(job->id, JOB_ID_LENGTH))
            return bw_fail(error, BW_BAD_REQUEST,
                           "jobs: '%s' does not begin with the id of a grading job: 32 lower-case "
                           "hex digits",
                           text_show(text, shown, sizeof shown));
        text += length;
        text += *text == ',';
    }
    return BW_OK;
}
