/*
 * histogram: durations counted in fixed buckets, and their sum. Updates and reads are atomic and
 * safe from any thread; no I/O, no clock, no memory of its own: all zeros is an empty histogram.
 */
#ifndef COMMON_BASE_HISTOGRAM_H
#define COMMON_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>

enum { HISTOGRAM_BUCKETS = 12 };

/* Which limits the buckets have. */
enum histogram_scale {
    HISTOGRAM_LATENCY, /* 0.5 ms to 20 s: what a computer does */
    HISTOGRAM_WAIT     /* 0.1 s to a day: what waits for graders */
};

struct histogram {
    _Atomic int64_t sum_us;
    _Atomic int64_t observed[HISTOGRAM_BUCKETS + 1]; /* the last one: above all limits */
};

/* Counts a duration in microseconds, in the bucket of the smallest limit that is not below it. A
 * negative duration, as a clock that is set back makes it, counts as 0. */
void histogram_observe_us(struct histogram *histogram, enum histogram_scale scale, int64_t us);

/* Writes the histogram as Prometheus text, in seconds: its buckets (cumulative), sum and count.
 * `label`, such as kind="find", is a label of each line; NULL: none. Lines that are written while
 * another thread observes may differ by that observation, but no bucket exceeds a later one. */
void histogram_print(FILE *out, const struct histogram *histogram, enum histogram_scale scale,
                     const char *name, const char *label);

#endif
