/* What a replica does for graders and takes the database: registrations and results. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/simulation/sim_call.h"
#include "tests/simulation/sim_return.h"

/* What a replica says of a result that it can't take; the job fails by that. */
#define REFUSAL "the result is not valid JSON"

struct grader_call {
    struct sim_call call; /* first */
    int replica;
    struct poll_owner owner;
    struct worker worker; /* of a registration */
    int64_t former_epoch; /* 0: its first */
    struct subject job;   /* of a result */
    struct result result;
    int64_t nonce;
    enum commit_outcome outcome;
};

static void grader_call_send(struct world *world, struct grader_call *call, int replica,
                             struct poll_owner owner)
{
    call->replica = replica;
    call->owner = owner;
    call->call.dice = &world->replicas[replica].dice;
    call->call.incarnation = &world->replicas[replica].incarnation;
    sim_call_send(world, &call->call);
}

/* ---- Registrations ---- */

static void register_apply(struct world *world, struct sim_call *call)
{
    struct grader_call *registration = (struct grader_call *)call;
    bool is_done = registration->former_epoch == 0
                       ? sim_worker_insert(world, &registration->worker)
                       : sim_worker_renew(world, &registration->worker, registration->former_epoch);
    registration->outcome = is_done ? COMMIT_DONE : COMMIT_DUPLICATE;
}

static void register_answered(struct world *world, struct sim_call *call)
{
    struct grader_call *registration = (struct grader_call *)call;
    bool is_there = call->is_known && registration->outcome == COMMIT_DUPLICATE;
    bool is_course = registration->worker.protocol == PROTOCOL_COURSE;
    if (is_there && is_course && registration->former_epoch == 0)
        sim_replica_ask(world, registration->replica,
                        &(struct sim_query){.kind = QUERY_ALIVE,
                                            .worker = sim_worker_number(registration->worker.id),
                                            .run = -1,
                                            .owner = registration->owner});
    else /* a classic id is its own: it was registered by an earlier try */
        sim_grader_registered(world, registration->owner,
                              call->is_known && (!is_there || !is_course));
    free(registration);
}

/* The connection broke. */
static void register_left(struct world *world, struct sim_call *call)
{
    sim_grader_registered(world, ((struct grader_call *)call)->owner, false);
}

void sim_grader_register(struct world *world, int replica, struct poll_owner owner, int64_t epoch)
{
    const struct planned_grader *plan = &world->plan->graders[owner.grader];
    const struct sim_grader *grader = &world->graders[owner.grader];
    struct grader_call *call = bw_alloc(sizeof *call);
    struct worker *worker = &call->worker;
    worker->protocol = plan->kind >= GRADER_COURSE ? PROTOCOL_COURSE : PROTOCOL_CLASSIC;
    sim_worker_id(grader->worker, worker->protocol, worker->id);
    worker->concurrency = plan->kind == GRADER_PARALLEL ? plan->slots : 0;
    worker->sends_heartbeats = plan->kind != GRADER_SILENT;
    if (plan->kind != GRADER_SILENT && plan->kind != GRADER_PARALLEL)
        snprintf(worker->hostname, sizeof worker->hostname, "host-%d", owner.grader);
    worker->is_socket = plan->kind == GRADER_SOCKET;
    if (worker->is_socket) {
        snprintf(worker->replica, sizeof worker->replica, "%s", world->replicas[replica].self.id);
        snprintf(worker->process, sizeof worker->process, "%s",
                 world->replicas[replica].self.process);
    }
    call->former_epoch = epoch;
    call->call.apply = register_apply;
    call->call.left = register_left;
    call->call.answered = register_answered;
    grader_call_send(world, call, replica, owner);
}

/* ---- Results ---- */

static void result_apply(struct world *world, struct sim_call *call)
{
    struct grader_call *sent = (struct grader_call *)call;
    struct sim_run *run = &world->database.runs[sent->job.run];
    struct sim_job *job = &run->jobs[sent->job.slot];
    bool is_refused = strcmp(sent->result.reason, REFUSAL) == 0;
    if (run->is_hidden) { /* there is no such job any more */
        sent->outcome = COMMIT_REFUSED;
        check_late_result(world, sent->job);
        return;
    }
    job->has_log = job->has_log || !is_refused;
    if (call->is_partly)
        return; /* its log is there, it is not */
    sent->outcome = sim_result_insert(world, &sent->result, sent->nonce);
    if (is_refused && sent->outcome == COMMIT_DONE)
        check_refused(world, sent->job);
}

static void result_answered(struct world *world, struct sim_call *call)
{
    struct grader_call *sent = (struct grader_call *)call;
    struct sim_replica *replica = &world->replicas[sent->replica];
    if (call->is_known)
        sim_replica_finish(replica, sent->job.run, sent->job.slot);
    world_note(world, ACTOR_REPLICA, sent->replica,
               !call->is_known                ? "result not stored in time"
               : sent->outcome == COMMIT_DONE ? "result stored"
                                              : "result refused: there is one",
               sent->job, 0);
    sim_grader_reported(world, sent->owner, call->is_known);
    free(sent);
}

static void result_left(struct world *world, struct sim_call *call)
{
    sim_grader_reported(world, ((struct grader_call *)call)->owner, false);
}

/* What all jobs of a run with a breaker end with. */
#define SIGNATURE "0123456789abcdef"

static bool is_broken(const struct world *world, struct subject job)
{
    const struct sim_run *run = &world->database.runs[job.run];
    return world->plan->runs[job.run].breaker > 0 &&
           checker_slot_kind(run, (uint32_t)job.slot) == JOB_STUDENT;
}

void sim_grader_submit(struct world *world, int replica, struct poll_owner owner,
                       struct subject job, unsigned how)
{
    bool is_refused = (how & RESULT_REFUSED) != 0;
    if ((how & RESULT_RETURN) != 0) {
        sim_return_submit(world, replica, owner, job);
        return;
    }
    struct grader_call *call = bw_alloc(sizeof *call);
    sim_job_id(world, job.run, (uint32_t)job.slot, call->result.job);
    call->result.outcome = is_refused || (how & RESULT_FAILED) != 0 ? OUTCOME_FAILED
                                                                    : OUTCOME_SUCCEEDED;
    if (!is_refused && is_broken(world, job)) {
        call->result.outcome = OUTCOME_FAILED;
        snprintf(call->result.signature, sizeof call->result.signature, "%s", SIGNATURE);
    }
    call->result.is_silent = !is_refused && (how & RESULT_SILENT) != 0;
    if (is_refused)
        snprintf(call->result.reason, sizeof call->result.reason, "%s", REFUSAL);
    else
        snprintf(call->result.digest, sizeof call->result.digest, "%s", LOG_DIGEST);
    snprintf(call->result.worker, sizeof call->result.worker, "%s",
             world->database.workers[job.worker].worker.id);
    call->job = job;
    call->nonce = ++world->database.nonce;
    call->call.apply = result_apply;
    call->call.left = result_left;
    call->call.answered = result_answered;
    sim_replica_seen(world, replica, job.worker, SEEN_RESULT);
    grader_call_send(world, call, replica, owner);
}
