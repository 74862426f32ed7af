/*
 * A scheduler's state for the tests of its rules: without a driver, so that a test sets the time
 * and looks at the commands itself.
 */
#ifndef TESTS_UNIT_FAKE_SCHEDULER_H
#define TESTS_UNIT_FAKE_SCHEDULER_H

#include <stdlib.h>

#include "common/base/alloc.h"
#include "scheduler/metrics.h"
#include "scheduler/state/scheduler.h"

/* A new one at these times, with metrics of its own; for fake_scheduler_free. */
static inline struct scheduler *fake_scheduler_new(const struct scheduler_settings *settings,
                                                   int64_t now_ms, int64_t date_ms)
{
    struct scheduler *scheduler = bw_alloc(sizeof *scheduler);
    scheduler_init(scheduler, settings, scheduler_metrics_new());
    scheduler->now_ms = now_ms;
    scheduler->date_ms = date_ms;
    return scheduler;
}

/* The teardown of a test whose state is the scheduler. */
static inline int fake_scheduler_free(void **state)
{
    struct scheduler *scheduler = *state;
    metrics_free(scheduler->metrics);
    scheduler_destroy(scheduler);
    free(scheduler);
    return 0;
}

#endif
