/*
 * estimate: when a job, a run or all jobs of a course that wait will be done, by what is known of
 * how long jobs take (rules/job_times) and of what goes before (rules/outlook). Estimates are made
 * when they are asked for; for a run without times of such jobs, one that is paused, or one that no
 * grader may run there is none, but a reason. Belongs to the scheduler's core thread. Pure: no I/O,
 * no clock.
 */
#ifndef SCHEDULER_RULES_ESTIMATE_H
#define SCHEDULER_RULES_ESTIMATE_H

#include <jansson.h>

#include "scheduler/rules/outlook.h"
#include "scheduler/state/scheduler.h"

enum { ESTIMATE_MORE = 7 /* how many numbers of more graders are tried */ };

struct estimate {
    const char *reason;         /* why there is none; static; NULL: there is one */
    bool has_starts;            /* the job waits, or a job of the run does, or it has begun */
    struct moment starts, ends; /* milliseconds from now; before now: negative */
    enum job_times_level level; /* by which times */
    uint64_t seen;              /* how many of them were seen */
    double slots;               /* jobs that the graders may run at a time */
    bool has_more;
    struct moment more[ESTIMATE_MORE]; /* the end with 1, 2, 4, 6, 8, 12, 16 more */
};

/* When the run ends, and when the next of its waiting jobs begins. */
void estimate_run(struct scheduler *scheduler, struct active_run *run, struct estimate *estimate);

/* The answer to QUERY_ESTIMATE about a job or a run, by its id, as docs/schemas/estimate.json
 * describes it. New reference. */
json_t *estimate_subject_json(struct scheduler *scheduler, const char *id);

/* The same for all jobs of the course that wait: QUERY_ESTIMATE_COURSE. */
json_t *estimate_course_json(struct scheduler *scheduler, const char *course);

/* {"at", "starts", "ends"} of that. New reference. */
json_t *estimate_dates_json(const struct scheduler *scheduler, const struct estimate *estimate);

/* Every five seconds: foretells the ends of a few runs (rules/foretold). Every ten seconds: the
 * metrics of all that waits. */
void estimate_tick(struct scheduler *scheduler);

#endif
