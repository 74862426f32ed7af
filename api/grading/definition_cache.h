/*
 * definition_cache: the definitions that this replica used lately, by run id, up to a number of
 * bytes; the longest unused go first. A definition never changes, so nothing is ever stale. Loading
 * happens outside the lock, once per id at a time. Safe from any thread.
 */
#ifndef API_GRADING_DEFINITION_CACHE_H
#define API_GRADING_DEFINITION_CACHE_H

#include <stddef.h>

#include "common/domain/run_definition.h"
#include "common/base/error.h"

struct definition_cache;
struct definition_store;
struct run_store;

struct definition_cache *definition_cache_new(struct run_store *runs,
                                              struct definition_store *store, size_t max_bytes);
void definition_cache_free(struct definition_cache *cache); /* NULL is fine */

/* The definition of a run, from memory or from the database (waits). On BW_OK a reference of the
 * caller's: definition_release. BW_NOT_FOUND; BW_UNAVAILABLE; BW_INTERNAL: what is stored can't be
 * read. */
enum bw_code definition_cache_get(struct definition_cache *cache, const char *run_id,
                                  struct definition **definition, struct bw_error *error)
    BW_CHECKED;

/* A reference of the caller's to one that is in memory, or NULL. Does not wait. */
struct definition *definition_cache_find(struct definition_cache *cache, const char *run_id);

/* Remembers one that is at hand; takes a reference of its own. */
void definition_cache_put(struct definition_cache *cache, const char *run_id,
                          struct definition *definition);

#endif
