/*
 * body: the body of a request, as it comes in. All bodies of a front share a budget of memory.
 * Callers: the front; a body belongs to one thread at a time.
 */
#ifndef API_BODY_H
#define API_BODY_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "common/error.h"

enum { BODY_BUDGET_BYTES = 256 * 1024 * 1024 };

struct body {
    char *bytes; /* own; a NUL follows; NULL while there are none */
    size_t length;
    size_t capacity;   /* what it takes of the budget */
    uint64_t expected; /* Content-Length; 0 if that is not known */
};

/* Would a body of this length find room now? BW_OK, BW_TOO_LARGE (over `limit`), BW_UNAVAILABLE. */
enum bw_code body_admit(uint64_t length, size_t limit, const atomic_size_t *budget,
                        struct bw_error *error) BW_CHECKED;

/* Adds bytes; the same codes. */
enum bw_code body_append(struct body *body, const char *bytes, size_t length, size_t limit,
                         atomic_size_t *budget, struct bw_error *error) BW_CHECKED;

/* Frees the bytes, and gives back what they took. */
void body_clear(struct body *body, atomic_size_t *budget);

#endif
