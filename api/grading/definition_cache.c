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
    UT_hash_handle hh; /* the hash table's order of insertion is the order of use: the first entry
                          is the least recently used */
};

/* A definition that is being read. Other callers for it wait, and get the same outcome, unless the
 * reader's own limits have refused it. */
struct load {
    char run_id[RUN_ID_SIZE];
    unsigned users;
    bool is_done;
    bool is_refused; /* refused by the reader's limits */
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

static void definition_cache_evict(struct definition_cache *cache, struct entry *entry)
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
        definition_cache_evict(cache, cache->entries);
    pthread_cond_destroy(&cache->loaded);
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

/* Adds an entry, with a reference of its own. Under the mutex. */
static void definition_cache_insert(struct definition_cache *cache, const char *run_id,
                                    struct definition *definition)
{
    struct entry *entry;
    HASH_FIND_STR(cache->entries, run_id, entry);
    size_t size = definition_size(definition);
    if (entry != NULL)
        return;
    while (cache->entries != NULL && cache->bytes + size > cache->max_bytes)
        definition_cache_evict(cache, cache->entries);
    entry = bw_alloc(sizeof *entry);
    snprintf(entry->run_id, sizeof entry->run_id, "%s", run_id);
    entry->definition = definition_hold(definition);
    entry->size = size;
    cache->bytes += size;
    HASH_ADD_STR(cache->entries, run_id, entry);
}

/* A cached definition, with a reference for the caller; or NULL. Under the mutex. */
static struct definition *definition_cache_lookup(struct definition_cache *cache,
                                                  const char *run_id)
{
    struct entry *entry;
    HASH_FIND_STR(cache->entries, run_id, entry);
    if (entry == NULL)
        return NULL;
    HASH_DEL(cache->entries, entry);
    HASH_ADD_STR(cache->entries, run_id, entry); /* the most recently used entry is the last one */
    return definition_hold(entry->definition);
}

/* Reads the stored text. A short definition is in the run's own document, and takes precedence:
 * what the other collection has under the run's id may be left from a request that failed. */
static enum bw_code definition_cache_read_text(struct definition_cache *cache, const char *run_id,
                                               char **text, size_t *length, struct bw_error *error)
{
    enum bw_code code = run_store_read_definition(cache->runs, run_id, text, length, error);
    if (code != BW_NOT_FOUND)
        return code;
    return definition_store_read(cache->store, run_id, text, length, error);
}

/* Parses the text, and frees it. BW_UNAVAILABLE: `limits` refused it. */
static enum bw_code definition_cache_parse(const char *run_id, char *text, size_t length,
                                           const struct json_limits *limits,
                                           struct definition **definition, struct bw_error *error)
{
    struct bw_error reason;
    enum bw_code code = definition_load(text, length, limits, definition, &reason);
    free(text);
    if (code == BW_OK)
        return code;
    if (code == BW_UNAVAILABLE)
        return bw_fail(error, code, "%s", reason.message);
    return bw_fail(error, BW_INTERNAL, "the stored definition of '%s' can't be read: %.300s",
                   run_id, reason.message);
}

/* Joins the load of this id, or begins one and sets *is_ours. Under the mutex. */
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

/* Reads the definition. Only the reader writes these members; the others read them once is_done is
 * set. */
static void load_read(struct definition_cache *cache, struct load *load,
                      const struct json_limits *limits)
{
    char *text;
    size_t length;
    load->code = definition_cache_read_text(cache, load->run_id, &text, &length, &load->error);
    if (load->code != BW_OK)
        return;
    load->code = definition_cache_parse(load->run_id, text, length, limits, &load->definition,
                                        &load->error);
    load->is_refused = load->code == BW_UNAVAILABLE;
}

/* Reads the definition, with the mutex unlocked in the meantime. */
static void load_run(struct definition_cache *cache, struct load *load,
                     const struct json_limits *limits)
{
    pthread_mutex_unlock(&cache->mutex);
    load_read(cache, load, limits);
    pthread_mutex_lock(&cache->mutex);
    load->is_done = true;
    HASH_DEL(cache->loads, load);
    if (load->code == BW_OK)
        definition_cache_insert(cache, load->run_id, load->definition);
    pthread_cond_broadcast(&cache->loaded);
}

/* Releases a load; its last user frees it. Under the mutex. */
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
    return definition_cache_get_within(cache, run_id, NULL, definition, error);
}

/* Takes the definition from the cache, reads it, or waits for its reader. False: the limits of
 * another caller refused it, so this caller must try again. Under the mutex. */
static bool definition_cache_try(struct definition_cache *cache, const char *run_id,
                                 const struct json_limits *limits, enum bw_code *code,
                                 struct definition **definition, struct bw_error *error)
{
    bool is_ours;
    *code = BW_OK;
    *definition = definition_cache_lookup(cache, run_id);
    if (*definition != NULL)
        return true;
    struct load *load = load_join(cache, run_id, &is_ours);
    if (is_ours)
        load_run(cache, load, limits);
    while (!load->is_done)
        pthread_cond_wait(&cache->loaded, &cache->mutex);
    bool is_final = is_ours || !load->is_refused;
    *code = load->code;
    if (load->code == BW_OK)
        *definition = definition_hold(load->definition);
    else if (error != NULL)
        *error = load->error;
    load_leave(load);
    return is_final;
}

enum bw_code definition_cache_get_within(struct definition_cache *cache, const char *run_id,
                                         const struct json_limits *limits,
                                         struct definition **definition, struct bw_error *error)
{
    enum bw_code code;
    struct definition *found;
    pthread_mutex_lock(&cache->mutex);
    while (!definition_cache_try(cache, run_id, limits, &code, &found, error))
        continue;
    pthread_mutex_unlock(&cache->mutex);
    if (code == BW_OK)
        *definition = found;
    return code;
}

struct definition *definition_cache_find(struct definition_cache *cache, const char *run_id)
{
    pthread_mutex_lock(&cache->mutex);
    struct definition *found = definition_cache_lookup(cache, run_id);
    pthread_mutex_unlock(&cache->mutex);
    return found;
}

enum bw_code definition_cache_get_short(struct definition_cache *cache, const char *run_id,
                                        struct definition **definition, struct bw_error *error)
{
    char *text;
    size_t length;
    *definition = definition_cache_find(cache, run_id);
    if (*definition != NULL)
        return BW_OK;
    enum bw_code code = run_store_read_definition(cache->runs, run_id, &text, &length, error);
    if (code == BW_OK)
        code = definition_cache_parse(run_id, text, length, NULL, definition, error);
    if (code == BW_OK)
        definition_cache_put(cache, run_id, *definition);
    return code;
}

void definition_cache_put(struct definition_cache *cache, const char *run_id,
                          struct definition *definition)
{
    pthread_mutex_lock(&cache->mutex);
    definition_cache_insert(cache, run_id, definition);
    pthread_mutex_unlock(&cache->mutex);
}
