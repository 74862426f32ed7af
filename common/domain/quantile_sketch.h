/*
 * quantile_sketch: durations of which any quantile is known within 1 %, in a fixed size, as
 * DDSketch does it: they are counted in buckets whose limits grow by 2 %. Old durations count less:
 * when the weights pass a limit, all are halved, so that a change is learned. Two sketches can be
 * added. Zeroed is empty. Pure: no I/O, no clock.
 */
#ifndef COMMON_DOMAIN_QUANTILE_SKETCH_H
#define COMMON_DOMAIN_QUANTILE_SKETCH_H

#include <stdbool.h>
#include <stdint.h>

enum {
    QUANTILE_SKETCH_BUCKETS = 1110, /* bucket 0: up to 1 ms; the last one: more than 50 days */
    QUANTILE_SKETCH_UNIT = 64,      /* the weight of a duration that was just counted */
    QUANTILE_SKETCH_MAX = 1024      /* so many durations weigh at most; then all are halved */
};

struct quantile_sketch {
    uint64_t seen;   /* how many durations were counted, whatever they weigh now */
    uint64_t weight; /* of all buckets */
    uint32_t weights[QUANTILE_SKETCH_BUCKETS];
};

/* Counts a duration; a negative one as 0. */
void quantile_sketch_add(struct quantile_sketch *sketch, int64_t ms);

/* Adds all that `from` has. */
void quantile_sketch_merge(struct quantile_sketch *sketch, const struct quantile_sketch *from);

/* The duration in ms that the share `quantile` (0..1) does not exceed; 0: the sketch is empty. */
double quantile_sketch_quantile(const struct quantile_sketch *sketch, double quantile);

/* The same among those that are longer than `age_ms`: never less than `age_ms`; 0: none is. */
double quantile_sketch_quantile_beyond(const struct quantile_sketch *sketch, double quantile,
                                       double age_ms);

/* The mean in ms, and the variance in ms² (*variance); 0: the sketch is empty. */
double quantile_sketch_mean(const struct quantile_sketch *sketch, double *variance);

/* The duration that the longest of several jobs does not exceed, with the probability `quantile`:
 * `fresh` jobs that begin now, and `begun` ones of which it is not known since when they run. 0:
 * the sketch is empty. */
double quantile_sketch_longest(const struct quantile_sketch *sketch, double quantile, double fresh,
                               double begun);

/* The sketch as text, "SEEN BUCKET:WEIGHT ...", without the empty buckets. New, free(). */
char *quantile_sketch_text(const struct quantile_sketch *sketch);

/* Reads such a text. False: it is none; *sketch is empty then. */
bool quantile_sketch_parse(const char *text, struct quantile_sketch *sketch);

#endif
