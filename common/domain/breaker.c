#include "common/domain/breaker.h"

#include <stdio.h>
#include <string.h>

enum bw_code breaker_check(const json_t *value, const char *path, const void *context,
                           struct bw_error *error)
{
    json_int_t limit = json_integer_value(value);
    (void)context;
    if (json_is_false(value) ||
        (json_is_integer(value) && limit >= BREAKER_MIN && limit <= BREAKER_MAX))
        return BW_OK;
    return bw_fail(error, BW_BAD_REQUEST, "%s: must be an integer between %d and %d, or false",
                   path, (int)BREAKER_MIN, (int)BREAKER_MAX);
}

uint32_t breaker_limit(const json_t *value)
{
    if (value == NULL)
        return BREAKER_DEFAULT;
    return json_is_integer(value) ? (uint32_t)json_integer_value(value) : 0;
}

void breaker_note(struct breaker *breaker, enum job_outcome outcome, const char *signature)
{
    bool is_withdrawn = outcome == OUTCOME_CANCELLED || outcome == OUTCOME_SUPERSEDED;
    if (breaker->limit == 0 || breaker->is_over || is_withdrawn || breaker->count >= breaker->limit)
        return;
    if (breaker->count == 0)
        snprintf(breaker->signature, sizeof breaker->signature, "%s", signature);
    if (outcome != OUTCOME_FAILED || signature[0] == '\0' ||
        strcmp(signature, breaker->signature) != 0)
        breaker->is_over = true;
    else
        breaker->count++;
}

bool breaker_is_due(const struct breaker *breaker)
{
    return breaker->limit > 0 && !breaker->is_over && breaker->count >= breaker->limit;
}
