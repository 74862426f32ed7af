#include "scheduler/state/supersede_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

enum {
    MEAN_OF = 20,          /* jobs; a longer mean would follow a change of the tests too slowly */
    USUAL_TIMES_MAX = 4096 /* assignments */
};

void supersede_table_clear(struct supersede_table *table)
{
    struct keyed_job *job, *following;
    HASH_ITER (hh, table->jobs, job, following) {
        HASH_DELETE(hh, table->jobs, job);
        free(job);
    }
}

void supersede_table_destroy(struct supersede_table *table)
{
    struct usual_time *usual, *following;
    supersede_table_clear(table);
    HASH_ITER (hh, table->times, usual, following) {
        HASH_DELETE(hh, table->times, usual);
        free(usual);
    }
}

const uint8_t *supersede_key_of(const struct run *run, uint32_t slot)
{
    static const uint8_t none[SUPERSEDE_DIGEST_BYTES];
    uint32_t first = run->has_pre ? 1 : 0;
    if (run->keys == NULL || slot < first || slot - first >= run->students)
        return NULL;
    const uint8_t *key = run->keys + (size_t)(slot - first) * SUPERSEDE_DIGEST_BYTES;
    return memcmp(key, none, sizeof none) != 0 ? key : NULL;
}

struct keyed_job *supersede_table_find(const struct supersede_table *table, const uint8_t *key)
{
    struct keyed_job *job;
    HASH_FIND(hh, table->jobs, key, SUPERSEDE_DIGEST_BYTES, job);
    return job;
}

void supersede_table_set(struct supersede_table *table, const uint8_t *key, struct active_run *run,
                         uint32_t slot)
{
    struct keyed_job *job = supersede_table_find(table, key);
    if (job == NULL) {
        job = bw_alloc(sizeof *job);
        memcpy(job->key, key, sizeof job->key);
        HASH_ADD(hh, table->jobs, key, SUPERSEDE_DIGEST_BYTES, job);
    }
    job->run = run;
    job->slot = slot;
}

void supersede_table_remove_run(struct supersede_table *table, const struct active_run *run)
{
    for (uint32_t slot = 0; run->run.keys != NULL && slot < run->slots; slot++) {
        const uint8_t *key = supersede_key_of(&run->run, slot);
        struct keyed_job *job = key != NULL ? supersede_table_find(table, key) : NULL;
        if (job == NULL || job->run != run)
            continue;
        HASH_DELETE(hh, table->jobs, job);
        free(job);
    }
}

/* ---- Usual times ---- */

static void usual_time_name(const struct run *run, char *name, size_t size)
{
    if (run->course[0] != '\0')
        snprintf(name, size, "%s/%s", run->course, run->assignment);
    else
        snprintf(name, size, "/%lld/%u", (long long)run->timeout_ms[JOB_STUDENT],
                 (unsigned)run->untimed_stages[JOB_STUDENT]);
}

static struct usual_time *usual_time_find(const struct supersede_table *table,
                                          const struct run *run)
{
    char name[2 * WORKER_ID_SIZE];
    struct usual_time *usual;
    usual_time_name(run, name, sizeof name);
    HASH_FIND_STR(table->times, name, usual);
    return usual;
}

static struct usual_time *usual_time_add(struct supersede_table *table, const struct run *run)
{
    struct usual_time *oldest = table->times, *added = bw_alloc(sizeof *added);
    if (HASH_COUNT(table->times) >= USUAL_TIMES_MAX) {
        HASH_DELETE(hh, table->times, oldest);
        free(oldest);
    }
    usual_time_name(run, added->name, sizeof added->name);
    HASH_ADD_STR(table->times, name, added);
    return added;
}

void usual_time_learn(struct supersede_table *table, const struct run *run, int64_t took_ms)
{
    struct usual_time *usual = usual_time_find(table, run);
    if (usual == NULL)
        usual = usual_time_add(table, run);
    usual->jobs += usual->jobs < MEAN_OF;
    usual->mean_ms += ((double)took_ms - usual->mean_ms) / usual->jobs;
}

double usual_time_of(const struct supersede_table *table, const struct run *run)
{
    const struct usual_time *usual = usual_time_find(table, run);
    return usual != NULL ? usual->mean_ms : 0;
}
