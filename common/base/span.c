#include "common/base/span.h"

#include <stdio.h>

void span_set(struct span *span, const char *name, const char *value)
{
    int i = 0;
    while (i < SPAN_ATTRIBUTES && span->attributes[i].name != NULL)
        i++;
    if (i == SPAN_ATTRIBUTES)
        return;
    span->attributes[i].name = name;
    snprintf(span->attributes[i].value, sizeof span->attributes[i].value, "%s", value);
}
