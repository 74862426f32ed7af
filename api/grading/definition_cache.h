/*
 * definition_cache: the recently used definitions of this replica, by run id, up to a number of
 * bytes. The least recently used are dropped first. A definition larger than that is kept alone,
 * until the next one is added. A definition never changes, so no entry is ever stale. Definitions
 * are read outside the lock, each id by one thread at a time. Safe from any thread.
 */
#ifndef API_GRADING_DEFINITION_CACHE_H
#define API_GRADING_DEFINITION_CACHE_H

#include <stddef.h>

#include "common/domain/run_definition.h"
#include "common/base/error.h"

struct definition_cache;
struct definition_store;
struct run_store;

/* Returns a new cache, never NULL. Borrows both stores until definition_cache_free. */
struct definition_cache *definition_cache_new(struct run_store *runs,
                                              struct definition_store *store, size_t max_bytes);
void definition_cache_free(struct definition_cache *cache); /* NULL is allowed */

/* The definition of a run, from the cache or from the database (waits). On BW_OK the caller has a
 * reference, to be released by definition_release. BW_NOT_FOUND; BW_UNAVAILABLE; BW_INTERNAL: the
 * stored definition can't be read. */
enum bw_code definition_cache_get(struct definition_cache *cache, const char *run_id,
                                  struct definition **definition, struct bw_error *error)
    BW_CHECKED;

/* The same; if the definition has to be parsed, `limits` are asked for the memory first, and may
 * refuse it: BW_UNAVAILABLE. Such a refusal does not affect other callers that wait for the same
 * definition: one of them reads it again. */
enum bw_code definition_cache_get_within(struct definition_cache *cache, const char *run_id,
                                         const struct json_limits *limits,
                                         struct definition **definition, struct bw_error *error)
    BW_CHECKED;

/* The same for a definition that is cached, or so short that it is stored in the run's own
 * document. BW_NOT_FOUND also if neither is the case. */
enum bw_code definition_cache_get_short(struct definition_cache *cache, const char *run_id,
                                        struct definition **definition, struct bw_error *error)
    BW_CHECKED;

/* A cached definition, with a reference for the caller; NULL: it is not cached. Does not wait. */
struct definition *definition_cache_find(struct definition_cache *cache, const char *run_id);

/* Adds a definition. The cache takes a reference of its own. */
void definition_cache_put(struct definition_cache *cache, const char *run_id,
                          struct definition *definition);

#endif
