/*
 * played_core: the scheduler's rules with a world in which nothing fails or waits: each lease is
 * stored, each callback is answered, at once. For programs that play many hours, or measure what
 * the rules cost. (tests/simulation plays faults; it is slower by much.)
 */
#ifndef TESTS_NIGHT_PLAYED_CORE_H
#define TESTS_NIGHT_PLAYED_CORE_H

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/state/scheduler.h"

struct played_core {
    struct scheduler scheduler;
    int64_t signals, polls; /* numbers given so far */
    double decided_s;       /* processor time that the rules took */
    uint64_t handed_out;
    void *context;
    /* A grader has got a job. */
    void (*took)(void *context, const char *job, uint32_t attempt, const char *worker);
    /* The scheduler itself has given a job its result. */
    void (*gave_up)(void *context, const char *job);
};

/* An empty one; `max_attempts` as by --max-attempts. The caller sets context, took and gave_up. */
void played_core_init(struct played_core *core, uint32_t max_attempts);
void played_core_destroy(struct played_core *core);

/* Sets the time, milliseconds from the begin. */
void played_core_set_time(struct played_core *core, int64_t now_ms);

/* Replaces the settings; takes over what they own. */
void played_core_configure(struct played_core *core, struct scheduling *scheduling);

/* What happens at this time. None of it hands anything out before played_core_round. */
void played_core_register(struct played_core *core, const char *worker, const char *tags);
void played_core_start(struct played_core *core, const struct run *run);
void played_core_result(struct played_core *core, const char *job, const char *worker,
                        enum job_outcome outcome);
void played_core_return(struct played_core *core, const char *job, uint32_t attempt,
                        const char *worker);
/* Polls and heartbeats of workers, in one signal. */
void played_core_signal(struct played_core *core, const char *const *polling, size_t poll_count,
                        const char *const *beating, size_t beat_count);

/* Ticks, and hands out until there is nothing more to do at this time. */
void played_core_round(struct played_core *core);

#endif
