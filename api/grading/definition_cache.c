#include "api/grading/definition_cache.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "common/base/alloc.h"
#include "common/store/definition_store.h"
#include "common/store/run_store.h"

struct entry {
    char run_id[RUN_ID_SIZE];
    struct definition *definition;
    size_t size;
    UT_hash_handle
        hh; /* the table's order of insertion is that of use: the first is the longest unused */
};

/* One definition that is being read; whoever wants the same waits for it and shares its fate. */
struct load {
    char run_id[RUN_ID_SIZE];
    unsigned users;
    bool is_done;
    enum bw_code code;
    struct bw_error error;
    struct definition *definition; /* the load's own reference */
    UT_hash_handle hh;
};

struct definition_cache {
    struct run_store *runs;
    struct definition_store *store;
    size_t max_bytes;
    pthread_cond_t loaded;
    pthread_mutex_t mutex; /* guards what follows */
    struct entry *entries;
    struct load *loads;
    size_t bytes;
};

struct definition_cache *definition_cache_new(struct run_store *runs,
                                              struct definition_store *store, size_t max_bytes)
{
    struct definition_cache *cache = bw_alloc(sizeof *cache);
    cache->runs = runs;
    cache->store = store;
    cache->max_bytes = max_bytes;
    pthread_mutex_init(&cache->mutex, NULL);
    pthread_cond_init(&cache->loaded, NULL);
    return cache;
}

static void evict(struct definition_cache *cache, struct entry *entry)
{
    HASH_DEL(cache->entries, entry);
    cache->bytes -= entry->size;
    definition_release(entry->definition);
    free(entry);
}

void definition_cache_free(struct definition_cache *cache)
{
    if (cache == NULL)
        return;
    while (cache->entries != NULL)
        evict(cache, cache->entries);
    pthread_cond_destroy(&cache->loaded);
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

/* Takes a reference for the cache. Under the mutex. */
static void remember(struct definition_cache *cache, const char *run_id,
                     struct definition *definition)
{
    struct entry *entry;
    HASH_FIND_STR(cache->entries, run_id, entry);
    size_t size = definition_size(definition);
    if (entry != NULL || size > cache->max_bytes)
        return;
    while (cache->bytes + size > cache->max_bytes)
        evict(cache, cache->entries);
    entry = bw_alloc(sizeof *entry);
    snprintf(entry->run_id, sizeof entry->run_id, "%s", run_id);
    entry->definition = definition_hold(definition);
    entry->size = size;
    cache->bytes += size;
    HASH_ADD_STR(cache->entries, run_id, entry);
}

/* A reference for the caller, or NULL. Under the mutex. */
static struct definition *recall(struct definition_cache *cache, const char *run_id)
{
    struct entry *entry;
    HASH_FIND_STR(cache->entries, run_id, entry);
    if (entry == NULL)
        return NULL;
    HASH_DEL(cache->entries, entry);
    HASH_ADD_STR(cache->entries, run_id, entry); /* the latest used comes last */
    return definition_hold(entry->definition);
}

/* A short one stands in the run's own document. That one counts: what else stands under the run's
 * id may have been left by a request that came to nothing. */
static enum bw_code definition_cache_read_text(struct definition_cache *cache, const char *run_id,
                                               char **text, size_t *length, struct bw_error *error)
{
    enum bw_code code = run_store_read_definition(cache->runs, run_id, text, length, error);
    if (code != BW_NOT_FOUND)
        return code;
    return definition_store_read(cache->store, run_id, text, length, error);
}

static enum bw_code definition_cache_read_definition(struct definition_cache *cache,
                                                     const char *run_id,
                                                     struct definition **definition,
                                                     struct bw_error *error)
{
    char *text;
    size_t length;
    enum bw_code code = definition_cache_read_text(cache, run_id, &text, &length, error);
    if (code != BW_OK)
        return code;
    struct bw_error reason;
    code = definition_load(text, length, definition, &reason);
    free(text);
    if (code != BW_OK)
        return bw_fail(error, BW_INTERNAL, "the stored definition of '%s' can't be read: %.300s",
                       run_id, reason.message);
    return BW_OK;
}

/* Joins the load of this id, or begins it: then *is_ours. Under the mutex. */
static struct load *load_join(struct definition_cache *cache, const char *run_id, bool *is_ours)
{
    struct load *load;
    HASH_FIND_STR(cache->loads, run_id, load);
    *is_ours = load == NULL;
    if (load == NULL) {
        load = bw_alloc(sizeof *load);
        snprintf(load->run_id, sizeof load->run_id, "%s", run_id);
        HASH_ADD_STR(cache->loads, run_id, load);
    }
    load->users++;
    return load;
}

/* Does the reading; the mutex is let go meanwhile. */
static void load_run(struct definition_cache *cache, struct load *load)
{
    struct definition *definition = NULL;
    pthread_mutex_unlock(&cache->mutex);
    enum bw_code code = definition_cache_read_definition(cache, load->run_id, &definition,
                                                         &load->error);
    pthread_mutex_lock(&cache->mutex);
    load->code = code;
    load->definition = definition;
    load->is_done = true;
    HASH_DEL(cache->loads, load);
    if (code == BW_OK)
        remember(cache, load->run_id, definition);
    pthread_cond_broadcast(&cache->loaded);
}

/* The last one out frees it. Under the mutex. */
static void load_leave(struct load *load)
{
    if (--load->users > 0)
        return;
    definition_release(load->definition);
    free(load);
}

enum bw_code definition_cache_get(struct definition_cache *cache, const char *run_id,
                                  struct definition **definition, struct bw_error *error)
{
    enum bw_code code = BW_OK;
    bool is_ours;
    pthread_mutex_lock(&cache->mutex);
    struct definition *found = recall(cache, run_id);
    if (found == NULL) {
        struct load *load = load_join(cache, run_id, &is_ours);
        if (is_ours)
            load_run(cache, load);
        while (!load->is_done)
            pthread_cond_wait(&cache->loaded, &cache->mutex);
        code = load->code;
        if (code == BW_OK)
            found = definition_hold(load->definition);
        else if (error != NULL)
            *error = load->error;
        load_leave(load);
    }
    pthread_mutex_unlock(&cache->mutex);
    if (code == BW_OK)
        *definition = found;
    return code;
}

struct definition *definition_cache_find(struct definition_cache *cache, const char *run_id)
{
    pthread_mutex_lock(&cache->mutex);
    struct definition *found = recall(cache, run_id);
    pthread_mutex_unlock(&cache->mutex);
    return found;
}

void definition_cache_put(struct definition_cache *cache, const char *run_id,
                          struct definition *definition)
{
    pthread_mutex_lock(&cache->mutex);
    remember(cache, run_id, definition);
    pthread_mutex_unlock(&cache->mutex);
}
