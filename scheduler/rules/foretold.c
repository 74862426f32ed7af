#include "scheduler/rules/foretold.h"

#include <math.h>

#include "scheduler/metrics.h"
#include "scheduler/rules/estimate.h"

enum {
    STEP_MS = 1000,
    RUNS_AT_ONCE = 4,
    FIRST_MS = 10000, /* after the run was first seen */
    AGAIN_MS = 10000, /* if there was no estimate; and the least time left that is foretold */
};

static void foretold_make(struct scheduler *scheduler, struct active_run *run)
{
    struct estimate estimate;
    struct foretold_ends *foretold = &run->foretold;
    estimate_run(scheduler, run, &estimate);
    foretold->next_ms = scheduler->now_ms + AGAIN_MS;
    if (estimate.reason != NULL || estimate.ends.p50_ms < AGAIN_MS)
        return;
    foretold->next_ms = scheduler->now_ms + llround(estimate.ends.p50_ms / 2);
    foretold->list[foretold->count++] = (struct foretold_end){
        .at_ms = scheduler->date_ms,
        .p50_ms = scheduler->date_ms + llround(estimate.ends.p50_ms),
        .p90_ms = scheduler->date_ms + llround(estimate.ends.p90_ms)};
}

void foretold_tick(struct scheduler *scheduler)
{
    struct active_run *run, *following;
    unsigned made = 0;
    if (scheduler->now_ms < scheduler->foretold_ms)
        return;
    scheduler->foretold_ms = scheduler->now_ms + STEP_MS;
    HASH_ITER (hh, scheduler->queue.runs, run, following) {
        if (run->foretold.next_ms == 0)
            run->foretold.next_ms = scheduler->now_ms + FIRST_MS;
        if (run->is_paused) /* nobody could have foretold how long */
            run->foretold.count = 0;
        if (run->is_paused || run->foretold.count == FORETOLD_MAX || made == RUNS_AT_ONCE ||
            scheduler->now_ms < run->foretold.next_ms)
            continue;
        foretold_make(scheduler, run);
        made++;
    }
}

void foretold_run_ended(struct scheduler *scheduler, struct active_run *run)
{
    struct foretold_ends *foretold = &run->foretold;
    if (run->phase != RUN_FINISHED || run->run.cancelled_ms != 0)
        foretold->count = 0;
    for (size_t i = 0; i < foretold->count; i++) {
        const struct foretold_end *end = &foretold->list[i];
        double left_ms = fmax(1, (double)(scheduler->date_ms - end->at_ms));
        double error = fabs((double)(end->p50_ms - scheduler->date_ms)) / left_ms;
        metric_observe_us(scheduler->metrics, SCHEDULER_ESTIMATE_ERROR, llround(error * 1e6));
    }
}
