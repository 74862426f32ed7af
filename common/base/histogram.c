#include "common/base/histogram.h"

static const int64_t limits_us[][HISTOGRAM_BUCKETS] = {
    [HISTOGRAM_LATENCY] = {500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000,
                           5000000, 20000000},
    [HISTOGRAM_WAIT] = {INT64_C(100000), INT64_C(1000000), INT64_C(5000000), INT64_C(15000000),
                        INT64_C(60000000), INT64_C(300000000), INT64_C(900000000),
                        INT64_C(1800000000), INT64_C(3600000000), INT64_C(10800000000),
                        INT64_C(21600000000), INT64_C(86400000000)},
};

void histogram_observe_us(struct histogram *histogram, enum histogram_scale scale, int64_t us)
{
    int bucket = 0;
    if (us < 0)
        us = 0;
    while (bucket < HISTOGRAM_BUCKETS && us > limits_us[scale][bucket])
        bucket++;
    atomic_fetch_add_explicit(&histogram->observed[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum_us, us, memory_order_relaxed);
}

void histogram_print(FILE *out, const struct histogram *histogram, enum histogram_scale scale,
                     const char *name, const char *label)
{
    const char *own = label != NULL ? label : "", *comma = label != NULL ? "," : "";
    const char *open = label != NULL ? "{" : "", *close = label != NULL ? "}" : "";
    int64_t total = 0;
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        total += atomic_load(&histogram->observed[i]);
        fprintf(out, "%s_bucket{%s%sle=\"%g\"} %lld\n", name, own, comma,
                (double)limits_us[scale][i] / 1e6, (long long)total);
    }
    total += atomic_load(&histogram->observed[HISTOGRAM_BUCKETS]);
    fprintf(out, "%s_bucket{%s%sle=\"+Inf\"} %lld\n", name, own, comma, (long long)total);
    fprintf(out, "%s_sum%s%s%s %.6f\n", name, open, own, close,
            (double)atomic_load(&histogram->sum_us) / 1e6);
    fprintf(out, "%s_count%s%s%s %lld\n", name, open, own, close, (long long)total);
}
