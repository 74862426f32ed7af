/*
 * outlook: what goes before a job, and by how many graders at a time it is worked off. The work is
 * a fluid: what waits are milliseconds of graders' time, by the means of the job times
 * (state/job_times_table.h), and it is shared as scheduler/state/queue_order.h shares it: classes
 * one after another, courses by their weights, priorities one after another, submitters in equal
 * parts. A lane whose jobs other graders may run as well counts by the part of its graders that
 * this lane has, too. It costs time in proportion to the runs and graders; so it is asked for by
 * queries and now and then, never while jobs are handed out. Belongs to the scheduler's core
 * thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_OUTLOOK_H
#define SCHEDULER_RULES_OUTLOOK_H

#include "scheduler/state/scheduler.h"

/* Graders' time: the sum of so many jobs. */
struct outlook_work {
    double ms, variance, jobs;
    double doubt_ms; /* standard deviation, since the mean of the jobs is of few times */
};

/* A moment: milliseconds from now that are exceeded in half of all cases, and in a tenth. */
struct moment {
    double p50_ms, p90_ms;
};

struct outlook {
    double slots;                /* jobs that the graders may run at a time */
    struct outlook_work running; /* what is left of those that they run */
    struct outlook_work ahead;   /* what waits and goes before */
    struct outlook_work own;     /* what of both is of the same course */
    double most_own;             /* jobs of the course at a time; 0: no limit */
};

/* What goes before a job of the run, before which `own_jobs` of the run's own go. */
void outlook_of_run(struct scheduler *scheduler, struct active_run *run, double own_jobs,
                    struct outlook *outlook);

/* What goes before the end of all that waits in the lane. */
void outlook_of_lane(struct scheduler *scheduler, struct lane *lane, struct outlook *outlook);

/* All that waits and runs in the protocol, whoever may serve it. */
void outlook_of_protocol(struct scheduler *scheduler, enum protocol protocol,
                         struct outlook *outlook);

/* When the job begins behind all that, with so many graders more. */
struct moment outlook_start(const struct outlook *outlook, double more_slots);

/* How many of the slots are idle. */
double outlook_idle(const struct outlook *outlook, double more_slots);

#endif
