#include "api/grading/worker_lookup.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/http/thread_pool.h"
#include "common/base/alloc.h"

struct request {
    char id[WORKER_ID_SIZE];
    bool is_found;
    void (*completed)(void *context, enum bw_code code, const struct bw_error *error);
    void *context;
    struct request *next;
};

struct worker_lookup {
    struct worker_lookup_settings settings;
    pthread_mutex_t mutex; /* guards what follows */
    struct request *first, **end;
    bool is_reading; /* a task of the thread pool is queued or running */
};

struct worker_lookup *worker_lookup_new(const struct worker_lookup_settings *settings)
{
    struct worker_lookup *lookup = bw_alloc(sizeof *lookup);
    lookup->settings = *settings;
    if (lookup->settings.find == NULL)
        lookup->settings.find = worker_store_find;
    lookup->end = &lookup->first;
    pthread_mutex_init(&lookup->mutex, NULL);
    return lookup;
}

void worker_lookup_free(struct worker_lookup *lookup)
{
    if (lookup == NULL)
        return;
    pthread_mutex_destroy(&lookup->mutex);
    free(lookup);
}

/* Removes up to `most` requests from the queue, the oldest first. */
static struct request *worker_lookup_take(struct worker_lookup *lookup, size_t most)
{
    pthread_mutex_lock(&lookup->mutex);
    struct request *taken = lookup->first, **end = &taken;
    for (size_t count = 0; count < most && *end != NULL; count++)
        end = &(*end)->next;
    lookup->first = *end;
    *end = NULL;
    if (lookup->first == NULL)
        lookup->end = &lookup->first;
    pthread_mutex_unlock(&lookup->mutex);
    return taken;
}

/* The requests of one read. */
struct batch {
    struct request *requests;
    enum protocol protocol;
};

static void worker_lookup_note_found(const struct worker *worker, void *context)
{
    const struct batch *batch = context;
    for (struct request *request = batch->requests; request != NULL; request = request->next)
        if (worker->protocol == batch->protocol && strcmp(worker->id, request->id) == 0)
            request->is_found = true;
}

/* Completes all requests of a read with outcome `code`, and frees them. */
static void worker_lookup_complete(struct worker_lookup *lookup, struct request *requests,
                                   enum bw_code code, const struct bw_error *error)
{
    while (requests != NULL) {
        struct request *request = requests;
        struct bw_error unknown;
        requests = request->next;
        if (code != BW_OK) {
            request->completed(request->context, code, error);
        } else if (request->is_found) {
            worker_cache_add(lookup->settings.cache, request->id);
            request->completed(request->context, BW_OK, error);
        } else {
            enum bw_code refusal = worker_cache_refuse_unknown(request->id, &unknown);
            request->completed(request->context, refusal, &unknown);
        }
        free(request);
    }
}

static enum bw_code worker_lookup_read(struct worker_lookup *lookup, struct request *requests,
                                       struct bw_error *error)
{
    const struct worker_lookup_settings *settings = &lookup->settings;
    const char *ids[WORKER_LOOKUP_BATCH];
    struct batch batch = {requests, settings->protocol};
    size_t count = 0;
    for (const struct request *request = requests; request != NULL; request = request->next)
        ids[count++] = request->id;
    return settings->find(settings->store, ids, count, worker_lookup_note_found, &batch, error);
}

/* Does one read, then queues itself again behind other urgent tasks. If the database is
 * unavailable, all waiting requests fail with this read, instead of one read after another. */
static void worker_lookup_run(void *context)
{
    struct worker_lookup *lookup = context;
    struct bw_error error = {""};
    struct request *requests = worker_lookup_take(lookup, WORKER_LOOKUP_BATCH);
    enum bw_code code = worker_lookup_read(lookup, requests, &error);
    worker_lookup_complete(lookup, requests, code, &error);
    if (code != BW_OK)
        worker_lookup_complete(lookup, worker_lookup_take(lookup, SIZE_MAX), code, &error);
    pthread_mutex_lock(&lookup->mutex);
    lookup->is_reading = lookup->first != NULL;
    bool goes_on = lookup->is_reading;
    pthread_mutex_unlock(&lookup->mutex);
    if (goes_on)
        thread_pool_submit(*lookup->settings.thread_pool, true, worker_lookup_run, lookup);
}

void worker_lookup_ask(struct worker_lookup *lookup, const char *id,
                       void (*completed)(void *context, enum bw_code code,
                                         const struct bw_error *error),
                       void *context)
{
    struct request *request = bw_alloc(sizeof *request);
    snprintf(request->id, sizeof request->id, "%s", id);
    request->completed = completed;
    request->context = context;
    pthread_mutex_lock(&lookup->mutex);
    *lookup->end = request;
    lookup->end = &request->next;
    bool begins = !lookup->is_reading;
    lookup->is_reading = true;
    pthread_mutex_unlock(&lookup->mutex);
    if (begins)
        thread_pool_submit(*lookup->settings.thread_pool, true, worker_lookup_run, lookup);
}
