/*
 * foretold: when the end of a run was foretold, and for when. It is kept with the run, so that it
 * can be compared with what came true. Pure data.
 */
#ifndef COMMON_DOMAIN_FORETOLD_H
#define COMMON_DOMAIN_FORETOLD_H

#include <stddef.h>
#include <stdint.h>

enum { FORETOLD_MAX = 8 /* ends of one run that are kept */ };

/* Dates: UTC milliseconds since 1970. */
struct foretold_end {
    int64_t at_ms; /* when it was foretold */
    int64_t p50_ms, p90_ms;
};

struct foretold_ends {
    struct foretold_end list[FORETOLD_MAX];
    size_t count;
};

#endif
