#include "api/http/body.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTES = 4 * 1024 };

enum bw_code body_refuse_large(size_t limit, struct bw_error *error)
{
    return bw_fail(error, BW_TOO_LARGE, "the body is larger than %zu bytes", limit);
}

enum bw_code body_admit(const struct body *body, struct bw_error *error)
{
    return memory_hold_try(&body->hold, (size_t)body->expected, error);
}

/* The capacity for `wanted` bytes and a NUL: twice the current one, but not more than the expected
 * length needs. */
static size_t next_capacity(const struct body *body, size_t wanted)
{
    size_t capacity = body->capacity > 0 ? body->capacity * 2 : FIRST_BYTES;
    if (body->expected > 0 && capacity > body->expected)
        capacity = (size_t)body->expected + 1;
    return capacity > wanted ? capacity : wanted + 1;
}

enum bw_code body_claim(struct body *body, size_t bytes, struct bw_error *error)
{
    if (bytes <= body->claimed)
        return BW_OK;
    enum bw_code code = memory_hold_take(&body->hold, bytes - body->claimed, error);
    if (code == BW_OK)
        body->claimed = bytes;
    return code;
}

enum bw_code body_take_parsed(void *body, size_t bytes, struct bw_error *error)
{
    struct body *self = body;
    size_t spare = self->claimed - self->capacity;
    size_t used = bytes < spare ? bytes : spare;
    enum bw_code code = memory_hold_take_parsed(&self->hold, bytes - used, error);
    if (code == BW_OK)
        self->claimed -= used;
    return code;
}

enum bw_code body_reserve(struct body *body, size_t more, struct bw_error *error)
{
    if (body->length + more < body->capacity)
        return BW_OK;
    size_t capacity = next_capacity(body, body->length + more);
    enum bw_code code = body_claim(body, capacity, error);
    if (code != BW_OK)
        return code;
    char *bytes = realloc(body->bytes, capacity); /* its size is the sender's */
    if (bytes == NULL)
        return bw_fail(error, BW_UNAVAILABLE, "out of memory: try again");
    body->bytes = bytes;
    body->capacity = capacity;
    return BW_OK;
}

enum bw_code body_append(struct body *body, const char *bytes, size_t length, size_t limit,
                         struct bw_error *error)
{
    if (length > limit - body->length)
        return body_refuse_large(limit, error);
    enum bw_code code = body_reserve(body, length, error);
    if (code != BW_OK)
        return code;
    memcpy(body->bytes + body->length, bytes, length);
    body->length += length;
    body->bytes[body->length] = '\0';
    return BW_OK;
}

void body_clear(struct body *body)
{
    free(body->bytes);
    memory_hold_release(&body->hold);
    *body = (struct body){.bytes = NULL};
}
