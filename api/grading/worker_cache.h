/*
 * worker_cache: the ids of registered graders, so that a heartbeat costs no read. An id that was
 * not used for ten minutes is dropped, and read again on its next use. Safe from any thread.
 */
#ifndef API_GRADING_WORKER_CACHE_H
#define API_GRADING_WORKER_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/store/worker_store.h"

struct worker_cache;

enum { WORKER_CACHE_KEEP_MS = 600000 };

struct worker_cache_settings {
    struct worker_store *store; /* borrowed */
    int64_t keep_ms;            /* 0: WORKER_CACHE_KEEP_MS */
    enum protocol protocol;     /* the protocol of these graders: others are unknown here */
    /* How an id that is not in memory is read; NULL: worker_store_read. For tests. */
    enum bw_code (*read)(struct worker_store *store, const char *id, struct worker *worker,
                         struct bw_error *error);
};

/* Returns a new cache, never NULL. `settings` are copied. */
struct worker_cache *worker_cache_new(const struct worker_cache_settings *settings);
void worker_cache_free(struct worker_cache *cache); /* NULL is allowed */

/* Whether this id is cached. Does not wait; marks the id as used. */
bool worker_cache_has(struct worker_cache *cache, const char *id);

/* Whether this id is registered: from the cache, or by a read of the database (waits). BW_OK;
 * BW_BAD_REQUEST: no such worker, with a sentence; BW_UNAVAILABLE. Where the protocol has hex ids
 * (has_hex_worker_ids), any other text is refused without a read. */
enum bw_code worker_cache_check(struct worker_cache *cache, const char *id, struct bw_error *error)
    BW_CHECKED;

/* BW_BAD_REQUEST with the sentence for an unknown id. */
enum bw_code worker_cache_refuse_unknown(const char *id, struct bw_error *error);

/* Adds an id that was registered or read just now. */
void worker_cache_add(struct worker_cache *cache, const char *id);

#endif
