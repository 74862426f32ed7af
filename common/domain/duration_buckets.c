#include "common/domain/duration_buckets.h"

#include <math.h>

enum { BUCKETS_PER_DOUBLING = 4 };

void duration_buckets_add(struct duration_buckets *buckets, int64_t ms)
{
    double bucket = ms <= 1 ? 0 : ceil(log2((double)ms) * BUCKETS_PER_DOUBLING);
    buckets->counts[bucket < DURATION_BUCKETS ? (unsigned)bucket : DURATION_BUCKETS - 1]++;
}

void duration_buckets_merge(struct duration_buckets *buckets, const struct duration_buckets *from)
{
    for (unsigned i = 0; i < DURATION_BUCKETS; i++)
        buckets->counts[i] += from->counts[i];
}

uint64_t duration_buckets_count(const struct duration_buckets *buckets)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < DURATION_BUCKETS; i++)
        count += buckets->counts[i];
    return count;
}

/* The geometric middle of a bucket's limits. */
static int64_t duration_buckets_middle(unsigned bucket)
{
    return llround(exp2(((double)bucket - 0.5) / BUCKETS_PER_DOUBLING));
}

int64_t duration_buckets_quantile(const struct duration_buckets *buckets, double quantile)
{
    double rank = quantile * (double)duration_buckets_count(buckets);
    double passed = 0;
    for (unsigned i = 0; i < DURATION_BUCKETS; i++) {
        passed += buckets->counts[i];
        if (buckets->counts[i] > 0 && passed >= rank)
            return duration_buckets_middle(i);
    }
    return 0;
}
