#include <string.h>

#include "common/log.h"
#include "scheduler/core.h"
#include "scheduler/scheduler_metrics.h"

/* A worker was heard: perhaps it lives again. */
void hear_of_life(struct core *core, struct known_worker *worker, int64_t heard_ms,
                  const char *replica)
{
    if (!worker_heard(&core->workers, worker, heard_ms, replica))
        return;
    log_info("worker lives again", log_text("replica", replica));
    struct chore *chore = chore_new(CHORE_MARK_WORKER, core->generation);
    snprintf(chore->worker.id, sizeof chore->worker.id, "%s", worker->id);
    chore->worker.is_alive = true;
    chore->worker.last_seen_ms = database_now_ms(core->database);
    chores_submit(core->chores, chore);
}

void hear_worker(struct core *core, const struct worker *worker)
{
    struct known_worker *known = worker_table_find(&core->workers, worker->id);
    if (known != NULL && known->epoch >= worker->epoch)
        return;
    if (known != NULL) {
        worker_registered_again(core, known, worker);
        return;
    }
    known = worker_table_add(&core->workers, worker->id, worker->concurrency, worker->is_alive,
                             core->now_ms);
    worker_describe(known, worker);
}

static void hear_polls(struct core *core, struct known_replica *replica,
                       const struct signal *signal)
{
    for (size_t i = 0; i < signal->poll_count; i++) {
        const struct signal_poll *heard = &signal->polls[i];
        struct known_worker *worker = worker_table_find(&core->workers, heard->worker);
        if (worker == NULL) {
            if (heard->is_final)
                answer_empty(core, replica, heard->poll);
            continue;
        }
        hear_of_life(core, worker, core->now_ms, replica->id);
        replica_park(&core->replicas, replica, worker, heard->poll, heard->is_final);
    }
}

static void hear_gone(struct core *core, struct known_replica *replica, const struct signal *signal)
{
    for (size_t i = 0; i < signal->gone_count; i++) {
        struct parked_poll *poll = replica_find_poll(replica, signal->gone[i]);
        if (poll != NULL && poll->state == POLL_WAITING)
            poll_answered(&core->replicas, poll, core->now_ms);
    }
}

static void hear_heartbeats(struct core *core, struct known_replica *replica,
                            const struct signal *signal)
{
    for (size_t i = 0; i < signal->heard_count; i++) {
        const struct signal_heard *heard = &signal->heard[i];
        struct known_worker *worker = worker_table_find(&core->workers, heard->worker);
        if (worker == NULL)
            continue;
        hear_of_life(core, worker, core->now_ms - heard->age_ms, replica->id);
        if (heard->kind == HEARD_HEARTBEAT)
            worker_beat(&core->workers, worker);
    }
}

/* The hand-outs that the replica delivered reached their workers, as far as anyone can know. */
static void hear_deliveries(struct core *core, const struct signal *signal)
{
    for (size_t i = 0; i < signal->delivery_count; i++) {
        const struct signal_delivery *delivery = &signal->deliveries[i];
        struct live_lease *lease = lease_table_find(&core->leases, delivery->job);
        if (lease != NULL && lease->attempt == delivery->attempt &&
            lease->state == LEASE_UNCONFIRMED)
            lease_is_delivered(core, lease);
    }
}

/* What an announcement does not name is over. */
static void drop_unlisted(struct core *core, struct known_replica *replica)
{
    struct parked_poll *poll, *following;
    HASH_ITER (hh, replica->polls, poll, following)
        if (poll->state == POLL_WAITING && !poll->is_listed)
            poll_answered(&core->replicas, poll, core->now_ms);
}

static void hear_announcement(struct core *core, struct known_replica *replica,
                              const struct signal *signal)
{
    struct parked_poll *poll, *following;
    HASH_ITER (hh, replica->polls, poll, following)
        poll->is_listed = false;
    hear_polls(core, replica, signal);
    drop_unlisted(core, replica);
    hear_deliveries(core, signal);
    replica->has_announced = true;
    replica->mismatches = 0;
}

/* A sign of life tells whether a signal was lost. While hand-outs are under way the two sides may
 * rightly differ. */
static void compare_checksum(struct known_replica *replica, const struct signal *signal)
{
    int64_t count, checksum;
    if (replica->matched > 0 || replica->is_busy)
        return;
    replica_checksum(replica, &count, &checksum);
    if (count == signal->parked_count && checksum == signal->parked_checksum) {
        replica->mismatches = 0;
        return;
    }
    if (++replica->mismatches < 2)
        return;
    replica->mismatches = 0;
    replica->wants_announcement = true;
}

static struct known_replica *find_replica(struct core *core, const struct signal *signal)
{
    struct known_replica *replica = replica_table_find(&core->replicas, signal->replica.id);
    if (replica == NULL) {
        replica = replica_table_add(&core->replicas, signal->replica.id, signal->replica.url);
        replica->wants_announcement = true;
        snprintf(replica->process, sizeof replica->process, "%s", signal->replica.process);
        core->status_is_stale = true;
        log_info("replica found", log_text("replica", replica->id));
    }
    if (strcmp(replica->process, signal->replica.process) != 0)
        replica_changed_process(core, replica, signal->replica.process);
    return replica;
}

void hear_signal(struct core *core, const struct signal *signal)
{
    struct known_replica *replica = find_replica(core, signal);
    replica->heard_ms = core->now_ms;
    if (!replica->in_contact)
        replica->wants_announcement = true; /* it lives: try it again */
    hear_heartbeats(core, replica, signal);
    if (signal->is_announcement) {
        hear_announcement(core, replica, signal);
    } else {
        hear_polls(core, replica, signal);
        hear_gone(core, replica, signal);
    }
    hear_questions(core, replica, signal);
    if (signal->is_leaving)
        replica_drop_polls(&core->replicas, replica, core->now_ms);
    if (signal->is_life)
        compare_checksum(replica, signal);
}
