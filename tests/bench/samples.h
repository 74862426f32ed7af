/*
 * samples: durations that were measured, and what is said of them: count, mean and percentiles.
 * For one thread.
 */
#ifndef BENCH_SAMPLES_H
#define BENCH_SAMPLES_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

struct samples {
    int64_t *ns;
    size_t count, room;
};

/* A monotonic clock, the same for all processes of the machine. */
int64_t now_ns(void);

void samples_add(struct samples *samples, int64_t ns);
void samples_clear(struct samples *samples);

/* {"count", "mean_ms", "p50_ms", "p90_ms", "p99_ms", "p999_ms", "max_ms"}; sorts the samples. New
 * reference. */
json_t *samples_json(struct samples *samples);

/* Prints a JSON value as one line, at once, and releases it. */
void print_json(json_t *value);

#endif
