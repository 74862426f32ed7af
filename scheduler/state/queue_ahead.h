/*
 * queue_ahead: the jobs before a job in the order of all courses, and whose they are, as it looks
 * now: as if each job took what is usual for its course, and no other ones came. Of other
 * courses, jobs that no grader may run, and those of courses that run as many as they may, are
 * before nobody.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock, no allocation.
 */
#ifndef SCHEDULER_STATE_QUEUE_AHEAD_H
#define SCHEDULER_STATE_QUEUE_AHEAD_H

#include <stddef.h>
#include <stdint.h>

#include "scheduler/state/queue.h"

enum { QUEUE_AHEAD_COURSES = 20 };

struct queue_ahead_course {
    const struct course *course; /* borrowed until the queue changes */
    uint64_t jobs;
};

struct queue_ahead {
    uint64_t count;                                         /* all jobs that are before it */
    uint64_t of_run;                                        /* how many of them are of its run */
    struct queue_ahead_course courses[QUEUE_AHEAD_COURSES]; /* its own first */
    size_t course_count;
    uint64_t others;     /* jobs of courses that have no place in the list */
    uint32_t less_share; /* other courses that go first, since they had less of their share */
};

/* Fills *ahead for a job that is open in a run that is ready (queue_job_wait_reasons). */
void queue_ahead_find(const struct active_run *run, uint32_t slot, struct queue_ahead *ahead);

#endif
