/*
 * otlp: sends spans to a collector, by OpenTelemetry's protocol (OTLP/HTTP, JSON). Spans wait in a
 * bounded queue; one thread posts them in batches. Whoever adds a span never waits: while the queue
 * is full, spans are dropped; so is a batch that the collector does not take. Both are counted.
 *
 * libcurl must be initialised before (curl_global_init). Open and close are for one thread, all
 * else is safe from any thread.
 */
#ifndef COMMON_BASE_OTLP_H
#define COMMON_BASE_OTLP_H

#include <stddef.h>

#include "common/base/error.h"
#include "common/base/metrics.h"
#include "common/base/span.h"

struct otlp_settings {
    const char *endpoint;           /* http:// or https://, without "/v1/traces"; copied */
    const char *service;            /* "broadway-api"; static */
    const char *instance;           /* which process of it; copied */
    struct metrics *metrics;        /* outlives the exporter */
    unsigned sent_row, dropped_row; /* counters of spans */
};

struct otlp;

/* Starts the thread. BW_INTERNAL: it, or libcurl, could not be started. */
enum bw_code otlp_open(const struct otlp_settings *settings, struct otlp **otlp,
                       struct bw_error *error) BW_CHECKED;

/* Sends what waits, within two seconds, and ends the thread. NULL is allowed. */
void otlp_close(struct otlp *otlp);

/* Adds a copy of the span to the queue, or drops it. NULL as `otlp` does nothing. */
void otlp_add(struct otlp *otlp, const struct span *span);

/* The body of a post with these spans, of the process `instance` of `service`. New text, free().
 * For tests. */
char *otlp_json(const char *service, const char *instance, const struct span *spans, size_t count);

#endif
