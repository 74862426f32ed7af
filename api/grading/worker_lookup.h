/*
 * worker_lookup: looks up the ids of graders that a worker_cache does not have. Ids that arrive
 * during a read wait for the next read, which looks up many of them at once. So no look-up is
 * refused, however many unknown ids arrive: the database gets one small read at a time, and each id
 * waits only for earlier ids.
 *
 * The reads are urgent tasks of the thread pool. Callers: dispatch. Safe from any thread.
 */
#ifndef API_GRADING_WORKER_LOOKUP_H
#define API_GRADING_WORKER_LOOKUP_H

#include <stddef.h>

#include "api/grading/worker_cache.h"
#include "common/base/error.h"
#include "common/store/worker_store.h"

struct thread_pool;
struct worker_lookup;

enum { WORKER_LOOKUP_BATCH = 64 /* ids in a read */ };

struct worker_lookup_settings {
    struct thread_pool **thread_pool; /* where the thread pool's pointer is stored before the first
                                         look-up; borrowed */
    struct worker_store *store;       /* borrowed */
    struct worker_cache *cache;       /* gets the ids that were found; borrowed */
    enum protocol protocol;           /* of these graders and the cache: others are unknown here */
    /* How ids are read; NULL: worker_store_find. For tests. */
    enum bw_code (*find)(struct worker_store *store, const char *const *ids, size_t count,
                         void (*each)(const struct worker *worker, void *context), void *context,
                         struct bw_error *error);
};

/* Returns a new object, never NULL. `settings` are copied. */
struct worker_lookup *worker_lookup_new(const struct worker_lookup_settings *settings);

/* The thread pool must have been closed before. NULL is allowed. */
void worker_lookup_free(struct worker_lookup *lookup);

/* Looks up a grader of the protocol by its id (copied). `completed` is called once, on a
 * thread of the pool, and must not wait. BW_OK; BW_BAD_REQUEST: no such worker, with a sentence;
 * BW_UNAVAILABLE: the database can't be reached. */
void worker_lookup_ask(struct worker_lookup *lookup, const char *id,
                       void (*completed)(void *context, enum bw_code code,
                                         const struct bw_error *error),
                       void *context);

#endif
