/*
 * alloc: memory that is there, or the end of the process. Broadway's state is in the database and
 * another replica or scheduler goes on, so a process without memory ends at once (abort) and never
 * continues with half of a structure. Use these for what the process itself needs. What a sender's
 * size decides is bounded by api/http/memory_budget.h and checked instead.
 *
 * All memory is freed by free(). Safe from any thread.
 */
#ifndef COMMON_BASE_ALLOC_H
#define COMMON_BASE_ALLOC_H

#include <stddef.h>

/* `size` zeroed bytes. Never NULL. */
void *bw_alloc(size_t size) __attribute__((malloc, returns_nonnull));

/* `count` zeroed elements of `size` bytes, never NULL; at least one byte. */
void *bw_alloc_array(size_t count, size_t size) __attribute__((malloc, returns_nonnull));

/* `memory`, with room for `count` elements of `size` bytes: what was in it is kept, what is new is
 * not zeroed. `memory` may be NULL, and must not be used after the call. Never NULL. */
void *bw_grow(void *memory, size_t count, size_t size)
    __attribute__((returns_nonnull, warn_unused_result));

/* A copy of the string. Never NULL. */
char *bw_copy(const char *text) __attribute__((malloc, returns_nonnull, nonnull));

#endif
