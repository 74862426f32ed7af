/*
 * breaker: pauses a run whose first jobs all fail in the same way: `limit` students' jobs that
 * ended first, each with the same signature (common/domain/failure_signature.h). One job that ends
 * otherwise decides that it never does; jobs that were cancelled or superseded do not count. Pure;
 * safe from any thread.
 */
#ifndef COMMON_DOMAIN_BREAKER_H
#define COMMON_DOMAIN_BREAKER_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"
#include "common/domain/failure_signature.h"
#include "common/domain/run.h"

enum { BREAKER_DEFAULT = 20, BREAKER_MIN = 2, BREAKER_MAX = 100000 };

/* Stored with the run, beside the summary that counts the same jobs. */
struct breaker {
    uint32_t limit;                 /* 0: the run has none */
    uint32_t count;                 /* jobs that have ended, all with this signature */
    char signature[SIGNATURE_SIZE]; /* "": none has ended */
    bool is_over;                   /* it has paused the run, or never will */
};

/* Checks the argument "breaker" of a submission: an integer, or false. For a field table. */
enum bw_code breaker_check(const json_t *value, const char *path, const void *context,
                           struct bw_error *error);

/* The limit that the argument asks for (NULL: it is absent): 0 if there is to be no breaker. */
uint32_t breaker_limit(const json_t *value);

/* A student's job has ended. `signature`: of its failure, "": none. */
void breaker_note(struct breaker *breaker, enum job_outcome outcome, const char *signature);

/* Whether the run is to be paused. */
bool breaker_is_due(const struct breaker *breaker);

#endif
