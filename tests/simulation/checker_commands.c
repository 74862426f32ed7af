/* What a scheduler is told, and whether it may want what it then wants. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scheduler/state/queue.h"
#include "tests/simulation/sim_job_cancel.h"
#include "tests/simulation/sim_keys.h"
#include "tests/simulation/sim_return.h"
#include "tests/simulation/world.h"

enum { OPENS_MS = 2000, REPLICA_FRESH_MS = 6000, REDELIVERED = 2 };

static struct job_knowledge *job_knowledge(struct world *world, int scheduler, int run,
                                           uint32_t slot)
{
    return &world->checker.jobs[run][slot].known[scheduler];
}

/* ---- What it is told ---- */

void check_recovery_begins(struct world *world, int number)
{
    struct checker *checker = &world->checker;
    check_disturbed(world);
    checker->recovery[number] = ++checker->recoveries;
    checker->recovery_ms[number] = world->now_ms;
    for (int i = 0; i < REPLICAS; i++) {
        const struct replica *found = &world->database.replicas[i];
        const struct sim_replica *replica = &world->replicas[i];
        bool is_found = replica->is_up && strcmp(found->process, replica->self.process) == 0 &&
                        world_date_ms(world) - found->last_seen_ms <= REPLICA_FRESH_MS / 2;
        checker->replicas_found[number][i] = is_found ? replica->incarnation : 0;
    }
}

void check_result_known(struct world *world, int number, int run, uint32_t slot)
{
    job_knowledge(world, number, run, slot)->has_result = world->checker.recovery[number];
}

void check_run_known(struct world *world, int number, int run)
{
    check_keys_known(world, number, &world->database.runs[run].run);
    if (world->database.runs[run].run.cancelled_ms != 0)
        world->checker.cancel_known[run][number] = world->checker.recovery[number];
}

/* Which replicas are fresh, is a matter of dates. */
void check_clock_step(struct world *world)
{
    world->checker.stepped_ms = world->now_ms;
    for (int i = 0; i < SCHEDULERS; i++)
        if (world->schedulers[i].is_recovering)
            memset(world->checker.replicas_found[i], 0, sizeof world->checker.replicas_found[i]);
}

/* A process that knows a job's deadline keeps it. Another reads it: the job has the time that is
 * left by the dates, if that is possible, and else its whole limit. */
void check_lease_known(struct world *world, int number, int run, uint32_t slot,
                       const struct lease *lease)
{
    struct job_knowledge *known = job_knowledge(world, number, run, slot);
    int64_t left_ms = lease->deadline_ms - sim_scheduler_date_ms(world, number);
    bool is_known = known->deadline_attempt == lease->attempt &&
                    known->deadline_process == world->schedulers[number].incarnation;
    if (is_known || lease->end != LEASE_LIVE)
        return;
    if (left_ms <= 0 || left_ms > lease->limit_ms)
        left_ms = lease->limit_ms;
    known->deadline_attempt = lease->attempt;
    known->deadline_process = world->schedulers[number].incarnation;
    known->deadline_ms = world->now_ms + left_ms;
}

static void result_is_notified(struct world *world, int number, const struct result *result)
{
    int run;
    uint32_t slot;
    if (sim_job_find(world, result->job, &run, &slot) != NULL)
        check_result_known(world, number, run, slot);
}

static void note_outcome(struct world *world, int number, const struct sent_hand_out *sent,
                         const char *outcome)
{
    int run;
    uint32_t slot;
    if (sim_job_find(world, sent->job, &run, &slot) == NULL || outcome == NULL)
        return;
    struct job_knowledge *known = job_knowledge(world, number, run, slot);
    if (strcmp(outcome, "delivered") == 0) {
        known->is_delivered = world->checker.recovery[number];
        known->delivered_attempt = sent->attempt;
    }
    if (strcmp(outcome, "undeliverable") == 0) {
        known->is_undeliverable = world->checker.recovery[number];
        known->undeliverable_attempt = sent->attempt;
    }
}

static void callback_is_notified(struct world *world, int number, const struct callback *callback)
{
    if (callback->status != 200 || callback->sent_count == 0)
        return;
    json_t *reply = json_loads(callback->reply, 0, NULL);
    const json_t *outcomes = json_object_get(reply, "outcomes");
    for (size_t i = 0; i < callback->sent_count; i++)
        note_outcome(world, number, &callback->sent[i],
                     json_string_value(json_array_get(outcomes, i)));
    json_decref(reply);
}

void check_event(struct world *world, int number, const struct event *event)
{
    const struct scheduler *rules = &world->schedulers[number].core.scheduler;
    if (event->generation != rules->generation)
        return;
    if (event->kind == EVENT_RESULT)
        result_is_notified(world, number, &event->result);
    if (event->kind == EVENT_GIVEN_UP &&
        (event->given_up.outcome == COMMIT_DONE || event->given_up.outcome == COMMIT_DUPLICATE))
        result_is_notified(world, number, &event->given_up.result);
    if (event->kind == EVENT_RUN_CHANGED)
        check_keys_known(world, number, &event->run);
    if (event->kind == EVENT_RUN_CHANGED && event->run.cancelled_ms != 0)
        world->checker.cancel_known[sim_run_number(event->run.id)][number] =
            world->checker.recovery[number];
    if (event->kind == EVENT_CALLBACK)
        callback_is_notified(world, number, event->callback);
}

/* ---- What it wants ---- */

/* Every replica that it found has seen its term, or two seconds have passed. */
static void check_is_open(struct world *world, int number, struct subject subject)
{
    const struct sim_scheduler *scheduler = &world->schedulers[number];
    if (world->now_ms >= scheduler->opened_ms + OPENS_MS)
        return;
    for (int i = 0; i < REPLICAS; i++) {
        const struct sim_replica *replica = &world->replicas[i];
        uint32_t found = world->checker.replicas_found[number][i];
        if (found != 0 && replica->incarnation == found && replica->highest_term < scheduler->term)
            checker_fail(world, "I6", "a leader hands out before all replicas have seen its term",
                         subject);
    }
}

static void check_hand_out(struct world *world, int number, const struct lease *lease)
{
    int run;
    uint32_t slot;
    const struct sim_job *job = sim_job_find(world, lease->job, &run, &slot);
    int worker = sim_worker_number(lease->worker);
    struct subject subject = {run, (int)slot, (int)lease->attempt, worker};
    int64_t recovery = world->checker.recovery[number];
    if (job == NULL)
        return;
    bool is_course = world->database.runs[run].run.course[0] != '\0';
    if (is_course != (world->database.workers[worker].worker.protocol == PROTOCOL_COURSE))
        checker_fail(world, "I11", "a job goes to a grader of the other protocol", subject);
    if (job_knowledge(world, number, run, slot)->has_result == recovery)
        checker_fail(world, "I2", "a job is handed out whose result is known", subject);
    if (world->checker.cancel_known[run][number] == recovery)
        checker_fail(world, "I4", "a job of a run is handed out that is known to be cancelled",
                     subject);
    if (sim_pause_holds(world, run) && sim_scheduler_is_trusted(world, number))
        checker_fail(world, "I13", "a job is handed out after the pause of its run was answered",
                     subject);
    if (sim_pause_holds_worker(world, worker) && sim_scheduler_is_trusted(world, number))
        checker_fail(world, "I13", "a job is handed to a grader after its pause was answered",
                     subject);
    check_keys_hand_out(world, number, subject);
    check_cancel_hand_out(world, number, subject);
    check_is_open(world, number, subject);
    struct job_knowledge *knows = job_knowledge(world, number, run, slot);
    knows->deadline_attempt = lease->attempt;
    knows->deadline_process = world->schedulers[number].incarnation;
    knows->deadline_ms = world->now_ms + lease->limit_ms;
    const struct worker_table *workers = &world->schedulers[number].core.scheduler.workers;
    const struct known_worker *known = worker_table_find(workers, lease->worker);
    if (known != NULL && known->held == 1)
        world->checker.jobs[run][slot].only_attempt = lease->attempt;
}

/* "grader lost 2 times, deadline passed 1 time" */
static void describe(const struct failed_attempts *failed, char *text, size_t size)
{
    const char *const texts[] = {"grader lost", "deadline passed", "could not be delivered"};
    const uint32_t counts[] = {failed->lost, failed->expired, failed->undeliverable};
    size_t length = 0;
    text[0] = '\0';
    for (int i = 0; i < 3; i++)
        if (counts[i] > 0)
            length += (size_t)snprintf(text + length, size - length, "%s%s %u time%s",
                                       length > 0 ? ", " : "", texts[i], counts[i],
                                       counts[i] == 1 ? "" : "s");
}

static void check_give_up(struct world *world, const struct result *result)
{
    int run;
    uint32_t slot;
    char truth[REASON_SIZE];
    const struct sim_job *job = sim_job_find(world, result->job, &run, &slot);
    struct subject subject = {run, (int)slot, -1, -1};
    if (job == NULL || result->outcome != OUTCOME_FAILED)
        return;
    const char *reason;
    struct failed_attempts failed = checker_failed_attempts(world, run, slot);
    unsigned returns = check_returns(job, &reason);
    describe(&failed, truth, sizeof truth);
    bool is_returned = strstr(result->reason, "graders could not run it") != NULL;
    if (is_returned)
        snprintf(truth, sizeof truth, "%u graders could not run it: %s", returns, reason);
    if (result->owner != OWNER_INFRASTRUCTURE)
        checker_fail(world, "I3", "a job that is given up has another owner", subject);
    else if (is_returned && returns < RETURNED_MOST_WORKERS)
        checker_fail(world, "I3", "a job is given up before enough workers returned it", subject);
    else if (!is_returned && failed_attempts_total(&failed) < checker_max_attempts(world, run))
        checker_fail(world, "I3", "a job is given up before its attempts have failed", subject);
    else if (strcmp(truth, result->reason) != 0)
        checker_fail(world, "I3", "the reason of a job that is given up is not true", subject);
}

static void check_end(struct world *world, int number, const struct db_job *db_job)
{
    int run;
    uint32_t slot, attempt = db_job->lease.attempt;
    const struct sim_job *job = sim_job_find(world, db_job->lease.job, &run, &slot);
    const struct sim_attempt *found = job == NULL ? NULL : sim_attempt_find(job, attempt);
    if (found == NULL) {
        checker_fail(world, "I3", "a lease is to end that was never inserted", SUBJECT_NONE);
        return;
    }
    const struct job_truth *truth = &world->checker.jobs[run][slot];
    const struct job_knowledge *known = &truth->known[number];
    struct subject subject = {run, (int)slot, (int)attempt, sim_worker_number(found->lease.worker)};
    int64_t recovery = world->checker.recovery[number];
    bool is_redelivered = truth->sent_attempt == attempt && truth->sent_count > REDELIVERED;
    bool is_delivered = known->is_delivered == recovery && known->delivered_attempt == attempt;
    bool is_undeliverable = known->is_undeliverable == recovery &&
                            known->undeliverable_attempt == attempt;
    if (db_job->lease.end == LEASE_LOST)
        check_worker_lost(world, number, subject, is_redelivered);
    if (db_job->lease.end == LEASE_EXPIRED && known->deadline_attempt == attempt &&
        known->deadline_process == world->schedulers[number].incarnation &&
        world->now_ms < known->deadline_ms)
        checker_fail(world, "I9", "a job is taken away before its deadline", subject);
    if (db_job->lease.end == LEASE_UNDELIVERABLE && !is_undeliverable)
        checker_fail(world, "I3", "a job counts as undeliverable, which no replica has said",
                     subject);
    /* One that is being offered again may not have arrived. */
    const struct live_lease *lease = lease_table_find(
        &world->schedulers[number].core.scheduler.leases, db_job->lease.job);
    bool is_offered_again = truth->sent_count >= REDELIVERED ||
                            (lease != NULL && lease->redeliveries > 0);
    if (db_job->lease.end == LEASE_RELEASED && is_delivered && !is_offered_again)
        checker_fail(world, "I9", "a job is taken back that is known to be delivered", subject);
}

static void check_marks(struct world *world, int number, const struct db_job *db_job)
{
    for (size_t i = 0; i < db_job->marks.count; i++) {
        int worker = sim_worker_number(db_job->marks.list[i].id);
        if (!db_job->marks.list[i].is_alive)
            check_worker_lost(world, number, (struct subject){-1, -1, -1, worker}, false);
    }
}

static void check_sent(struct world *world, int number, const struct sent_hand_out *sent)
{
    int run;
    uint32_t slot;
    const struct sim_job *job = sim_job_find(world, sent->job, &run, &slot);
    const struct sim_attempt *attempt = job == NULL ? NULL : sim_attempt_find(job, sent->attempt);
    struct subject subject = {run, (int)slot, (int)sent->attempt, -1};
    if (attempt == NULL) {
        checker_fail(world, "I3", "a job is sent to a replica without a lease on record", subject);
        return;
    }
    struct job_truth *truth = &world->checker.jobs[run][slot];
    if (attempt->lease.end != LEASE_LIVE && attempt->lease.end != LEASE_RETURNED)
        checker_fail(world, "I3", "a job is sent to a replica whose lease has ended", subject);
    if (job_knowledge(world, number, run, slot)->has_result == world->checker.recovery[number])
        checker_fail(world, "I2", "a job is sent to a replica whose result is known", subject);
    check_is_open(world, number, subject);
    if (truth->sent_attempt != sent->attempt) {
        truth->sent_attempt = sent->attempt;
        truth->sent_count = 0;
    }
    truth->sent_count += truth->sent_count == 0 || truth->sent_poll != sent->poll;
    truth->sent_poll = sent->poll;
}

void check_command(struct world *world, int number, const struct command *command)
{
    if (command->kind == COMMAND_INSERT_LEASE)
        check_hand_out(world, number, &command->lease.lease);
    if (command->kind == COMMAND_INSERT_RESULT)
        check_give_up(world, &command->result);
    if (command->kind == COMMAND_SUBMIT_DB_JOB && command->db_job->kind == DB_JOB_END_LEASE)
        check_end(world, number, command->db_job);
    if (command->kind == COMMAND_SUBMIT_DB_JOB && command->db_job->kind == DB_JOB_MARK_WORKERS)
        check_marks(world, number, command->db_job);
    for (size_t i = 0; command->kind == COMMAND_POST_CALLBACK && i < command->callback->sent_count;
         i++)
        check_sent(world, number, &command->callback->sent[i]);
}
