/*
 * hand_out_check: whether a job is handed out, and whether a grader gets it. Each function answers
 * with the reasons against it, as a set (common/domain/wait_reason.h); 0: none. rules/dispatch
 * decides by these functions and by those of scheduler/state that they are made of; rules/explain
 * says by the same why a job or a grader waits. So the two can't differ.
 *
 * Belongs to the scheduler's core thread. Pure: no I/O, no clock, no allocation.
 */
#ifndef SCHEDULER_RULES_HAND_OUT_CHECK_H
#define SCHEDULER_RULES_HAND_OUT_CHECK_H

#include <stdint.h>

#include "scheduler/state/scheduler.h"

/* Why nothing is handed out at all. */
static inline uint64_t hand_out_leader_reasons(const struct scheduler *scheduler)
{
    return wait_bit(WAIT_LEADER_STOPPING, scheduler->is_stopping) |
           wait_bit(WAIT_LEADER_STARTING, scheduler->now_ms < scheduler->opens_ms);
}

/* Why this waiting poll is not answered with a job, whichever it is. */
static inline uint64_t hand_out_poll_reasons(const struct scheduler *scheduler,
                                             const struct parked_poll *poll)
{
    return wait_bit(WAIT_REPLICA_SILENT, !poll->replica->in_contact) |
           worker_wait_reasons(poll->worker, scheduler->now_ms);
}

/* Why the worker gets no job now, whichever it is: with no poll that waits, also whether that is
 * since it says that it has a fault. */
uint64_t hand_out_worker_reasons(const struct scheduler *scheduler,
                                 const struct known_worker *worker);

/* Why the job at `slot`, which has no result and is not at a grader, is offered to nobody. */
uint64_t hand_out_job_reasons(const struct scheduler *scheduler, const struct active_run *run,
                              uint32_t slot);

/* Why the worker may not have that job, whatever else it may have. */
uint64_t hand_out_match_reasons(const struct scheduler *scheduler, const struct active_run *run,
                                uint32_t slot, const struct known_worker *worker);

/* Why the job is not handed to that worker: all of the above. For tests. */
uint64_t hand_out_reasons(const struct scheduler *scheduler, const struct active_run *run,
                          uint32_t slot, const struct known_worker *worker);

#endif
