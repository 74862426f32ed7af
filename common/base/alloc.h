/*
 * alloc: allocation that never fails: without memory the process aborts. Broadway's state is in the
 * database and another replica or scheduler takes over, so aborting is safer than continuing with
 * an incomplete structure. Use these functions for the process's own structures. Memory whose size
 * a sender decides is limited by api/http/memory_budget.h and checked instead.
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

/* `memory` resized to `count` elements of `size` bytes: the content is kept, new elements are not
 * zeroed. `memory` may be NULL, and must not be used after the call. Never NULL. */
void *bw_grow(void *memory, size_t count, size_t size)
    __attribute__((returns_nonnull, warn_unused_result));

/* A copy of the string. Never NULL. */
char *bw_copy(const char *text) __attribute__((malloc, returns_nonnull, nonnull));

/* What printf would print, as a new string. Never NULL. */
char *bw_format(const char *format, ...)
    __attribute__((malloc, returns_nonnull, nonnull(1), format(printf, 1, 2)));

#endif
