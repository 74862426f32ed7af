#include "api/body.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_BYTES = 16 * 1024 };

static enum bw_code refuse_large(size_t limit, struct bw_error *error)
{
    return bw_fail(error, BW_TOO_LARGE, "the body is larger than %zu bytes", limit);
}

static enum bw_code refuse_now(struct bw_error *error)
{
    return bw_fail(error, BW_UNAVAILABLE, "too many large requests are under way: try again");
}

enum bw_code body_admit(uint64_t length, size_t limit, const atomic_size_t *budget,
                        struct bw_error *error)
{
    if (length > limit)
        return refuse_large(limit, error);
    return atomic_load(budget) + length > BODY_BUDGET_BYTES ? refuse_now(error) : BW_OK;
}

/* How much to have for `wanted` bytes and a NUL: twice of what there was, but not more than will
 * come. */
static size_t next_capacity(const struct body *body, size_t wanted)
{
    size_t capacity = body->capacity > 0 ? body->capacity * 2 : FIRST_BYTES;
    if (body->expected > 0 && capacity > body->expected)
        capacity = (size_t)body->expected + 1;
    return capacity > wanted ? capacity : wanted + 1;
}

static enum bw_code reserve(struct body *body, size_t wanted, atomic_size_t *budget,
                            struct bw_error *error)
{
    if (wanted < body->capacity)
        return BW_OK;
    size_t capacity = next_capacity(body, wanted), more = capacity - body->capacity;
    if (atomic_fetch_add(budget, more) + more > BODY_BUDGET_BYTES) {
        atomic_fetch_sub(budget, more);
        return refuse_now(error);
    }
    body->capacity = capacity;
    char *bytes = realloc(body->bytes, capacity);
    if (bytes == NULL)
        return refuse_now(error);
    body->bytes = bytes;
    return BW_OK;
}

enum bw_code body_append(struct body *body, const char *bytes, size_t length, size_t limit,
                         atomic_size_t *budget, struct bw_error *error)
{
    if (length > limit - body->length)
        return refuse_large(limit, error);
    enum bw_code code = reserve(body, body->length + length, budget, error);
    if (code != BW_OK)
        return code;
    memcpy(body->bytes + body->length, bytes, length);
    body->length += length;
    body->bytes[body->length] = '\0';
    return BW_OK;
}

void body_clear(struct body *body, atomic_size_t *budget)
{
    atomic_fetch_sub(budget, body->capacity);
    free(body->bytes);
    *body = (struct body){.bytes = NULL};
}
