/*
 * body: the body of a request or a message, as it comes in. Its memory, and that of what is parsed
 * of it, is counted by its hold: api/http/memory_budget.h.
 * Callers: the HTTP server and the websockets; a body belongs to one thread at a time.
 */
#ifndef API_HTTP_BODY_H
#define API_HTTP_BODY_H

#include <stddef.h>
#include <stdint.h>

#include "api/http/memory_budget.h"
#include "common/base/error.h"

struct body {
    char *bytes; /* own; a NUL follows; NULL while there are none */
    size_t length;
    size_t capacity, claimed; /* bytes that there are, that the hold has for it */
    uint64_t expected;        /* Content-Length; 0 if that is not known */
    struct memory_hold hold;
};

/* Would a body of this length find room now? BW_OK, BW_UNAVAILABLE, BW_TOO_LARGE. */
enum bw_code body_admit(const struct body *body, struct bw_error *error) BW_CHECKED;

/* Takes memory for `bytes` in all before they come; the same codes. What the body does not need of
 * it is there for what is parsed of it. */
enum bw_code body_claim(struct body *body, size_t bytes, struct bw_error *error) BW_CHECKED;

/* Takes memory for what is parsed of it; the same codes. As json_limits wants it: `body` is one. */
enum bw_code body_take_parsed(void *body, size_t bytes, struct bw_error *error) BW_CHECKED;

/* Makes room for `more` bytes; the same codes. */
enum bw_code body_reserve(struct body *body, size_t more, struct bw_error *error) BW_CHECKED;

/* Adds bytes; the same codes. BW_TOO_LARGE also: it would be longer than `limit`. */
enum bw_code body_append(struct body *body, const char *bytes, size_t length, size_t limit,
                         struct bw_error *error) BW_CHECKED;

/* What is said of a body longer than `limit`. */
enum bw_code body_refuse_large(size_t limit, struct bw_error *error) BW_CHECKED;

/* Frees the bytes, and ends the hold. */
void body_clear(struct body *body);

#endif
