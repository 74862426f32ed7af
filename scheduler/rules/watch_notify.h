/*
 * watching: what those who follow a job or a run are told: where it stands in the queue, that it
 * was started, how it ended; how far a run has come. Only what is watched is computed, and only
 * changes are told. With many watches positions are told in steps, so that telling never costs more
 * than handing out. Belongs to the scheduler's core thread.
 */
#ifndef SCHEDULER_RULES_WATCH_NOTIFY_H
#define SCHEDULER_RULES_WATCH_NOTIFY_H

#include "scheduler/core/core.h"

/* What a signal says of watches. */
void hear_watches(struct core *core, struct known_replica *replica, const struct signal *signal);

/* Tells what has changed, if it is time. */
void watching_round(struct core *core);

#endif
