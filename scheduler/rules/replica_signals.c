#include "scheduler/rules/replica_signals.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/asked_workers.h"
#include "scheduler/rules/lease_lifecycle.h"
#include "scheduler/rules/pausing.h"
#include "scheduler/rules/query_answers.h"
#include "scheduler/rules/replica_callbacks.h"
#include "scheduler/rules/sharing.h"
#include "scheduler/rules/watch_notify.h"
#include "scheduler/rules/worker_liveness.h"
#include "scheduler/rules/worker_record.h"

void replica_signals_take_worker(struct scheduler *scheduler, const struct worker *worker)
{
    struct known_worker *known = worker_table_find(&scheduler->workers, worker->id);
    if (known != NULL && known->epoch == worker->epoch)
        worker_fault_changed(scheduler, known, worker->fault);
    if (known != NULL && known->epoch >= worker->epoch)
        return;
    if (known != NULL && known->epoch > 0) { /* 0: known only from a lease so far */
        worker_registered_again(scheduler, known, worker);
        return;
    }
    known = worker_table_add(&scheduler->workers, worker->id, worker->concurrency, worker->is_alive,
                             scheduler->now_ms);
    worker_describe(known, worker);
    pausing_take_worker(scheduler, known);
    sharing_take_worker(scheduler, known);
}

void replica_signals_take_read(struct scheduler *scheduler, const struct db_job *db_job)
{
    if (db_job->code != BW_OK)
        return; /* no such worker, or the read failed and is repeated later */
    const struct known_worker *known = worker_table_find(&scheduler->workers,
                                                         db_job->read.worker.id);
    if (known != NULL && known->epoch >= db_job->read.worker.epoch)
        return; /* nothing was missed */
    metric_add(scheduler->metrics, SCHEDULER_MISSED, 1);
    replica_signals_take_worker(scheduler, &db_job->read.worker);
    struct known_replica *replica = replica_table_find(&scheduler->replicas, db_job->read.replica);
    if (replica != NULL)
        replica->wants_resync = true;
}

/* True if the worker's signals come through another replica than its registration names: then a
 * later registration exists. */
static bool has_moved(const struct known_worker *worker, const struct known_replica *replica)
{
    return worker->is_socket && (strcmp(worker->socket_replica, replica->id) != 0 ||
                                 strcmp(worker->socket_process, replica->process) != 0);
}

static void replica_signals_take_polls(struct scheduler *scheduler, struct known_replica *replica,
                                       const struct signal *signal)
{
    for (size_t i = 0; i < signal->poll_count; i++) {
        const struct signal_poll *parked = &signal->polls[i];
        struct known_worker *worker = worker_table_find(&scheduler->workers, parked->worker);
        if (worker == NULL || has_moved(worker, replica)) {
            asked_workers_ask(scheduler, parked->worker, replica->id);
            continue;
        }
        worker_note_seen(scheduler, worker, scheduler->now_ms, replica->id);
        worker_acted(worker, scheduler->now_ms);
        replica_park(&scheduler->replicas, replica, worker, parked->poll, parked->is_final);
    }
}

static void replica_signals_take_gone(struct scheduler *scheduler, struct known_replica *replica,
                                      const struct signal *signal)
{
    for (size_t i = 0; i < signal->gone_count; i++) {
        struct parked_poll *poll = replica_find_poll(replica, signal->gone[i]);
        if (poll != NULL && poll->state == POLL_WAITING)
            poll_answered(&scheduler->replicas, poll, scheduler->now_ms);
        else if (poll != NULL)
            poll->is_final = true; /* if its hand-out fails, it must not wait again */
    }
}

/* True if the worker held its oldest job already at `seen_ms`. */
static bool was_at_work(const struct known_worker *worker, int64_t seen_ms)
{
    return worker->leases != NULL && worker->leases->leased_ms < seen_ms;
}

static void replica_signals_take_heartbeats(struct scheduler *scheduler,
                                            struct known_replica *replica,
                                            const struct signal *signal)
{
    for (size_t i = 0; i < signal->seen_count; i++) {
        const struct signal_seen *seen = &signal->seen[i];
        struct known_worker *worker = worker_table_find(&scheduler->workers, seen->worker);
        if (worker == NULL) {
            asked_workers_ask(scheduler, seen->worker, replica->id);
            continue;
        }
        int64_t seen_ms = scheduler->now_ms - seen->age_ms;
        bool is_beat = seen->kind == SEEN_HEARTBEAT && was_at_work(worker, seen_ms);
        worker_note_seen(scheduler, worker, seen_ms, replica->id);
        if (seen->kind == SEEN_RESULT) /* perhaps one that counts for nothing */
            worker->busy_until_ms = 0;
        if (is_beat && worker_beat(worker))
            worker_record(scheduler, worker);
    }
}

/* The hand-outs that the replica delivered reached their workers, as far as anyone can know. */
static void replica_signals_take_deliveries(struct scheduler *scheduler,
                                            const struct signal *signal)
{
    for (size_t i = 0; i < signal->delivery_count; i++) {
        const struct signal_delivery *delivery = &signal->deliveries[i];
        struct live_lease *lease = lease_table_find(&scheduler->leases, delivery->job);
        if (lease != NULL && lease->attempt == delivery->attempt &&
            lease->state == LEASE_UNCONFIRMED)
            lease_is_delivered(scheduler, lease);
    }
}

/* Ends the parked polls that a full resync does not list. */
static void drop_unlisted(struct scheduler *scheduler, struct known_replica *replica)
{
    struct parked_poll *poll, *following;
    HASH_ITER (hh, replica->polls, poll, following)
        if (poll->state == POLL_WAITING && !poll->is_listed)
            poll_answered(&scheduler->replicas, poll, scheduler->now_ms);
}

static void replica_signals_take_resync(struct scheduler *scheduler, struct known_replica *replica,
                                        const struct signal *signal)
{
    struct parked_poll *poll, *following;
    HASH_ITER (hh, replica->polls, poll, following)
        poll->is_listed = false;
    replica_signals_take_polls(scheduler, replica, signal);
    drop_unlisted(scheduler, replica);
    replica_signals_take_deliveries(scheduler, signal);
    replica->has_resynced = true;
    replica->mismatches = 0;
}

/* Compares the polls that the replica counts with those in the table: a lasting difference means
 * that a signal was lost. While hand-outs are in flight, the two may differ legitimately. */
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
    replica->wants_resync = true;
}

static struct known_replica *find_replica(struct scheduler *scheduler, const struct signal *signal)
{
    struct known_replica *replica = replica_table_find(&scheduler->replicas, signal->replica.id);
    if (replica == NULL) {
        replica = replica_table_add(&scheduler->replicas, signal->replica.id, signal->replica.url);
        replica->wants_resync = true;
        snprintf(replica->process, sizeof replica->process, "%s", signal->replica.process);
        scheduler->status_is_stale = true;
        log_info("replica found", log_text("replica", replica->id));
    }
    if (strcmp(replica->process, signal->replica.process) != 0)
        replica_changed_process(scheduler, replica, signal->replica.process);
    return replica;
}

/* True for a signal that was handled before. A signal may arrive twice, from the change stream and
 * from a scan, and a scan may find signals of a former process of the replica. */
static bool replica_signals_were_seen(const struct scheduler *scheduler,
                                      const struct signal *signal)
{
    const struct known_replica *replica = replica_table_find(&scheduler->replicas,
                                                             signal->replica.id);
    if (replica == NULL)
        return false;
    if (strcmp(replica->process, signal->replica.process) == 0)
        return signal->number <= replica->seen_number;
    return strcmp(replica->former_process, signal->replica.process) == 0;
}

bool replica_signals_take(struct scheduler *scheduler, const struct signal *signal)
{
    if (replica_signals_were_seen(scheduler, signal))
        return false;
    struct known_replica *replica = find_replica(scheduler, signal);
    if (replica->seen_number > 0 && !signal->is_resync && signal->number > replica->seen_number + 1)
        replica->wants_resync =
            true; /* the signals in between, with changes of watches, were lost */
    replica->seen_number = signal->number;
    replica->seen_ms = scheduler->now_ms;
    if (!replica->in_contact)
        replica->wants_resync = true; /* it lives: try it again */
    replica_signals_take_heartbeats(scheduler, replica, signal);
    if (signal->is_resync) {
        replica_signals_take_resync(scheduler, replica, signal);
    } else {
        replica_signals_take_polls(scheduler, replica, signal);
        replica_signals_take_gone(scheduler, replica, signal);
    }
    query_answers_note(scheduler, replica, signal);
    watch_notify_take(scheduler, replica, signal);
    if (signal->is_shutting_down)
        replica_drop_polls(&scheduler->replicas, replica, scheduler->now_ms);
    if (signal->is_heartbeat)
        compare_checksum(replica, signal);
    return true;
}
