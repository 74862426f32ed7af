/* Who was heard when, and whether a worker may be taken for lost. */
#include <string.h>

#include "tests/simulation/world.h"

enum { NOTIFY_MS = 6000, NOTED_MS = 180 * 1000 };

static void worker_is_notified(struct world *world, const char *id, int64_t seen_ms)
{
    int number = sim_worker_number(id);
    if (number < 0)
        return;
    struct worker_truth *worker = &world->checker.workers[number];
    worker->seen[worker->next++ % SEEN_KEPT] = (struct seen_truth){seen_ms, world->now_ms};
}

void check_signal(struct world *world, const struct signal *signal)
{
    for (size_t i = 0; i < signal->seen_count; i++)
        worker_is_notified(world, signal->seen[i].worker, world->now_ms - signal->seen[i].age_ms);
    for (size_t i = 0; i < signal->poll_count; i++)
        worker_is_notified(world, signal->polls[i].worker, world->now_ms);
}

static void worker_is_not_notified(struct world *world, const char *id, int64_t notified_ms)
{
    int number = sim_worker_number(id);
    for (int i = 0; number >= 0 && i < SEEN_KEPT; i++)
        if (world->checker.workers[number].seen[i].notified_ms == notified_ms)
            world->checker.workers[number].seen[i] = (struct seen_truth){0, 0};
}

/* Whoever was heard in a signal that never came was not heard. */
void check_dropped(struct world *world, const struct change *change)
{
    if (change->kind != CHANGE_SIGNAL)
        return;
    const struct signal *signal = &change->signal->signal;
    for (size_t i = 0; i < signal->seen_count; i++)
        worker_is_not_notified(world, signal->seen[i].worker, change->at_ms);
    for (size_t i = 0; i < signal->poll_count; i++)
        worker_is_not_notified(world, signal->polls[i].worker, change->at_ms);
}

void check_socket_end(struct world *world, int worker)
{
    world->checker.workers[worker].socket_ended_ms = world->now_ms;
}

/* Its websocket ended, its replica restarted, or its id was registered again. */
static bool worker_has_left(const struct world *world, int number)
{
    const struct sim_worker *there = &world->database.workers[number];
    const struct worker *worker = &there->worker;
    int64_t ended_ms = world->checker.workers[number].socket_ended_ms;
    bool is_renewed = worker->epoch > 1 && world->now_ms - there->registered_ms < NOTED_MS;
    if (is_renewed || (ended_ms != 0 && world->now_ms - ended_ms < NOTED_MS))
        return true;
    for (int i = 0; worker->is_socket && i < REPLICAS; i++)
        if (strcmp(world->replicas[i].self.id, worker->replica) == 0)
            return strcmp(world->replicas[i].self.process, worker->process) != 0 ||
                   !world->replicas[i].is_up;
    return false;
}

/* Has its grader died? An open poll of it may still be handed a job. */
static bool worker_is_dead(const struct world *world, int worker)
{
    for (int i = 0; i < GRADERS; i++)
        if (world->graders[i].worker == worker && world->graders[i].is_alive)
            return false;
    return true;
}

/* Is it one of the polls that this scheduler was told of, and has not been told the end of? */
static bool poll_is_known(const struct world *world, int number, int replica,
                          const struct sim_poll *poll)
{
    const struct scheduler *rules = &world->schedulers[number].core.scheduler;
    const struct replica *self = &world->replicas[replica].self;
    const struct known_replica *known = replica_table_find(&rules->replicas, self->id);
    if (known == NULL || strcmp(known->process, self->process) != 0)
        return false;
    const struct parked_poll *parked = replica_find_poll(known, poll->number);
    return parked != NULL && parked->state != POLL_ANSWERED;
}

/* Has a poll of it waited for two heartbeats, as the scheduler knows, and since it was last taken
 * for lost, while it has no job? */
static bool worker_waits(const struct world *world, int number, int worker)
{
    const struct scheduler *rules = &world->schedulers[number].core.scheduler;
    const struct worker_truth *truth = &world->checker.workers[worker];
    int64_t before_ms = world->now_ms - 2 * world->plan->heartbeat_ms;
    const struct known_worker *known = worker_table_find(&rules->workers,
                                                         world->database.workers[worker].worker.id);
    if (known == NULL || known->held > 0 || world->checker.disturbed_ms > before_ms)
        return false;
    for (int i = 0; i < REPLICAS; i++) {
        const struct sim_replica *replica = &world->replicas[i];
        for (size_t at = 0; at < replica->poll_count; at++) {
            const struct sim_poll *poll = &replica->polls[at];
            if (poll->worker == worker && poll->parked_ms <= before_ms &&
                poll->parked_ms > truth->lost_ms && poll_is_known(world, number, i, poll))
                return true;
        }
    }
    return false;
}

static void check_loss(struct world *world, int number, struct subject subject)
{
    const struct worker_truth *worker = &world->checker.workers[subject.worker];
    if (worker_has_left(world, subject.worker) || worker_is_dead(world, subject.worker))
        return;
    if (subject.run < 0 && worker_waits(world, number, subject.worker))
        checker_fail(world, "I9", "a worker is taken for lost whose poll waits", subject);
    if (subject.run >= 0 &&
        world->checker.jobs[subject.run][subject.slot].only_attempt == (uint32_t)subject.attempt) {
        const struct sim_job *job = &world->database.runs[subject.run].jobs[subject.slot];
        const struct sim_attempt *attempt = sim_attempt_find(job, (uint32_t)subject.attempt);
        if (world->now_ms - attempt->inserted_ms < 2 * world->plan->heartbeat_ms)
            checker_fail(world, "I9", "a worker is taken for lost that was just handed a job",
                         subject);
    }
    for (int i = 0; i < SEEN_KEPT; i++) {
        const struct seen_truth *seen = &worker->seen[i];
        if (seen->notified_ms != 0 && seen->notified_ms <= world->now_ms - NOTIFY_MS &&
            seen->seen_ms > world->now_ms - 2 * world->plan->heartbeat_ms)
            checker_fail(world, "I9", "a worker is taken for lost that was heard", subject);
    }
}

void check_worker_lost(struct world *world, int number, struct subject subject, bool is_redelivered)
{
    if (!is_redelivered)
        check_loss(world, number, subject);
    if (subject.run >= 0)
        world->checker.workers[subject.worker].lost_ms = world->now_ms;
}
