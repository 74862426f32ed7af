/*
 * queue_position: a job's position among the queued jobs of its course, for front ends to show. A
 * job counts as queued until its lease is stored; jobs whose lease is being inserted come first. A
 * job that pauses after a failed attempt comes after the jobs that could be handed out now.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_STATE_QUEUE_POSITION_H
#define SCHEDULER_STATE_QUEUE_POSITION_H

#include <stdbool.h>
#include <stdint.h>

#include "scheduler/state/queue.h"

/* The number of queued jobs of the course; 0 for an unknown course. */
uint64_t queue_course_length(const struct queue *queue, const char *course);

/* The number of queued jobs of that protocol's runs. */
uint64_t queue_protocol_length(const struct queue *queue, enum protocol protocol);

/* Sets the position: how many jobs of the course are before this one, as it looks now: those of
 * other submitters as if each job took what is usual. Lanes of the same class and priority whose
 * jobs require other tags don't count. False: the job is not queued. */
bool queue_position(const struct active_run *run, uint32_t slot, uint64_t *ahead);

/* How many jobs of its own run are before a queued job. */
uint64_t queue_before_in_run(const struct active_run *run, uint32_t slot);

/* How many jobs of the lane could be handed out now. */
uint64_t queue_lane_length(const struct lane *lane);

#endif
