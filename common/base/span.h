/*
 * span: one step of a trace, as OpenTelemetry has it: plain data, which common/base/otlp.h exports.
 * Pure.
 */
#ifndef COMMON_BASE_SPAN_H
#define COMMON_BASE_SPAN_H

#include <stdbool.h>
#include <stdint.h>

enum { SPAN_ATTRIBUTES = 4, SPAN_VALUE_SIZE = 128 };

struct span_attribute {
    const char *name; /* static; NULL: no more */
    char value[SPAN_VALUE_SIZE];
};

struct span {
    char trace[33], id[17], parent[17]; /* hex; parent "": none */
    const char *name;                   /* static */
    int64_t begun_ms, ended_ms;         /* dates, UTC */
    bool has_failed;
    struct span_attribute attributes[SPAN_ATTRIBUTES];
};

/* Adds an attribute; a longer value is cut; of more than SPAN_ATTRIBUTES the last ones are left
 * out. */
void span_set(struct span *span, const char *name, const char *value);

#endif
