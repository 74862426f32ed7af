/*
 * metrics: counters, gauges and histograms, declared by a table, rendered as Prometheus text.
 * Adding a metric is adding a row to the binary's table. Updates are atomic and safe from any
 * thread.
 */
#ifndef COMMON_BASE_METRICS_H
#define COMMON_BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_row {
    const char *name;  /* rows of one name differ in their label and stand together */
    const char *label; /* e.g. status="2xx"; NULL: none */
    enum metric_kind kind;
    const char *help;
};

struct metrics;

/* Makes the values for a table, which must outlive them. Never NULL. */
struct metrics *metrics_new(const struct metric_row *rows, size_t count);
void metrics_free(struct metrics *metrics);

/* `row` is the place in the table. */
void metric_add(struct metrics *metrics, unsigned row, int64_t amount);
void metric_set(struct metrics *metrics, unsigned row, int64_t value);

/* A duration, in microseconds, for a histogram (which shows seconds). */
void metric_observe_us(struct metrics *metrics, unsigned row, int64_t us);

int64_t metric_read(const struct metrics *metrics, unsigned row);

/* All of it as text, and what is known of the process (common/base/process_metrics.h). New string,
 * free(). */
char *metrics_text(const struct metrics *metrics);

#endif
