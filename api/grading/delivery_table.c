#include "api/grading/delivery_table.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"

enum { SLACK_MS = 5000, FINISHED_KEEP_MS = 5000, SWEEP_EVERY_MS = 10000 };

struct entry {
    struct hand_out hand_out; /* as delivered last; its poll is 0 before the first delivery */
    int64_t expires_ms;       /* clock_boot_ms */
    bool is_inflight;         /* it is being delivered */
    bool is_finished;
    struct entry *next; /* another attempt of the same job */
};

struct handed_job {
    char job[JOB_ID_SIZE];
    struct entry *entries;
    UT_hash_handle hh;
};

struct delivery_table {
    pthread_cond_t completed;
    pthread_mutex_t mutex; /* guards what follows */
    struct handed_job *jobs;
    size_t count, inflight;
    int64_t next_sweep_ms;
};

struct delivery_table *delivery_table_new(void)
{
    struct delivery_table *table = bw_alloc(sizeof *table);
    pthread_mutex_init(&table->mutex, NULL);
    pthread_cond_init(&table->completed, NULL);
    table->next_sweep_ms = clock_boot_ms() + SWEEP_EVERY_MS;
    return table;
}

static struct handed_job *find_job(struct delivery_table *table, const char *id)
{
    struct handed_job *job;
    HASH_FIND_STR(table->jobs, id, job);
    return job;
}

static struct entry *find_entry(struct delivery_table *table, const struct hand_out *hand_out)
{
    struct handed_job *job = find_job(table, hand_out->job);
    struct entry *entry = job == NULL ? NULL : job->entries;
    while (entry != NULL && entry->hand_out.attempt != hand_out->attempt)
        entry = entry->next;
    return entry;
}

/* Removes a job's hand-outs for which `is_over` holds, and the job with its last hand-out. */
static void remove_entries(struct delivery_table *table, struct handed_job *job,
                           bool (*is_over)(const struct entry *entry, const void *context),
                           const void *context)
{
    struct entry **link = &job->entries;
    while (*link != NULL) {
        struct entry *entry = *link;
        if (!is_over(entry, context)) {
            link = &entry->next;
            continue;
        }
        *link = entry->next;
        free(entry);
        table->count--;
    }
    if (job->entries != NULL)
        return;
    HASH_DEL(table->jobs, job);
    free(job);
}

static bool has_expired(const struct entry *entry, const void *now_ms)
{
    return !entry->is_inflight && entry->expires_ms <= *(const int64_t *)now_ms;
}

static bool is_any(const struct entry *entry, const void *context)
{
    (void)entry;
    (void)context;
    return true;
}

static bool is_attempt(const struct entry *entry, const void *attempt)
{
    return entry->hand_out.attempt == *(const uint32_t *)attempt;
}

static void delivery_table_sweep(struct delivery_table *table, int64_t now_ms)
{
    if (now_ms < table->next_sweep_ms)
        return;
    table->next_sweep_ms = now_ms + SWEEP_EVERY_MS;
    for (struct handed_job *job = table->jobs, *next; job != NULL; job = next) {
        next = job->hh.next;
        remove_entries(table, job, has_expired, &now_ms);
    }
}

void delivery_table_free(struct delivery_table *table)
{
    if (table == NULL)
        return;
    while (table->jobs != NULL)
        remove_entries(table, table->jobs, is_any, NULL);
    pthread_cond_destroy(&table->completed);
    pthread_mutex_destroy(&table->mutex);
    free(table);
}

/* Waits until this job and attempt is not being delivered. Returns its entry, or NULL. */
static struct entry *wait_completed(struct delivery_table *table, const struct hand_out *hand_out)
{
    struct entry *entry = find_entry(table, hand_out);
    while (entry != NULL && entry->is_inflight) {
        pthread_cond_wait(&table->completed, &table->mutex);
        entry = find_entry(table, hand_out);
    }
    return entry;
}

static bool is_same(const struct entry *entry, const struct hand_out *hand_out)
{
    return entry->hand_out.poll == hand_out->poll &&
           strcmp(entry->hand_out.worker, hand_out->worker) == 0;
}

bool delivery_table_delivered(struct delivery_table *table, const struct hand_out *hand_out)
{
    pthread_mutex_lock(&table->mutex);
    const struct entry *entry = wait_completed(table, hand_out);
    bool is_delivered = entry != NULL && is_same(entry, hand_out);
    pthread_mutex_unlock(&table->mutex);
    return is_delivered;
}

static struct handed_job *add_job(struct delivery_table *table, const char *id)
{
    struct handed_job *job = bw_alloc(sizeof *job);
    snprintf(job->job, sizeof job->job, "%s", id);
    HASH_ADD_STR(table->jobs, job, job);
    return job;
}

static struct entry *add_entry(struct delivery_table *table, const struct hand_out *hand_out)
{
    struct handed_job *job = find_job(table, hand_out->job);
    if (job == NULL)
        job = add_job(table, hand_out->job);
    struct entry *entry = bw_alloc(sizeof *entry);
    entry->hand_out = *hand_out;
    entry->hand_out.poll = 0;
    entry->next = job->entries;
    job->entries = entry;
    table->count++;
    return entry;
}

bool delivery_table_begin(struct delivery_table *table, const struct hand_out *hand_out)
{
    int64_t now_ms = clock_boot_ms();
    pthread_mutex_lock(&table->mutex);
    delivery_table_sweep(table, now_ms);
    struct entry *entry = wait_completed(table, hand_out);
    bool is_refused = entry != NULL && (entry->is_finished || is_same(entry, hand_out) ||
                                        strcmp(entry->hand_out.worker, hand_out->worker) != 0);
    if (!is_refused) {
        if (entry == NULL)
            entry = add_entry(table, hand_out);
        entry->hand_out.handing = hand_out->handing;
        entry->is_inflight = true;
        table->inflight++;
        entry->expires_ms = now_ms + hand_out->expires_in_ms + SLACK_MS;
    }
    pthread_mutex_unlock(&table->mutex);
    return !is_refused;
}

void delivery_table_complete(struct delivery_table *table, const struct hand_out *hand_out,
                             bool is_delivered)
{
    pthread_mutex_lock(&table->mutex);
    struct entry *entry = find_entry(table, hand_out);
    entry->is_inflight = false;
    table->inflight--;
    if (is_delivered)
        entry->hand_out.poll = hand_out->poll;
    else if (entry->hand_out.poll == 0)
        remove_entries(table, find_job(table, hand_out->job), is_attempt, &hand_out->attempt);
    pthread_cond_broadcast(&table->completed);
    pthread_mutex_unlock(&table->mutex);
}

/* The latest hand-out of the job to the worker that has not expired: the first entry of a job is
 * its latest. */
static const struct entry *find_live(struct delivery_table *table, const char *id,
                                     const char *worker)
{
    int64_t now_ms = clock_boot_ms();
    const struct handed_job *job = find_job(table, id);
    const struct entry *entry = job == NULL ? NULL : job->entries;
    while (entry != NULL &&
           (entry->expires_ms <= now_ms || strcmp(entry->hand_out.worker, worker) != 0))
        entry = entry->next;
    return entry;
}

bool delivery_table_has(struct delivery_table *table, const char *id, const char *worker)
{
    pthread_mutex_lock(&table->mutex);
    bool has = find_live(table, id, worker) != NULL;
    pthread_mutex_unlock(&table->mutex);
    return has;
}

bool delivery_table_find(struct delivery_table *table, const char *id, const char *worker,
                         struct job_handing *handing)
{
    pthread_mutex_lock(&table->mutex);
    const struct entry *entry = find_live(table, id, worker);
    if (entry != NULL) {
        *handing = entry->hand_out.handing;
        handing->attempt = entry->hand_out.attempt;
    }
    pthread_mutex_unlock(&table->mutex);
    return entry != NULL;
}

/* The first entry of a job is its latest. */
bool delivery_table_holder(struct delivery_table *table, const char *id,
                           char worker[WORKER_ID_SIZE])
{
    pthread_mutex_lock(&table->mutex);
    const struct handed_job *job = find_job(table, id);
    if (job != NULL)
        memcpy(worker, job->entries->hand_out.worker, WORKER_ID_SIZE);
    pthread_mutex_unlock(&table->mutex);
    return job != NULL;
}

void delivery_table_finish(struct delivery_table *table, const char *id)
{
    int64_t expires_ms = clock_boot_ms() + FINISHED_KEEP_MS;
    pthread_mutex_lock(&table->mutex);
    struct handed_job *job = find_job(table, id);
    for (struct entry *entry = job == NULL ? NULL : job->entries; entry != NULL;
         entry = entry->next) {
        entry->is_finished = true;
        if (entry->expires_ms > expires_ms)
            entry->expires_ms = expires_ms;
    }
    pthread_mutex_unlock(&table->mutex);
}

static size_t list_job(const struct handed_job *job, int64_t now_ms,
                       struct signal_delivery *deliveries, size_t room)
{
    size_t count = 0;
    for (const struct entry *entry = job->entries; entry != NULL && count < room;
         entry = entry->next) {
        if (entry->is_finished || entry->expires_ms <= now_ms)
            continue;
        struct signal_delivery *delivery = &deliveries[count++];
        memcpy(delivery->job, entry->hand_out.job, sizeof delivery->job);
        memcpy(delivery->worker, entry->hand_out.worker, sizeof delivery->worker);
        delivery->attempt = entry->hand_out.attempt;
    }
    return count;
}

struct signal_delivery *delivery_table_list(struct delivery_table *table, size_t limit,
                                            size_t *count)
{
    int64_t now_ms = clock_boot_ms();
    pthread_mutex_lock(&table->mutex);
    while (table->inflight > 0)
        pthread_cond_wait(&table->completed, &table->mutex);
    size_t room = table->count < limit ? table->count : limit;
    struct signal_delivery *deliveries = bw_alloc_array(room + 1, sizeof *deliveries);
    *count = 0;
    for (const struct handed_job *job = table->jobs; job != NULL; job = job->hh.next)
        *count += list_job(job, now_ms, deliveries + *count, room - *count);
    pthread_mutex_unlock(&table->mutex);
    return deliveries;
}
