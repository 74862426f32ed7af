/*
 * kept_deadlines: the deadlines of the live leases that a scheduler knew before it read everything
 * again (a lost change stream, an unknown outcome). They are on its own clock and exact, while
 * those that it reads are dates of the database, which a step of that clock sets apart. Belongs to
 * the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_KEPT_DEADLINES_H
#define SCHEDULER_STATE_KEPT_DEADLINES_H

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/state/lease_table.h"

struct kept_deadline;

/* By job; zeroed is empty. */
struct kept_deadlines {
    struct kept_deadline *deadlines; /* own */
};

/* Adds those of all leases in the table; of a job that is there already the later attempt's stays.
 */
void kept_deadlines_add(struct kept_deadlines *kept, const struct lease_table *leases);

/* The deadline of that attempt, clock_boot_ms. False: it is not known. */
bool kept_deadlines_find(const struct kept_deadlines *kept, const char *job, uint32_t attempt,
                         int64_t *deadline_ms);

void kept_deadlines_clear(struct kept_deadlines *kept);

#endif
