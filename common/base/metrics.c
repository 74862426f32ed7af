#include "common/base/alloc.h"
#include "common/base/metrics.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/process_metrics.h"

enum { BUCKETS = 12 };

static const int64_t bucket_us[BUCKETS] = {500,   1000,   2500,   5000,    10000,   25000,
                                           50000, 100000, 250000, 1000000, 5000000, 20000000};

struct value {
    _Atomic int64_t number; /* of a histogram: the sum in microseconds */
    _Atomic int64_t observed[BUCKETS + 1];
};

struct metrics {
    const struct metric_row *rows;
    size_t count;
    struct value values[];
};

struct metrics *metrics_new(const struct metric_row *rows, size_t count)
{
    struct metrics *metrics = bw_alloc(sizeof *metrics + count * sizeof *metrics->values);
    metrics->rows = rows;
    metrics->count = count;
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    free(metrics);
}

void metric_add(struct metrics *metrics, unsigned row, int64_t amount)
{
    atomic_fetch_add_explicit(&metrics->values[row].number, amount, memory_order_relaxed);
}

void metric_set(struct metrics *metrics, unsigned row, int64_t value)
{
    atomic_store_explicit(&metrics->values[row].number, value, memory_order_relaxed);
}

void metric_observe_us(struct metrics *metrics, unsigned row, int64_t us)
{
    int bucket = 0;
    while (bucket < BUCKETS && us > bucket_us[bucket])
        bucket++;
    atomic_fetch_add_explicit(&metrics->values[row].observed[bucket], 1, memory_order_relaxed);
    metric_add(metrics, row, us);
}

int64_t metric_read(const struct metrics *metrics, unsigned row)
{
    return atomic_load_explicit(&metrics->values[row].number, memory_order_relaxed);
}

static void print_histogram(FILE *out, const struct metric_row *row, const struct value *value)
{
    int64_t total = 0;
    for (int i = 0; i < BUCKETS; i++) {
        total += atomic_load(&value->observed[i]);
        fprintf(out, "%s_bucket{le=\"%g\"} %lld\n", row->name, (double)bucket_us[i] / 1e6,
                (long long)total);
    }
    total += atomic_load(&value->observed[BUCKETS]);
    fprintf(out, "%s_bucket{le=\"+Inf\"} %lld\n", row->name, (long long)total);
    fprintf(out, "%s_sum %.6f\n", row->name, (double)atomic_load(&value->number) / 1e6);
    fprintf(out, "%s_count %lld\n", row->name, (long long)total);
}

static void print_row(FILE *out, const struct metric_row *row, const struct value *value)
{
    if (row->kind == METRIC_HISTOGRAM)
        print_histogram(out, row, value);
    else if (row->label != NULL)
        fprintf(out, "%s{%s} %lld\n", row->name, row->label,
                (long long)atomic_load(&value->number));
    else
        fprintf(out, "%s %lld\n", row->name, (long long)atomic_load(&value->number));
}

char *metrics_text(const struct metrics *metrics)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    char *text = NULL;
    size_t length;
    FILE *out = open_memstream(&text, &length);
    if (out == NULL)
        abort();
    for (size_t i = 0; i < metrics->count; i++) {
        const struct metric_row *row = &metrics->rows[i];
        if (i == 0 || strcmp(metrics->rows[i - 1].name, row->name) != 0)
            fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name,
                    kinds[row->kind]);
        print_row(out, row, &metrics->values[i]);
    }
    process_metrics_print(out);
    fclose(out);
    return text;
}
