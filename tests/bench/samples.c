#include "tests/bench/samples.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void samples_add(struct samples *samples, int64_t ns)
{
    if (samples->count == samples->room) {
        samples->room = samples->room * 2 + 1024;
        samples->ns = realloc(samples->ns, samples->room * sizeof *samples->ns);
        if (samples->ns == NULL)
            abort();
    }
    samples->ns[samples->count++] = ns;
}

void samples_clear(struct samples *samples)
{
    free(samples->ns);
    *samples = (struct samples){NULL, 0, 0};
}

static int compare(const void *left, const void *right)
{
    int64_t a = *(const int64_t *)left, b = *(const int64_t *)right;
    return a < b ? -1 : a > b;
}

/* The smallest sample that at least this share of all do not exceed. */
static double percentile_ms(const struct samples *samples, double share)
{
    if (samples->count == 0)
        return 0;
    size_t place = (size_t)(share * (double)samples->count);
    if (place >= samples->count)
        place = samples->count - 1;
    return (double)samples->ns[place] / 1e6;
}

static double mean_ms(const struct samples *samples)
{
    double sum = 0;
    for (size_t i = 0; i < samples->count; i++)
        sum += (double)samples->ns[i];
    return samples->count == 0 ? 0 : sum / (double)samples->count / 1e6;
}

json_t *samples_json(struct samples *samples)
{
    if (samples->count > 0)
        qsort(samples->ns, samples->count, sizeof *samples->ns, compare);
    return json_pack("{s:I,s:f,s:f,s:f,s:f,s:f,s:f}", "count", (json_int_t)samples->count,
                     "mean_ms", mean_ms(samples), "p50_ms", percentile_ms(samples, 0.5), "p90_ms",
                     percentile_ms(samples, 0.9), "p99_ms", percentile_ms(samples, 0.99), "p999_ms",
                     percentile_ms(samples, 0.999), "max_ms", percentile_ms(samples, 1));
}

void print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
    json_decref(value);
}
