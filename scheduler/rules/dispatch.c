#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "scheduler/core/core.h"
#include "scheduler/state/deadline.h"
#include "scheduler/metrics.h"

enum {
    LEASE_TRY_MS = 60000, /* a lease is inserted for as long as trust lasts, practically */
    REDELIVERIES = 2 /* of a job that a worker with a stated concurrency should have had long ago */
};

/* An insert under way, with what is needed once it is settled. */
struct pending_lease {
    struct lease_commit commit; /* first */
    struct inbox *inbox;
    int64_t generation;
    char replica[WORKER_ID_SIZE];
    char process[33];
    int64_t poll;
    enum commit_outcome outcome;
};

void pending_lease_free(struct pending_lease *pending)
{
    free(pending);
}

/* On the store's thread. */
static void lease_settled(struct lease_commit *commit, enum commit_outcome outcome,
                          const struct lease *existing)
{
    (void)existing;
    struct pending_lease *pending = (struct pending_lease *)commit;
    pending->outcome = outcome;
    struct event *event = event_new(EVENT_LEASED, pending->generation);
    event->lease = pending;
    inbox_post(pending->inbox, event);
}

/* How long the job may take. */
static int64_t limit_ms(const struct core *core, const struct active_run *run, uint32_t slot)
{
    enum job_kind kind;
    uint32_t index;
    run_slot_job(run->run.has_pre, run->run.students, slot, &kind, &index);
    return deadline_of_job(&run->run, kind, core->job_timeout_ms);
}

static void insert_lease(struct core *core, struct live_lease *lease,
                         const struct parked_poll *poll)
{
    struct pending_lease *pending = bw_alloc(sizeof *pending);
    struct lease *document = &pending->commit.lease;
    snprintf(document->job, sizeof document->job, "%s", lease->job);
    snprintf(document->worker, sizeof document->worker, "%s", lease->worker->id);
    document->attempt = lease->attempt;
    document->term = core->term;
    document->leased_ms = database_now_ms(core->database);
    document->limit_ms = lease->deadline_ms - lease->leased_ms;
    document->deadline_ms = document->leased_ms + document->limit_ms;
    pending->inbox = core->inbox;
    pending->generation = core->generation;
    snprintf(pending->replica, sizeof pending->replica, "%s", poll->replica->id);
    snprintf(pending->process, sizeof pending->process, "%s", poll->replica->process);
    pending->poll = poll->number;
    pending->commit.settled = lease_settled;
    lease_store_insert(core->lease_store, &pending->commit, LEASE_TRY_MS);
}

/* Hands the offered job to the poll's worker: the lease first, the callback once that is
 * acknowledged. */
static void hand_out(struct core *core, const struct offer *offer, struct parked_poll *poll)
{
    struct live_lease *lease = lease_table_add(&core->leases, offer->run, offer->slot, offer->job,
                                               offer->attempt, poll->worker, LEASE_INSERTING);
    lease->failed_attempts = offer->failed_attempts;
    lease->leased_ms = core->now_ms;
    lease->deadline_ms = core->now_ms + limit_ms(core, offer->run, offer->slot);
    poll_match(&core->replicas, poll);
    queue_take(&core->queue, offer);
    insert_lease(core, lease, poll);
}

/* May this worker be given one more job? */
static bool is_eligible(const struct core *core, const struct known_worker *worker)
{
    if (!worker->is_alive || worker->undelivered > 0 || core->now_ms < worker->paused_until_ms)
        return false;
    return worker->concurrency == 0 || worker->held < (uint32_t)worker->concurrency;
}

/* Of two parked polls of one worker the newer is served first. */
static struct parked_poll *newest_poll(const struct known_worker *worker)
{
    struct parked_poll *poll;
    DL_FOREACH2 (worker->polls, poll, worker_next)
        if (poll->replica->in_contact)
            return poll;
    return NULL;
}

/* The poll that has waited longest among those that may have the job; a worker that failed it
 * before comes last. */
static struct parked_poll *choose_poll(const struct core *core, enum protocol protocol,
                                       const char *avoid)
{
    struct parked_poll *poll, *avoided = NULL;
    DL_FOREACH (core->replicas.waiters, poll) {
        if (poll->worker->protocol != protocol || !poll->replica->in_contact ||
            !is_eligible(core, poll->worker))
            continue;
        if (avoid[0] == '\0' || strcmp(poll->worker->id, avoid) != 0)
            return newest_poll(poll->worker);
        avoided = poll;
    }
    return avoided != NULL ? newest_poll(avoided->worker) : NULL;
}

/* A run's jobs go only to graders of its own protocol. */
static void match_jobs(struct core *core, enum protocol protocol)
{
    struct offer offer;
    while (core->replicas.waiting_of[protocol] > 0 && queue_peek(&core->queue, protocol, &offer)) {
        struct parked_poll *poll = choose_poll(core, protocol,
                                               offer.retry != NULL ? offer.retry->avoid : "");
        if (poll == NULL)
            return;
        hand_out(core, &offer, poll);
    }
}

/* Sends an existing lease to the poll. */
static void offer_again(struct core *core, struct live_lease *lease, struct parked_poll *poll)
{
    poll_match(&core->replicas, poll);
    lease_send(lease, poll->replica, poll->number);
}

/* A worker that may never have received a job gets that one before anything else. */
static void offer_unconfirmed(struct core *core)
{
    struct live_lease *lease, *following;
    DL_FOREACH_SAFE2(core->leases.unconfirmed, lease, following, unconfirmed_next)
    {
        struct parked_poll *poll = newest_poll(lease->worker);
        if (poll != NULL && poll->replica->in_contact)
            offer_again(core, lease, poll);
    }
}

/* A worker that has said its concurrency, is full, and asks all the same has perhaps never received
 * its oldest job. */
static void offer_if_overdue(struct core *core, struct parked_poll *waiter)
{
    const struct known_worker *worker = waiter->worker;
    struct live_lease *oldest = worker->leases;
    if (worker->concurrency == 0 || worker->held < (uint32_t)worker->concurrency ||
        !waiter->replica->in_contact)
        return;
    if (oldest->state != LEASE_DELIVERED || core->now_ms - oldest->leased_ms <= core->heartbeat_ms)
        return;
    if (oldest->redeliveries >= REDELIVERIES) {
        lease_begin_end(core, oldest, LEASE_LOST);
        return;
    }
    oldest->redeliveries++;
    oldest->leased_ms = core->now_ms;
    offer_again(core, oldest, waiter);
}

/* Those that will not wait are looked at in every round; all others, who may be thousands, once a
 * tick. */
static void offer_overdue(struct core *core)
{
    struct parked_poll *waiter, *following;
    DL_FOREACH_SAFE2(core->replicas.finals, waiter, following, final_next)
    offer_if_overdue(core, waiter);
    if (core->now_ms != core->ticked_ms)
        return;
    DL_FOREACH_SAFE (core->replicas.waiters, waiter, following)
        offer_if_overdue(core, waiter);
}

/* Every round ends with a word to those who will wait no longer. */
static void answer_final(struct core *core)
{
    struct parked_poll *poll, *following;
    DL_FOREACH_SAFE2(core->replicas.finals, poll, following, final_next)
    {
        if (!poll->replica->in_contact)
            continue;
        struct known_replica *replica = poll->replica;
        int64_t number = poll->number;
        poll_answered(&core->replicas, poll, core->now_ms);
        answer_empty(core, replica, number);
    }
}

void answer_empty(struct core *core, struct known_replica *replica, int64_t poll)
{
    (void)core;
    if (replica->empty_count == replica->empty_room) {
        replica->empty_room = replica->empty_room * 2 + 64;
        replica->empty = bw_grow(replica->empty, replica->empty_room, sizeof *replica->empty);
    }
    replica->empty[replica->empty_count++] = poll;
}

void hand_out_round(struct core *core)
{
    if (core->now_ms >= core->opens_ms && !core->is_stopping) {
        offer_unconfirmed(core);
        match_jobs(core, PROTOCOL_CLASSIC);
        match_jobs(core, PROTOCOL_COURSE);
        offer_overdue(core);
        answer_final(core);
    }
    replicas_tell(core);
}

void lease_becomes_unconfirmed(struct core *core, struct live_lease *lease, int64_t hold_ms)
{
    if (lease->state == LEASE_ENDING)
        return;
    lease_unsend(lease);
    lease_set_state(lease, LEASE_UNCONFIRMED);
    lease->hold_ms = core->now_ms + hold_ms;
}

void lease_is_delivered(struct core *core, struct live_lease *lease)
{
    lease_unsend(lease);
    lease_set_state(lease, LEASE_DELIVERED);
    lease->worker->jobs_processed++;
    metric_add(core->metrics, SCHEDULER_HAND_OUTS, 1);
}

/* The poll that an insert was made for, if it is still the same process's; NULL if it is over. */
static struct parked_poll *pending_poll(const struct core *core,
                                        const struct pending_lease *pending)
{
    struct known_replica *replica = replica_table_find(&core->replicas, pending->replica);
    if (replica == NULL || strcmp(replica->process, pending->process) != 0)
        return NULL;
    struct parked_poll *poll = replica_find_poll(replica, pending->poll);
    return poll != NULL && poll->state == POLL_MATCHED ? poll : NULL;
}

void return_poll(struct core *core, struct parked_poll *poll, const char *worker_id)
{
    struct known_worker *worker = worker_table_find(&core->workers, worker_id);
    if (worker != NULL)
        poll_unmatch(&core->replicas, poll, worker);
    else
        poll_answered(&core->replicas, poll, core->now_ms);
}

void hand_out_leased(struct core *core, struct pending_lease *pending)
{
    const struct lease *inserted = &pending->commit.lease;
    struct parked_poll *poll = pending_poll(core, pending);
    struct live_lease *lease = lease_table_find(&core->leases, inserted->job);
    bool is_ours = lease != NULL && lease->attempt == inserted->attempt &&
                   lease->state == LEASE_INSERTING;
    if (pending->outcome != COMMIT_DONE) {
        /* Something else stands there, or nobody knows: only the database can say what is true. */
        log_warning("lease not inserted", log_text("job_id", inserted->job),
                    log_number("attempt", inserted->attempt));
        core->must_recover = true;
    } else if (!is_ours) {
        if (poll != NULL)
            return_poll(core, poll, inserted->worker);
    } else if (poll == NULL || !poll->replica->in_contact || !lease->worker->is_alive) {
        if (poll != NULL)
            return_poll(core, poll, inserted->worker);
        lease_becomes_unconfirmed(core, lease, GONE_HOLD_MS);
    } else {
        lease_send(lease, poll->replica, poll->number);
    }
    pending_lease_free(pending);
}
