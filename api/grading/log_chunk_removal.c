#include "api/grading/log_chunk_removal.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/ticker.h"
#include "common/domain/job.h"
#include "common/store/log_chunk_store.h"
#include "common/store/result_store.h"

/* A job with chunks. */
struct chunked_job {
    char id[JOB_ID_SIZE]; /* key */
    int64_t noted_ms;     /* clock_boot_ms of the last chunk */
    int64_t ended_ms;     /* when its result was found; 0: it has none yet */
    UT_hash_handle hh;
};

struct log_chunk_removal {
    struct log_chunk_store *chunks;
    struct result_store *results;
    struct ticker *ticker;
    pthread_mutex_t mutex; /* guards the jobs */
    struct chunked_job *jobs;
};

void log_chunk_removal_note(struct log_chunk_removal *removal, const char *id)
{
    struct chunked_job *job;
    pthread_mutex_lock(&removal->mutex);
    bool is_first = removal->jobs == NULL;
    HASH_FIND_STR(removal->jobs, id, job);
    if (job == NULL && HASH_COUNT(removal->jobs) < LOG_REMOVAL_MAX) {
        job = bw_alloc(sizeof *job);
        snprintf(job->id, sizeof job->id, "%s", id);
        HASH_ADD_STR(removal->jobs, id, job);
    }
    if (job != NULL)
        job->noted_ms = clock_boot_ms();
    pthread_mutex_unlock(&removal->mutex);
    if (is_first)
        ticker_wake(removal->ticker);
}

/* Sorts out the jobs: those to be asked for, and those whose chunks are due. Both lists are new, of
 * `total` ids at most. */
struct removal_lists {
    char (*asked)[JOB_ID_SIZE], (*due)[JOB_ID_SIZE];
    size_t asked_count, due_count;
};

static void removal_lists_make(struct log_chunk_removal *removal, int64_t now_ms,
                               struct removal_lists *lists)
{
    struct chunked_job *job, *following;
    pthread_mutex_lock(&removal->mutex);
    size_t total = HASH_COUNT(removal->jobs);
    *lists = (struct removal_lists){.asked = bw_alloc_array(total + 1, sizeof *lists->asked),
                                    .due = bw_alloc_array(total + 1, sizeof *lists->due)};
    HASH_ITER (hh, removal->jobs, job, following) {
        if (job->ended_ms == 0 && now_ms - job->noted_ms > LOG_REMOVAL_FORGET_MS) {
            HASH_DELETE(hh, removal->jobs, job);
            free(job);
        } else if (job->ended_ms == 0) {
            memcpy(lists->asked[lists->asked_count++], job->id, sizeof job->id);
        } else if (now_ms - job->ended_ms >= LOG_REMOVAL_DELAY_MS) {
            memcpy(lists->due[lists->due_count++], job->id, sizeof job->id);
        }
    }
    pthread_mutex_unlock(&removal->mutex);
}

static void take_ended(const struct result *result, void *context)
{
    struct log_chunk_removal *removal = context;
    struct chunked_job *job;
    if (result_is_held(result))
        return;
    pthread_mutex_lock(&removal->mutex);
    HASH_FIND_STR(removal->jobs, result->job, job);
    if (job != NULL)
        job->ended_ms = clock_boot_ms();
    pthread_mutex_unlock(&removal->mutex);
}

static void removal_forget(struct log_chunk_removal *removal, const char *id)
{
    struct chunked_job *job;
    pthread_mutex_lock(&removal->mutex);
    HASH_FIND_STR(removal->jobs, id, job);
    if (job != NULL) {
        HASH_DELETE(hh, removal->jobs, job);
        free(job);
    }
    pthread_mutex_unlock(&removal->mutex);
}

/* What the database does not do now is tried again at the next tick. */
static int64_t log_chunk_removal_tick(void *context)
{
    struct log_chunk_removal *removal = context;
    struct removal_lists lists;
    struct bw_error unused;
    removal_lists_make(removal, clock_boot_ms(), &lists);
    for (size_t i = 0; i < lists.due_count; i++) {
        if (log_chunk_store_remove(removal->chunks, lists.due[i], &unused) != BW_OK)
            break;
        removal_forget(removal, lists.due[i]);
    }
    if (lists.asked_count > 0)
        (void)!result_store_read(removal->results, (const char(*)[JOB_ID_SIZE])lists.asked,
                                 lists.asked_count, false, take_ended, removal, &unused);
    free(lists.asked);
    free(lists.due);
    pthread_mutex_lock(&removal->mutex);
    bool is_empty = removal->jobs == NULL;
    pthread_mutex_unlock(&removal->mutex);
    return is_empty ? TICKER_IDLE : LOG_REMOVAL_EVERY_MS;
}

enum bw_code log_chunk_removal_open(struct log_chunk_store *chunks, struct result_store *results,
                                    struct log_chunk_removal **removal, struct bw_error *error)
{
    struct log_chunk_removal *opened = bw_alloc(sizeof *opened);
    opened->chunks = chunks;
    opened->results = results;
    pthread_mutex_init(&opened->mutex, NULL);
    enum bw_code code = ticker_open("the removal of chunks of logs", TICKER_IDLE,
                                    log_chunk_removal_tick, opened, &opened->ticker, error);
    if (code != BW_OK) {
        pthread_mutex_destroy(&opened->mutex);
        free(opened);
        return code;
    }
    *removal = opened;
    return BW_OK;
}

void log_chunk_removal_close(struct log_chunk_removal *removal)
{
    struct chunked_job *job, *following;
    if (removal == NULL)
        return;
    ticker_close(removal->ticker);
    HASH_ITER (hh, removal->jobs, job, following) {
        HASH_DELETE(hh, removal->jobs, job);
        free(job);
    }
    pthread_mutex_destroy(&removal->mutex);
    free(removal);
}
