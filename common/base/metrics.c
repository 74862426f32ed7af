#include "common/base/alloc.h"
#include "common/base/metrics.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/histogram.h"
#include "common/base/process_metrics.h"

struct value {
    _Atomic int64_t number; /* of a counter or a gauge */
    struct histogram histogram;
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

static bool metric_is_histogram(const struct metric_row *row)
{
    return row->kind == METRIC_HISTOGRAM || row->kind == METRIC_WAIT;
}

static enum histogram_scale metric_scale(const struct metric_row *row)
{
    return row->kind == METRIC_WAIT ? HISTOGRAM_WAIT : HISTOGRAM_LATENCY;
}

void metric_observe_us(struct metrics *metrics, unsigned row, int64_t us)
{
    histogram_observe_us(&metrics->values[row].histogram, metric_scale(&metrics->rows[row]), us);
}

int64_t metric_read(const struct metrics *metrics, unsigned row)
{
    const struct value *value = &metrics->values[row];
    return metric_is_histogram(&metrics->rows[row]) ? atomic_load(&value->histogram.sum_us)
                                                    : atomic_load(&value->number);
}

static void print_row(FILE *out, const struct metric_row *row, const struct value *value)
{
    if (metric_is_histogram(row))
        histogram_print(out, &value->histogram, metric_scale(row), row->name, row->label);
    else if (row->label != NULL)
        fprintf(out, "%s{%s} %lld\n", row->name, row->label,
                (long long)atomic_load(&value->number));
    else
        fprintf(out, "%s %lld\n", row->name, (long long)atomic_load(&value->number));
}

char *metrics_text(const struct metrics *metrics)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram", "histogram"};
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
