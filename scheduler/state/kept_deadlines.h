/*
 * kept_deadlines: the deadlines of live leases from before a recovery (after a lost change stream
 * or an unknown outcome). They are exact, on the scheduler's own clock. The deadlines that recovery
 * reads are dates of the database, and wrong if that clock was stepped. Belongs to the scheduler's
 * core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_KEPT_DEADLINES_H
#define SCHEDULER_STATE_KEPT_DEADLINES_H

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/state/lease_table.h"

struct kept_deadline;

/* By job; zeroed is empty. */
struct kept_deadlines {
    struct kept_deadline *deadlines; /* owned */
};

/* Adds the deadlines of all leases in the table. If a job is there already, the later attempt's
 * deadline is kept. */
void kept_deadlines_add(struct kept_deadlines *kept, const struct lease_table *leases);

/* Sets *deadline_ms (clock_boot_ms) of that attempt. False: it is not known. */
bool kept_deadlines_find(const struct kept_deadlines *kept, const char *job, uint32_t attempt,
                         int64_t *deadline_ms);

/* Removes and frees all deadlines. */
void kept_deadlines_clear(struct kept_deadlines *kept);

#endif
