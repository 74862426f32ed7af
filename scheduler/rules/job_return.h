/*
 * job_return: what follows when a grader returns a job because it can't run it: the lease has ended
 * (the API has recorded that), and the job goes to another worker without a failed attempt. Belongs
 * to the scheduler's core thread. Pure: no I/O, no clock.
 */
#ifndef SCHEDULER_RULES_JOB_RETURN_H
#define SCHEDULER_RULES_JOB_RETURN_H

#include "common/store/lease_store.h"
#include "scheduler/state/scheduler.h"

/* EVENT_RETURNED: may come twice, or after the job's result. */
void job_returned(struct scheduler *scheduler, const struct lease *returned);

#endif
