#include "scheduler/state/job_times_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

enum { ENOUGH = 5 /* times, to be estimated by */ };

void job_times_table_clear(struct job_times_table *table)
{
    struct job_times *times, *following;
    HASH_ITER (hh, table->times, times, following) {
        HASH_DELETE(hh, table->times, times);
        free(times);
    }
    free(table->dropped);
    memset(table, 0, sizeof *table);
}

/* ---- Keys ---- */

/* False: the run has no such level. */
static bool job_times_key(const struct run *run, enum job_kind kind, enum job_times_level level,
                          char key[JOB_TIMES_KEY_SIZE])
{
    unsigned protocol = (unsigned)run->protocol;
    if (level == JOB_TIMES_ALL)
        snprintf(key, JOB_TIMES_KEY_SIZE, "%u/%u", protocol, (unsigned)kind);
    else if (level == JOB_TIMES_COURSE)
        snprintf(key, JOB_TIMES_KEY_SIZE, "%u/%u/%s", protocol, (unsigned)kind, run->course);
    else if (run->course[0] != '\0')
        snprintf(key, JOB_TIMES_KEY_SIZE, "%u/%u/%s/%s", protocol, (unsigned)kind, run->course,
                 run->assignment);
    else if (run->name[0] != '\0')
        snprintf(key, JOB_TIMES_KEY_SIZE, "%u/%u//%s", protocol, (unsigned)kind, run->name);
    else
        snprintf(key, JOB_TIMES_KEY_SIZE, "%u/%u//%lld/%u", protocol, (unsigned)kind,
                 (long long)run->timeout_ms[kind], (unsigned)run->untimed_stages[kind]);
    return level != JOB_TIMES_COURSE || run->course[0] != '\0';
}

static struct job_times *job_times_find(const struct job_times_table *table, const char *key)
{
    struct job_times *times;
    HASH_FIND_STR(table->times, key, times);
    return times;
}

static void job_times_note_dropped(struct job_times_table *table, const char *key)
{
    if (table->dropped == NULL)
        table->dropped = bw_alloc_array(JOB_TIMES_SAVED_AT_ONCE, sizeof *table->dropped);
    if (table->dropped_count < JOB_TIMES_SAVED_AT_ONCE) /* the next leader deletes the others */
        memcpy(table->dropped[table->dropped_count++], key, JOB_TIMES_KEY_SIZE);
}

/* The key's times, as those that were learned last; they are added if they are missing. */
static struct job_times *job_times_touch(struct job_times_table *table, const char *key)
{
    struct job_times *times = job_times_find(table, key), *oldest = table->times;
    if (times != NULL) {
        HASH_DELETE(hh, table->times, times);
    } else {
        if (HASH_COUNT(table->times) >= JOB_TIMES_MAX) {
            HASH_DELETE(hh, table->times, oldest);
            job_times_note_dropped(table, oldest->key);
            free(oldest);
        }
        times = bw_alloc(sizeof *times);
        snprintf(times->key, sizeof times->key, "%s", key);
    }
    HASH_ADD_STR(table->times, key, times);
    return times;
}

/* ---- Learning and estimating ---- */

void job_times_learn(struct job_times_table *table, const struct run *run, enum job_kind kind,
                     int64_t took_ms)
{
    char key[JOB_TIMES_KEY_SIZE];
    for (unsigned level = JOB_TIMES_ASSIGNMENT; level <= JOB_TIMES_ALL; level++) {
        if (!job_times_key(run, kind, (enum job_times_level)level, key))
            continue;
        struct job_times *times = job_times_touch(table, key);
        quantile_sketch_add(&times->sketch, took_ms);
        times->is_measured = false;
        times->is_dirty = true;
    }
}

static struct job_times *job_times_of_kind(const struct job_times_table *table,
                                           const struct run *run, enum job_kind kind,
                                           enum job_times_level *level)
{
    char key[JOB_TIMES_KEY_SIZE];
    struct job_times *any = NULL;
    *level = JOB_TIMES_NONE;
    for (unsigned at = JOB_TIMES_ASSIGNMENT; at <= JOB_TIMES_ALL; at++) {
        struct job_times *times = NULL;
        if (job_times_key(run, kind, (enum job_times_level)at, key))
            times = job_times_find(table, key);
        if (times == NULL || times->sketch.weight == 0)
            continue;
        any = times;
        *level = (enum job_times_level)at;
        if (times->sketch.weight >= ENOUGH * QUANTILE_SKETCH_UNIT)
            return times;
    }
    return any;
}

struct job_times *job_times_of(const struct job_times_table *table, const struct run *run,
                               enum job_kind kind, enum job_times_level *level)
{
    struct job_times *times = job_times_of_kind(table, run, kind, level);
    if (times == NULL && kind != JOB_STUDENT)
        times = job_times_of_kind(table, run, JOB_STUDENT, level);
    return times;
}

double job_times_mean(struct job_times *times)
{
    if (!times->is_measured)
        times->mean_ms = quantile_sketch_mean(&times->sketch, &times->variance);
    times->is_measured = true;
    return times->mean_ms;
}

const char *job_times_level_name(enum job_times_level level)
{
    static const char *const names[] = {"assignment", "course", "all", "none"};
    return names[level];
}

/* ---- What the database has ---- */

void job_times_add(struct job_times_table *table, const struct job_times_record *record)
{
    struct quantile_sketch sketch;
    struct job_times *times = job_times_find(table, record->key);
    if (!quantile_sketch_parse(record->sketch, &sketch))
        return;
    if (times == NULL && HASH_COUNT(table->times) >= JOB_TIMES_MAX)
        return;
    if (times == NULL)
        times = job_times_touch(table, record->key);
    quantile_sketch_merge(&times->sketch, &sketch);
    times->is_measured = false;
}

struct job_times_record *job_times_take_dirty(struct job_times_table *table, size_t *count)
{
    struct job_times *times, *following;
    struct job_times_record *records = bw_alloc_array(JOB_TIMES_SAVED_AT_ONCE, sizeof *records);
    *count = 0;
    while (table->dropped_count > 0) {
        const char *key = table->dropped[--table->dropped_count];
        if (job_times_find(table, key) == NULL)
            snprintf(records[(*count)++].key, JOB_TIMES_KEY_SIZE, "%s", key);
    }
    HASH_ITER (hh, table->times, times, following) {
        if (!times->is_dirty || *count == JOB_TIMES_SAVED_AT_ONCE)
            continue;
        memcpy(records[*count].key, times->key, sizeof times->key);
        records[(*count)++].sketch = quantile_sketch_text(&times->sketch);
        times->is_dirty = false;
    }
    if (*count > 0)
        return records;
    free(records);
    return NULL;
}

void job_times_put_back(struct job_times_table *table, const struct job_times_record *records,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct job_times *times = job_times_find(table, records[i].key);
        if (times != NULL)
            times->is_dirty = true;
        else if (records[i].sketch == NULL)
            job_times_note_dropped(table, records[i].key);
    }
}
