/*
 * queue_position: where a job stands among those of its course: what front ends show. A job counts
 * as waiting until its hand-out is on record; those that are just being handed out are the first. A
 * job that waits for its pause after a lost attempt comes behind those that could go now.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_QUEUE_POSITION_H
#define SCHEDULER_STATE_QUEUE_POSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/state/queue.h"

/* How many jobs of the course wait; 0 for a course that has none. */
uint64_t queue_course_length(const struct queue *queue, const char *course);

/* How many jobs of its course are before this one; false: it does not stand in the queue. */
bool queue_position(const struct queue *queue, const struct active_run *run, uint32_t slot,
                    uint64_t *ahead);

#endif
