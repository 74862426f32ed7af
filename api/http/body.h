/*
 * body: the body of a request or a message, while it is received. Its hold counts its memory, and
 * that of the values that are parsed from it: api/http/memory_budget.h. Callers: the HTTP server
 * and the websockets. A body belongs to one thread at a time.
 */
#ifndef API_HTTP_BODY_H
#define API_HTTP_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "api/http/memory_budget.h"
#include "common/base/error.h"

struct body {
    char *bytes; /* own; followed by a NUL; NULL: none yet */
    size_t length;
    size_t capacity, claimed; /* allocated bytes; bytes that the hold has for them */
    uint64_t expected;        /* Content-Length; 0: unknown */
    struct memory_hold hold;
};

/* Whether there is room for a body of the expected length now. BW_OK, BW_UNAVAILABLE,
 * BW_TOO_LARGE. */
enum bw_code body_admit(const struct body *body, struct bw_error *error) BW_CHECKED;

/* Takes memory from the budget for `bytes` in all, before they are received. The same codes. The
 * part that the body does not need is available to the values that are parsed from it. */
enum bw_code body_claim(struct body *body, size_t bytes, struct bw_error *error) BW_CHECKED;

/* Takes memory from the budget for values that are parsed from the body. The same codes. For struct
 * json_limits, with the body as `body`. */
enum bw_code body_take_parsed(void *body, size_t bytes, struct bw_error *error) BW_CHECKED;

/* Allocates room for `more` bytes. The same codes. */
enum bw_code body_reserve(struct body *body, size_t more, struct bw_error *error) BW_CHECKED;

/* Appends bytes. The same codes. BW_TOO_LARGE also if the body would be longer than `limit`. */
enum bw_code body_append(struct body *body, const char *bytes, size_t length, size_t limit,
                         struct bw_error *error) BW_CHECKED;

/* BW_TOO_LARGE with the sentence for a body longer than `limit` bytes. */
enum bw_code body_refuse_large(size_t limit, struct bw_error *error) BW_CHECKED;

/* Frees the bytes, and releases the hold. */
void body_clear(struct body *body);

#endif
