#include "api/grading/worker_cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/json.h"

struct entry {
    char id[WORKER_ID_SIZE];
    int64_t used_ms;
    UT_hash_handle hh;
};

struct worker_cache {
    struct worker_cache_settings settings;
    pthread_mutex_t mutex; /* guards what follows */
    struct entry *entries;
    int64_t next_sweep_ms;
};

struct worker_cache *worker_cache_new(const struct worker_cache_settings *settings)
{
    struct worker_cache *cache = bw_alloc(sizeof *cache);
    cache->settings = *settings;
    if (cache->settings.keep_ms == 0)
        cache->settings.keep_ms = WORKER_CACHE_KEEP_MS;
    if (cache->settings.read == NULL)
        cache->settings.read = worker_store_read;
    pthread_mutex_init(&cache->mutex, NULL);
    return cache;
}

/* Drops ids that were last used before `before_ms`. Under the mutex. */
static void worker_cache_forget(struct worker_cache *cache, int64_t before_ms)
{
    for (struct entry *entry = cache->entries, *next; entry != NULL; entry = next) {
        next = entry->hh.next;
        if (entry->used_ms >= before_ms)
            continue;
        HASH_DEL(cache->entries, entry);
        free(entry);
    }
}

void worker_cache_free(struct worker_cache *cache)
{
    if (cache == NULL)
        return;
    worker_cache_forget(cache, INT64_MAX);
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

bool worker_cache_has(struct worker_cache *cache, const char *id)
{
    struct entry *entry;
    int64_t now_ms = clock_boot_ms();
    pthread_mutex_lock(&cache->mutex);
    HASH_FIND_STR(cache->entries, id, entry);
    bool has = entry != NULL && now_ms - entry->used_ms < cache->settings.keep_ms;
    if (has)
        entry->used_ms = now_ms;
    pthread_mutex_unlock(&cache->mutex);
    return has;
}

enum bw_code worker_cache_refuse_unknown(const char *id, struct bw_error *error)
{
    char shown[WORKER_ID_SIZE];
    return bw_fail(error, BW_BAD_REQUEST, "worker '%s' is not known: register first",
                   text_show(id, shown, sizeof shown));
}

enum bw_code worker_cache_check(struct worker_cache *cache, const char *id, struct bw_error *error)
{
    struct worker worker = {.protocol = cache->settings.protocol};
    bool is_hex = protocol_properties(worker.protocol)->has_hex_worker_ids;
    if (is_hex && !is_hex_id(id, WORKER_ID_LENGTH))
        return worker_cache_refuse_unknown(id, error);
    if (worker_cache_has(cache, id))
        return BW_OK;
    enum bw_code code = cache->settings.read(cache->settings.store, id, &worker, error);
    if (code == BW_NOT_FOUND || (code == BW_OK && worker.protocol != cache->settings.protocol))
        return worker_cache_refuse_unknown(id, error);
    if (code == BW_OK)
        worker_cache_add(cache, id);
    return code;
}

static void worker_cache_sweep(struct worker_cache *cache, int64_t now_ms)
{
    if (now_ms < cache->next_sweep_ms)
        return;
    cache->next_sweep_ms = now_ms + cache->settings.keep_ms / 10;
    worker_cache_forget(cache, now_ms - cache->settings.keep_ms);
}

void worker_cache_add(struct worker_cache *cache, const char *id)
{
    struct entry *entry;
    int64_t now_ms = clock_boot_ms();
    pthread_mutex_lock(&cache->mutex);
    worker_cache_sweep(cache, now_ms);
    HASH_FIND_STR(cache->entries, id, entry);
    if (entry == NULL) {
        entry = bw_alloc(sizeof *entry);
        snprintf(entry->id, sizeof entry->id, "%s", id);
        HASH_ADD_STR(cache->entries, id, entry);
    }
    entry->used_ms = now_ms;
    pthread_mutex_unlock(&cache->mutex);
}
