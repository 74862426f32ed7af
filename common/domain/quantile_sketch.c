#include "common/domain/quantile_sketch.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"

/* Each limit is so many times the one before: what is in a bucket is within 1 % of its middle. */
static const double growth = 1.0202;

enum { PAIR_BYTES = 24 /* of a bucket and its weight, as text */ };

static unsigned quantile_sketch_bucket(double ms)
{
    double bucket = ms <= 1 ? 0 : ceil(log(ms) / log(growth));
    return bucket < QUANTILE_SKETCH_BUCKETS ? (unsigned)bucket : QUANTILE_SKETCH_BUCKETS - 1;
}

/* The duration that is as far from both limits of the bucket, in proportion. */
static double quantile_sketch_middle(unsigned bucket)
{
    return 2 * pow(growth, bucket) / (growth + 1);
}

/* All count half: what no longer weighs anything is forgotten. */
static void quantile_sketch_halve(struct quantile_sketch *sketch)
{
    sketch->weight = 0;
    for (unsigned i = 0; i < QUANTILE_SKETCH_BUCKETS; i++) {
        sketch->weights[i] /= 2;
        sketch->weight += sketch->weights[i];
    }
}

static void quantile_sketch_bound(struct quantile_sketch *sketch)
{
    while (sketch->weight > (uint64_t)QUANTILE_SKETCH_MAX * QUANTILE_SKETCH_UNIT)
        quantile_sketch_halve(sketch);
}

void quantile_sketch_add(struct quantile_sketch *sketch, int64_t ms)
{
    sketch->seen++;
    sketch->weights[quantile_sketch_bucket((double)ms)] += QUANTILE_SKETCH_UNIT;
    sketch->weight += QUANTILE_SKETCH_UNIT;
    quantile_sketch_bound(sketch);
}

void quantile_sketch_merge(struct quantile_sketch *sketch, const struct quantile_sketch *from)
{
    sketch->seen += from->seen;
    sketch->weight += from->weight;
    for (unsigned i = 0; i < QUANTILE_SKETCH_BUCKETS; i++)
        sketch->weights[i] += from->weights[i];
    quantile_sketch_bound(sketch);
}

double quantile_sketch_quantile(const struct quantile_sketch *sketch, double quantile)
{
    return quantile_sketch_quantile_beyond(sketch, quantile, 0);
}

double quantile_sketch_quantile_beyond(const struct quantile_sketch *sketch, double quantile,
                                       double age_ms)
{
    unsigned first = age_ms > 0 ? quantile_sketch_bucket(age_ms) : 0;
    double all = 0, passed = 0, found = 0;
    for (unsigned i = first; i < QUANTILE_SKETCH_BUCKETS; i++)
        all += sketch->weights[i];
    for (unsigned i = first; i < QUANTILE_SKETCH_BUCKETS && all > 0; i++) {
        passed += sketch->weights[i];
        if (sketch->weights[i] == 0 || passed < quantile * all)
            continue;
        found = quantile_sketch_middle(i);
        break;
    }
    return all > 0 && found < age_ms ? age_ms : found;
}

double quantile_sketch_mean(const struct quantile_sketch *sketch, double *variance)
{
    double sum = 0, squares = 0, weight = (double)sketch->weight;
    *variance = 0;
    if (sketch->weight == 0)
        return 0;
    for (unsigned i = 0; i < QUANTILE_SKETCH_BUCKETS; i++) {
        if (sketch->weights[i] == 0)
            continue;
        double middle = quantile_sketch_middle(i);
        sum += sketch->weights[i] * middle;
        squares += sketch->weights[i] * middle * middle;
    }
    double mean = sum / weight;
    *variance = squares / weight > mean * mean ? squares / weight - mean * mean : 0;
    return mean;
}

/* What is left of a job of which it is not known since when it runs has the density (1 - F) / mean,
 * where F is the distribution of whole durations. */
double quantile_sketch_longest(const struct quantile_sketch *sketch, double quantile, double fresh,
                               double begun)
{
    double variance, mean = quantile_sketch_mean(sketch, &variance);
    double passed = 0, left = 0, before = 0;
    for (unsigned i = 0; i < QUANTILE_SKETCH_BUCKETS && mean > 0; i++) {
        if (sketch->weights[i] == 0)
            continue;
        double middle = quantile_sketch_middle(i);
        left += (1 - passed / (double)sketch->weight) * (middle - before) / mean;
        passed += sketch->weights[i];
        before = middle;
        double within = pow(passed / (double)sketch->weight, fresh) * pow(left, begun);
        if (within >= quantile)
            return middle;
    }
    return before;
}

char *quantile_sketch_text(const struct quantile_sketch *sketch)
{
    size_t filled = 0;
    for (unsigned i = 0; i < QUANTILE_SKETCH_BUCKETS; i++)
        filled += sketch->weights[i] > 0;
    size_t room = (filled + 1) * PAIR_BYTES;
    char *text = bw_alloc(room);
    int length = snprintf(text, room, "%" PRIu64, sketch->seen);
    for (unsigned i = 0; i < QUANTILE_SKETCH_BUCKETS; i++)
        if (sketch->weights[i] > 0)
            length += snprintf(text + length, room - (size_t)length, " %u:%" PRIu32, i,
                               sketch->weights[i]);
    return text;
}

/* Reads a number of decimal digits and moves *text behind it. False: there is none, or it is more
 * than `most`. */
static bool quantile_sketch_number(const char **text, uint64_t most, uint64_t *number)
{
    const char *start = *text;
    *number = 0;
    for (; **text >= '0' && **text <= '9'; ++*text) {
        *number = *number * 10 + (uint64_t)(**text - '0');
        if (*number > most)
            return false;
    }
    return *text > start;
}

static bool quantile_sketch_take_text(const char *text, struct quantile_sketch *sketch)
{
    uint64_t bucket, weight;
    if (!quantile_sketch_number(&text, UINT64_MAX / 16, &sketch->seen))
        return false;
    while (*text == ' ') {
        text++;
        if (!quantile_sketch_number(&text, QUANTILE_SKETCH_BUCKETS - 1, &bucket) || *text++ != ':')
            return false;
        if (!quantile_sketch_number(&text, QUANTILE_SKETCH_MAX * QUANTILE_SKETCH_UNIT, &weight))
            return false;
        sketch->weight += weight - sketch->weights[bucket];
        sketch->weights[bucket] = (uint32_t)weight;
    }
    return *text == '\0';
}

bool quantile_sketch_parse(const char *text, struct quantile_sketch *sketch)
{
    memset(sketch, 0, sizeof *sketch);
    if (quantile_sketch_take_text(text, sketch))
        return true;
    memset(sketch, 0, sizeof *sketch);
    return false;
}
