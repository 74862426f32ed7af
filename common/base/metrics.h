/*
 * metrics: counters, gauges and histograms, declared by a table, rendered as Prometheus text. To
 * add a metric, add a row to the table in the binary's own metrics.h. Updates are atomic and safe
 * from any thread.
 */
#ifndef COMMON_BASE_METRICS_H
#define COMMON_BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>

/* A METRIC_WAIT is a histogram of HISTOGRAM_WAIT, a METRIC_HISTOGRAM one of HISTOGRAM_LATENCY. */
enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM, METRIC_WAIT };

struct metric_row {
    const char *name;  /* rows of one name differ in their label and are adjacent */
    const char *label; /* e.g. status="2xx"; NULL: none */
    enum metric_kind kind;
    const char *help;
};

struct metrics;

/* Creates the values for a table, which must outlive them. Never NULL. */
struct metrics *metrics_new(const struct metric_row *rows, size_t count);
void metrics_free(struct metrics *metrics);

/* `row` is the place in the table. */
void metric_add(struct metrics *metrics, unsigned row, int64_t amount);
void metric_set(struct metrics *metrics, unsigned row, int64_t value);

/* Observes a duration, in microseconds, for a row of either kind of histogram, which shows seconds.
 */
void metric_observe_us(struct metrics *metrics, unsigned row, int64_t us);

/* The current value of a counter or a gauge; of a histogram the sum, in microseconds. */
int64_t metric_read(const struct metrics *metrics, unsigned row);

/* All metrics as text, and those of the process (common/base/process_metrics.h). New string,
 * free(). */
char *metrics_text(const struct metrics *metrics);

#endif
