/*
 * loop: the shared state of the load generator: one epoll, the targets, and the counts of faults.
 * One thread runs everything.
 */
#ifndef BENCH_LOAD_LOOP_H
#define BENCH_LOAD_LOOP_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/bench/load_link.h"

enum { TARGETS = 16 };

struct loop {
    int epoll;
    struct target targets[TARGETS];
    size_t target_count;
    const char *token; /* the cluster token */
    uint64_t lost;     /* connections that ended in the middle of a request */
    uint64_t refused;  /* answers that were neither success nor "no job" */
    char first_refusal[256];
    void (*tick)(void *context); /* called between events, if set */
    void *context;
};

void loop_open(struct loop *loop);

/* Handles events until `is_done` returns true. False: `limit_s` seconds have passed first. */
bool loop_run(struct loop *loop, bool (*is_done)(void *context), void *context, double limit_s);

/* Handles events until standard input is readable. */
void loop_wait_for_input(struct loop *loop);

/* Counts an unexpected answer. */
void loop_refused(struct loop *loop, const struct answer *answer);

#endif
