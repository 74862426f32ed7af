/*
 * duration_buckets: durations counted in buckets whose limits grow by a fixed factor, so that any
 * quantile of them is known within a tenth, from the fewest bytes. Two of them can be added. Pure:
 * the caller serializes.
 */
#ifndef COMMON_DOMAIN_DURATION_BUCKETS_H
#define COMMON_DOMAIN_DURATION_BUCKETS_H

#include <stdint.h>

/* Bucket 0 has what takes at most 1 ms; each limit is 2^(1/4) times the one before. The last bucket
 * has all that takes longer than 44 days. */
enum { DURATION_BUCKETS = 128 };

struct duration_buckets {
    uint32_t counts[DURATION_BUCKETS];
};

/* Counts a duration; a negative one as 0. */
void duration_buckets_add(struct duration_buckets *buckets, int64_t ms);

/* Adds all that `from` has counted. */
void duration_buckets_merge(struct duration_buckets *buckets, const struct duration_buckets *from);

/* How many durations were counted. */
uint64_t duration_buckets_count(const struct duration_buckets *buckets);

/* The duration in milliseconds that the share `quantile` (0..1) of those counted does not exceed:
 * the middle of its bucket, which is off by 9 % at most; 0: none was counted. */
int64_t duration_buckets_quantile(const struct duration_buckets *buckets, double quantile);

#endif
