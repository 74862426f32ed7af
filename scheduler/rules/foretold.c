#include "scheduler/rules/foretold.h"

#include <math.h>

#include "scheduler/metrics.h"

enum {
    FIRST_MS = 10000, /* after the run was first seen */
    AGAIN_MS = 10000, /* if there was no estimate; and the least time left that is foretold */
};

bool foretold_is_due(const struct scheduler *scheduler, struct active_run *run)
{
    if (run->foretold_next_ms == 0)
        run->foretold_next_ms = scheduler->now_ms + FIRST_MS;
    if (run->is_paused) /* nobody could have foretold how long */
        run->foretold.count = 0;
    return !run->is_paused && run->foretold.count < FORETOLD_MAX &&
           scheduler->now_ms >= run->foretold_next_ms;
}

void foretold_note(const struct scheduler *scheduler, struct active_run *run, double p50_ms,
                   double p90_ms)
{
    struct foretold_ends *foretold = &run->foretold;
    run->foretold_next_ms = scheduler->now_ms + AGAIN_MS;
    if (p50_ms < AGAIN_MS)
        return;
    run->foretold_next_ms = scheduler->now_ms + llround(p50_ms / 2);
    foretold->list[foretold->count++] = (struct foretold_end){
        .at_ms = scheduler->date_ms,
        .p50_ms = scheduler->date_ms + llround(p50_ms),
        .p90_ms = scheduler->date_ms + llround(p90_ms)};
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
