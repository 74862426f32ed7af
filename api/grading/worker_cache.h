/*
 * worker_cache: the ids of graders that are known to be registered, so that a heartbeat costs no
 * read. An id that nobody used for ten minutes is forgotten, and read again if it comes back. Safe
 * from any thread.
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
    enum protocol protocol;     /* whose graders these are: others are not known here */
    /* How an id that is not in memory is read; NULL: worker_store_read. For tests. */
    enum bw_code (*read)(struct worker_store *store, const char *id, struct worker *worker,
                         struct bw_error *error);
};

struct worker_cache *worker_cache_new(const struct worker_cache_settings *settings);
void worker_cache_free(struct worker_cache *cache); /* NULL is fine */

/* Is this id in memory? Never waits. */
bool worker_cache_has(struct worker_cache *cache, const char *id);

/* The same, and if it is not, a read of the database. BW_OK; BW_BAD_REQUEST: no such worker, with a
 * sentence; BW_UNAVAILABLE. What can't be an id of the classic protocol (32 lower-case hex digits)
 * is refused there without a read. */
enum bw_code worker_cache_check(struct worker_cache *cache, const char *id, struct bw_error *error)
    BW_CHECKED;

/* BW_BAD_REQUEST with the sentence for an id that nobody has. */
enum bw_code worker_cache_refuse_unknown(const char *id, struct bw_error *error);

/* Remembers an id that was registered or read just now. */
void worker_cache_add(struct worker_cache *cache, const char *id);

size_t worker_cache_count(struct worker_cache *cache);

#endif
