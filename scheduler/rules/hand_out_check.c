#include "scheduler/rules/hand_out_check.h"

#include <utlist.h>

/* Why none of the worker's polls could be answered. */
static uint64_t hand_out_polls_reasons(const struct known_worker *worker)
{
    const struct parked_poll *poll;
    DL_FOREACH2 (worker->polls, poll, worker_next)
        if (poll->replica->in_contact)
            return 0;
    if (worker->polls != NULL)
        return wait_bit(WAIT_REPLICA_SILENT, true);
    return wait_bit(WAIT_GRADER_NOT_ASKING, true) |
           wait_bit(WAIT_GRADER_FAULTY, worker->fault[0] != '\0');
}

uint64_t hand_out_worker_reasons(const struct scheduler *scheduler,
                                 const struct known_worker *worker)
{
    return worker_wait_reasons(worker, scheduler->now_ms) | hand_out_polls_reasons(worker);
}

/* Why a job is offered to nobody that has a lease. */
static uint64_t hand_out_lease_reasons(const struct live_lease *lease)
{
    return wait_bit(lease->state == LEASE_ENDING ? WAIT_ATTEMPT_ENDING : WAIT_HANDING_OUT, true);
}

uint64_t hand_out_job_reasons(const struct scheduler *scheduler, const struct active_run *run,
                              uint32_t slot)
{
    char id[JOB_ID_SIZE];
    enum job_kind kind;
    uint32_t index;
    run_slot_job(run->run.has_pre, run->run.students, slot, &kind, &index);
    const struct live_lease *lease = lease_table_find(&scheduler->leases,
                                                      job_id_make(run->run.id, kind, index, id));
    if (lease != NULL)
        return hand_out_lease_reasons(lease);
    return queue_job_wait_reasons(run, slot) | course_wait_reasons(run->course);
}

uint64_t hand_out_match_reasons(const struct scheduler *scheduler, const struct active_run *run,
                                uint32_t slot, const struct known_worker *worker)
{
    const struct lane *lane = run->submitter->lane;
    if (worker->group == NULL) /* known by a lease alone: its registration is gone */
        return wait_bit(WAIT_GRADER_NOT_ASKING, true);
    const struct returned_job *returned = returned_jobs_find(run->returned, slot);
    bool is_excluded = returned_job_excludes(returned, worker->id, scheduler->now_ms);
    return wait_bit(WAIT_RETURNED, is_excluded) |
           worker_group_wait_reasons(&scheduler->groups, worker->group, lane->course->protocol,
                                     lane->course->name, lane->run_class, lane->requires);
}

uint64_t hand_out_reasons(const struct scheduler *scheduler, const struct active_run *run,
                          uint32_t slot, const struct known_worker *worker)
{
    return hand_out_leader_reasons(scheduler) | hand_out_job_reasons(scheduler, run, slot) |
           hand_out_match_reasons(scheduler, run, slot, worker) |
           hand_out_worker_reasons(scheduler, worker);
}
