#include "tests/simulation/sim_return.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "scheduler/state/returned_jobs.h"
#include "tests/simulation/sim_call.h"

enum {
    DICE_HOUR = 70,
    DICE_JOB,
    DICE_ATTEMPT,
    HOURS_PER_MILLE = 250,
    JOBS_PER_MILLE = 15,    /* that no grader can run */
    ATTEMPTS_PER_MILLE = 40 /* of the others */
};

struct return_call {
    struct sim_call call; /* first */
    int replica;
    struct poll_owner owner;
    struct subject job;
};

bool sim_return_is_due(const struct world *world, struct subject job)
{
    uint64_t seed = world->plan->seed, number = (uint64_t)job.run * 1000 + (uint64_t)job.slot;
    struct dice hour = dice_make(seed, DICE_HOUR, 0), of_job = dice_make(seed, DICE_JOB, number),
                of_attempt = dice_make(seed, DICE_ATTEMPT, number * 1000 + (uint64_t)job.attempt);
    return world->now_ms < QUIET_MS && dice_chance(&hour, HOURS_PER_MILLE) &&
           (dice_chance(&of_job, JOBS_PER_MILLE) || dice_chance(&of_attempt, ATTEMPTS_PER_MILLE));
}

/* ---- A replica ---- */

/* The worker's last attempt of the job. */
static const struct sim_attempt *last_attempt(const struct sim_job *job, int worker)
{
    const struct sim_attempt *last = NULL;
    for (uint32_t i = 0; i < job->attempt_room; i++)
        if (job->attempts[i].exists && sim_worker_number(job->attempts[i].lease.worker) == worker)
            last = &job->attempts[i];
    return last;
}

/* As api/grading/job_return: the lease that it reads is ended, if nothing else has ended it. */
static void return_apply(struct world *world, struct sim_call *call)
{
    const struct subject *job = &((struct return_call *)call)->job;
    const struct sim_run *run = &world->database.runs[job->run];
    const struct sim_attempt *last = last_attempt(&run->jobs[job->slot], job->worker);
    if (run->is_hidden || last == NULL || run->jobs[job->slot].result != NULL)
        return;
    sim_lease_return(world, job->run, (uint32_t)job->slot, last->lease.attempt);
}

static void return_answered(struct world *world, struct sim_call *call)
{
    struct return_call *sent = (struct return_call *)call;
    sim_grader_reported(world, sent->owner, call->is_known);
    free(sent);
}

static void return_left(struct world *world, struct sim_call *call)
{
    sim_grader_reported(world, ((struct return_call *)call)->owner, false);
}

void sim_return_submit(struct world *world, int replica, struct poll_owner owner,
                       struct subject job)
{
    struct return_call *call = bw_alloc(sizeof *call);
    call->replica = replica;
    call->owner = owner;
    call->job = job;
    call->call.dice = &world->replicas[replica].dice;
    call->call.incarnation = &world->replicas[replica].incarnation;
    call->call.apply = return_apply;
    call->call.left = return_left;
    call->call.answered = return_answered;
    sim_replica_seen(world, replica, job.worker, SEEN_RESULT);
    sim_call_send(world, &call->call);
}

struct event *sim_return_event(struct world *world, const char *id, uint32_t attempt,
                               int64_t generation)
{
    int run;
    uint32_t slot;
    const struct sim_job *job = sim_job_find(world, id, &run, &slot);
    const struct sim_attempt *found = job == NULL ? NULL : sim_attempt_find(job, attempt);
    if (found == NULL || found->lease.end != LEASE_RETURNED)
        return NULL;
    struct event *event = event_new(EVENT_RETURNED, generation);
    event->returned = found->lease;
    return event;
}

/* ---- The checks ---- */

/* Is it the first one that its worker has returned? */
static bool is_first_return(const struct sim_job *job, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++)
        if (job->attempts[i].exists && job->attempts[i].lease.end == LEASE_RETURNED &&
            strcmp(job->attempts[i].lease.worker, job->attempts[at].lease.worker) == 0)
            return false;
    return true;
}

unsigned check_returns(const struct sim_job *job, const char **reason)
{
    unsigned workers = 0;
    *reason = "";
    for (uint32_t i = 0; i < job->attempt_room; i++) {
        if (!job->attempts[i].exists || job->attempts[i].lease.end != LEASE_RETURNED)
            continue;
        *reason = job->attempts[i].lease.reason;
        workers += is_first_return(job, i);
    }
    return workers;
}

bool check_is_returned(const struct sim_job *job)
{
    const char *reason;
    return check_returns(job, &reason) > 0;
}

void check_return_insert(struct world *world, int number, uint32_t slot, const struct lease *lease)
{
    const struct sim_job *job = &world->database.runs[number].jobs[slot];
    const char *reason;
    struct subject subject = {number, (int)slot, (int)lease->attempt,
                              sim_worker_number(lease->worker)};
    if (check_returns(job, &reason) >= RETURNED_MOST_WORKERS)
        checker_fail(world, "I3", "a job is handed out that enough workers have returned", subject);
    for (uint32_t i = 0; i < job->attempt_room; i++)
        if (job->attempts[i].exists && job->attempts[i].lease.end == LEASE_RETURNED &&
            strcmp(job->attempts[i].lease.worker, lease->worker) == 0 &&
            world->now_ms < job->attempts[i].ended_ms + RETURNED_PAUSE_MS)
            checker_fail(world, "I3", "a job goes back at once to a worker that has returned it",
                         subject);
}
