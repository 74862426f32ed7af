#include "scheduler/metrics.h"

/* The rows of the table in metrics.h. */
static const struct metric_row rows[] = {
#define SCHEDULER_METRIC_ROW(place, name, label, kind, help) {name, label, kind, help},
    SCHEDULER_METRIC_MAP(SCHEDULER_METRIC_ROW)
#undef SCHEDULER_METRIC_ROW
};

struct metrics *scheduler_metrics_new(void)
{
    return metrics_new(rows, sizeof rows / sizeof *rows);
}
