#include "api/metrics.h"

/* The rows of the table in metrics.h. */
static const struct metric_row rows[] = {
#define API_METRIC_ROW(place, name, label, kind, help) {name, label, kind, help},
    API_METRIC_MAP(API_METRIC_ROW)
#undef API_METRIC_ROW
};

struct metrics *api_metrics_new(void)
{
    return metrics_new(rows, sizeof rows / sizeof *rows);
}
