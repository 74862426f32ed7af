/*
 * worker_lookup: asks the database for the ids of graders that a worker_cache does not have. Ids
 * that arrive while a read is under way wait for the next read, which asks for many of them at
 * once. So nobody is refused a look-up, however many ids that nobody has arrive meanwhile: the
 * database gets one small read at a time, and each id waits for those that came before it.
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
    struct thread_pool **thread_pool; /* where the thread pool will be; borrowed */
    struct worker_store *store;       /* borrowed */
    struct worker_cache *cache;       /* learns what was found; classic graders' alone; borrowed */
    /* How ids are read; NULL: worker_store_find. For tests. */
    enum bw_code (*find)(struct worker_store *store, const char *const *ids, size_t count,
                         void (*each)(const struct worker *worker, void *context), void *context,
                         struct bw_error *error);
};

/* Never NULL. */
struct worker_lookup *worker_lookup_new(const struct worker_lookup_settings *settings);

/* The thread pool must have been closed before. NULL is fine. */
void worker_lookup_free(struct worker_lookup *lookup);

/* Is there a grader of the classic protocol with this id (copied)? `settled` is called once, on a
 * thread of the pool, and must not wait. BW_OK; BW_BAD_REQUEST: no such worker, with a sentence;
 * BW_UNAVAILABLE: the database can't say. */
void worker_lookup_ask(struct worker_lookup *lookup, const char *id,
                       void (*settled)(void *context, enum bw_code code,
                                       const struct bw_error *error),
                       void *context);

#endif
