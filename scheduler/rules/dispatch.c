#include "scheduler/rules/dispatch.h"

#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/hand_out_check.h"
#include "scheduler/rules/history.h"
#include "scheduler/rules/lease_lifecycle.h"
#include "scheduler/rules/sharing.h"
#include "scheduler/rules/spans.h"
#include "scheduler/state/deadline.h"

enum {
    HAND_OUTS_AT_ONCE = 64, /* per round; their leases are inserted before more jobs are matched */
    PUT_OFF_MS = 500,       /* after that a returned job that found no worker is matched again */
    REDELIVERIES = 2        /* of a job whose delivery is overdue, before its lease is ended */
};

/* The job's limit in milliseconds. */
static int64_t limit_ms(const struct scheduler *scheduler, const struct active_run *run,
                        uint32_t slot)
{
    enum job_kind kind;
    uint32_t index;
    run_slot_job(run->run.has_pre, run->run.students, slot, &kind, &index);
    return deadline_of_job(&run->run, kind, scheduler->settings.job_timeout_ms);
}

static void insert_lease(struct scheduler *scheduler, const struct live_lease *lease,
                         const struct parked_poll *poll)
{
    struct lease_insert insert = {.poll = poll->number};
    struct lease *document = &insert.lease;
    snprintf(document->job, sizeof document->job, "%s", lease->job);
    snprintf(document->worker, sizeof document->worker, "%s", lease->worker->id);
    document->attempt = lease->attempt;
    document->term = scheduler->term;
    document->leased_ms = scheduler->date_ms;
    document->limit_ms = lease->deadline_ms - lease->leased_ms;
    document->deadline_ms = document->leased_ms + document->limit_ms;
    spans_traceparent(scheduler, lease, document->traceparent);
    snprintf(insert.replica, sizeof insert.replica, "%s", poll->replica->id);
    snprintf(insert.process, sizeof insert.process, "%s", poll->replica->process);
    scheduler_insert_lease(scheduler, &insert);
}

static enum scheduler_metric queue_wait_metric(enum protocol protocol)
{
#define METRIC(unused, protocol, ...) SCHEDULER_QUEUE_WAIT_##protocol,
    static const enum scheduler_metric metrics[] = {PROTOCOL_MAP(METRIC, )};
#undef METRIC
    return metrics[protocol];
}

/* Hands the offered job to the poll's worker: inserts the lease now; the callback follows once the
 * insert is acknowledged. */
static void hand_out(struct scheduler *scheduler, const struct offer *offer,
                     struct parked_poll *poll)
{
    struct live_lease *lease = lease_table_add(&scheduler->leases, offer->run, offer->slot,
                                               offer->job, offer->attempt, poll->worker,
                                               LEASE_INSERTING);
    lease->failed_attempts = offer->failed_attempts;
    lease->leased_ms = lease->charged_from_ms = scheduler->now_ms;
    lease->deadline_ms = scheduler->now_ms + limit_ms(scheduler, offer->run, offer->slot);
    spans_note_lease(scheduler, lease, offer);
    poll_match(&scheduler->replicas, poll);
    int64_t wait_ms = scheduler->date_ms - offer->run->run.started_ms;
    if (offer->attempt == 1)
        metric_observe_us(scheduler->metrics, queue_wait_metric(offer->run->run.protocol),
                          wait_ms * 1000);
    history_note_hand_out(scheduler, offer->run,
                          offer->attempt == 1 && wait_ms >= 0 ? wait_ms : -1);
    lease->charged_ms = queue_take(offer);
    insert_lease(scheduler, lease, poll);
}

/* The worker's newest parked poll: an older one may belong to a connection that the worker has
 * abandoned. */
static struct parked_poll *newest_poll(const struct known_worker *worker)
{
    struct parked_poll *poll;
    DL_FOREACH2 (worker->polls, poll, worker_next)
        if (poll->replica->in_contact)
            return poll;
    return NULL;
}

/* The group's poll that has waited longest of those that are eligible for the job; NULL: none is.
 * The worker that failed the job before is avoided: its poll comes last. */
static struct parked_poll *choose_of_group(struct scheduler *scheduler, struct worker_group *group,
                                           const struct offer *offer, bool *is_avoided)
{
    const struct returned_job *returned = returned_jobs_find(offer->run->returned, offer->slot);
    const char *avoid = offer->retry != NULL ? offer->retry->avoid : "";
    struct parked_poll *poll, *avoided = NULL;
    bool is_exhausted = true;
    DL_FOREACH2 (group->waiters, poll, group_next) {
        if (hand_out_poll_reasons(scheduler, poll) != 0)
            continue;
        is_exhausted = false;
        if (returned_job_excludes(returned, poll->worker->id, scheduler->now_ms))
            continue;
        *is_avoided = avoid[0] != '\0' && strcmp(poll->worker->id, avoid) == 0;
        if (!*is_avoided)
            return poll;
        avoided = avoided != NULL ? avoided : poll;
    }
    if (is_exhausted)
        group->exhausted = scheduler->groups.round;
    *is_avoided = avoided != NULL;
    return avoided;
}

/* Whether a job that both groups may run goes to `group`: graders that are kept for such jobs come
 * first, graders with many tags last, since other jobs may need them. */
static bool group_is_better(const struct worker_group *group, const struct parked_poll *poll,
                            const struct worker_group *other, const struct parked_poll *others)
{
    if (group->is_reserved != other->is_reserved)
        return group->is_reserved;
    if (group->tag_count != other->tag_count)
        return group->tag_count < other->tag_count;
    return poll->order < others->order;
}

static bool group_can_work(const struct scheduler *scheduler, const struct worker_group *group)
{
    return group->waiters != NULL && group->exhausted != scheduler->groups.round;
}

/* The poll that gets the offered job; NULL: no eligible one waits. */
static struct parked_poll *choose_poll(struct scheduler *scheduler, const struct lane *lane,
                                       const struct offer *offer)
{
    struct parked_poll *best = NULL;
    bool is_best_avoided = false;
    for (size_t i = 0; i < lane->group_count; i++) {
        struct worker_group *group = lane->groups[i];
        bool is_avoided;
        if (!group_can_work(scheduler, group))
            continue;
        struct parked_poll *poll = choose_of_group(scheduler, group, offer, &is_avoided);
        if (poll == NULL || (best != NULL && is_avoided && !is_best_avoided))
            continue;
        if (best != NULL && is_avoided == is_best_avoided &&
            !group_is_better(group, poll, best->worker->group, best))
            continue;
        best = poll;
        is_best_avoided = is_avoided;
    }
    return best != NULL ? newest_poll(best->worker) : NULL;
}

/* Whether graders wait that may serve the lane. */
static bool lane_can_be_served(const struct scheduler *scheduler, const struct lane *lane)
{
    for (size_t i = 0; i < lane->group_count; i++)
        if (group_can_work(scheduler, lane->groups[i]))
            return true;
    return false;
}

enum hand_out_state { NOTHING_TO_HAND_OUT, HANDED_OUT, PUT_OFF };

/* Hands out the lane's next job. If those who wait have returned it, it is put off, so that the
 * jobs behind it need not wait for it. */
static enum hand_out_state match_lane(struct scheduler *scheduler, const struct lane *lane)
{
    struct offer offer;
    if (course_wait_reasons(lane->course) != 0 || !lane_can_be_served(scheduler, lane))
        return NOTHING_TO_HAND_OUT;
    queue_offer(lane, &offer);
    struct parked_poll *poll = choose_poll(scheduler, lane, &offer);
    if (poll != NULL) {
        hand_out(scheduler, &offer, poll);
        return HANDED_OUT;
    }
    if (offer.retry == NULL || !lane_can_be_served(scheduler, lane))
        return NOTHING_TO_HAND_OUT;
    queue_put_off(&offer, scheduler->now_ms + PUT_OFF_MS);
    return PUT_OFF;
}

/* Hands out the next job of the protocol that a waiting grader may have. */
static enum hand_out_state match_next(struct scheduler *scheduler, enum protocol protocol)
{
    struct lane *lane = queue_order_first(&scheduler->queue.order, protocol), *following;
    for (; lane != NULL; lane = following) {
        following = queue_order_next(lane);
        if (!sharing_has_groups(scheduler, lane)) {
            queue_order_set_aside(lane);
            continue;
        }
        enum hand_out_state state = match_lane(scheduler, lane);
        if (state != NOTHING_TO_HAND_OUT)
            return state;
    }
    return NOTHING_TO_HAND_OUT;
}

/* Hands out at most `room` jobs of the protocol's runs to graders of the same protocol; returns the
 * rest of `room`. */
static unsigned match_jobs(struct scheduler *scheduler, enum protocol protocol, unsigned room)
{
    enum hand_out_state state = PUT_OFF;
    while (room > 0 && scheduler->replicas.waiting_of[protocol] > 0 &&
           state != NOTHING_TO_HAND_OUT) {
        state = match_next(scheduler, protocol);
        room -= state == HANDED_OUT;
    }
    return room;
}

/* A new round: graders that could not work may be able to now; lanes that nobody could serve may
 * be served by others. */
static void begin_round(struct scheduler *scheduler)
{
    struct queue_order *order = &scheduler->queue.order;
    scheduler->groups.round++;
    if (order->version == scheduler->groups.version)
        return;
    order->version = scheduler->groups.version;
    queue_order_bring_back(order);
}

/* Sends an existing lease to the poll. */
static void offer_again(struct scheduler *scheduler, struct live_lease *lease,
                        struct parked_poll *poll)
{
    poll_match(&scheduler->replicas, poll);
    lease_send(lease, poll->replica, poll->number);
}

/* A worker that may never have received a job is offered that job again before any other. */
static void offer_unconfirmed(struct scheduler *scheduler)
{
    struct live_lease *lease, *following;
    DL_FOREACH_SAFE2(scheduler->leases.unconfirmed, lease, following, unconfirmed_next)
    {
        struct parked_poll *poll = newest_poll(lease->worker);
        if (poll != NULL && poll->replica->in_contact)
            offer_again(scheduler, lease, poll);
    }
}

/* A worker that has stated its concurrency and polls although it holds that many jobs may never
 * have received its oldest job: that job is offered again. */
static void offer_if_overdue(struct scheduler *scheduler, struct parked_poll *waiter)
{
    const struct known_worker *worker = waiter->worker;
    struct live_lease *oldest = worker->leases;
    if (worker->concurrency == 0 || worker->held < (uint32_t)worker->concurrency ||
        !waiter->replica->in_contact)
        return;
    if (oldest->state != LEASE_DELIVERED ||
        scheduler->now_ms - oldest->leased_ms <= scheduler->settings.heartbeat_ms)
        return;
    if (oldest->redeliveries >= REDELIVERIES) {
        lease_begin_end(scheduler, oldest, LEASE_LOST);
        return;
    }
    oldest->redeliveries++;
    oldest->leased_ms = scheduler->now_ms;
    offer_again(scheduler, oldest, waiter);
}

/* Checks the polls that are final in every round, and all other polls, which may be thousands, once
 * per tick. */
static void offer_overdue(struct scheduler *scheduler)
{
    struct parked_poll *waiter, *following;
    DL_FOREACH_SAFE2(scheduler->replicas.finals, waiter, following, final_next)
    offer_if_overdue(scheduler, waiter);
    if (scheduler->now_ms != scheduler->ticked_ms)
        return;
    DL_FOREACH_SAFE (scheduler->replicas.waiters, waiter, following)
        offer_if_overdue(scheduler, waiter);
}

static void dispatch_answer_empty(struct known_replica *replica, int64_t poll)
{
    if (replica->empty_count == replica->empty_room) {
        replica->empty_room = replica->empty_room * 2 + 64;
        replica->empty = bw_grow(replica->empty, replica->empty_room, sizeof *replica->empty);
    }
    replica->empty[replica->empty_count++] = poll;
}

/* Answers the final polls that got no job. */
static void answer_final(struct scheduler *scheduler)
{
    struct parked_poll *poll, *following;
    DL_FOREACH_SAFE2(scheduler->replicas.finals, poll, following, final_next)
    {
        if (!poll->replica->in_contact)
            continue;
        struct known_replica *replica = poll->replica;
        int64_t number = poll->number;
        poll_answered(&scheduler->replicas, poll, scheduler->now_ms);
        dispatch_answer_empty(replica, number);
    }
}

bool dispatch_round(struct scheduler *scheduler)
{
    if (hand_out_leader_reasons(scheduler) != 0)
        return false;
    offer_unconfirmed(scheduler);
    begin_round(scheduler);
    unsigned room = HAND_OUTS_AT_ONCE;
    for (unsigned protocol = 0; protocol < PROTOCOLS; protocol++)
        room = match_jobs(scheduler, (enum protocol)protocol, room);
    if (room == 0)
        return true;
    offer_overdue(scheduler);
    answer_final(scheduler);
    return false;
}

/* The poll that an insert was made for; NULL if the poll is over or the replica has restarted. */
static struct parked_poll *inserted_poll(const struct scheduler *scheduler,
                                         const struct lease_insert *insert)
{
    struct known_replica *replica = replica_table_find(&scheduler->replicas, insert->replica);
    if (replica == NULL || strcmp(replica->process, insert->process) != 0)
        return NULL;
    struct parked_poll *poll = replica_find_poll(replica, insert->poll);
    return poll != NULL && poll->state == POLL_MATCHED ? poll : NULL;
}

void dispatch_return_poll(struct scheduler *scheduler, struct parked_poll *poll,
                          const char *worker_id)
{
    struct known_worker *worker = worker_table_find(&scheduler->workers, worker_id);
    if (worker != NULL)
        poll_unmatch(&scheduler->replicas, poll, worker);
    else
        poll_answered(&scheduler->replicas, poll, scheduler->now_ms);
}

void dispatch_lease_completed(struct scheduler *scheduler, const struct lease_insert *insert,
                              enum commit_outcome outcome)
{
    const struct lease *inserted = &insert->lease;
    struct parked_poll *poll = inserted_poll(scheduler, insert);
    struct live_lease *lease = lease_table_find(&scheduler->leases, inserted->job);
    bool is_ours = lease != NULL && lease->attempt == inserted->attempt &&
                   lease->state == LEASE_INSERTING;
    if (outcome != COMMIT_DONE) {
        /* Either another lease exists, or the outcome is unknown: the state must be read from the
         * database again. */
        log_warning("lease not inserted", log_text("job_id", inserted->job),
                    log_number("attempt", inserted->attempt));
        scheduler->must_recover = true;
    } else if (!is_ours) {
        if (poll != NULL)
            dispatch_return_poll(scheduler, poll, inserted->worker);
    } else if (poll == NULL || !poll->replica->in_contact || !lease->worker->is_alive) {
        if (poll != NULL)
            dispatch_return_poll(scheduler, poll, inserted->worker);
        lease_becomes_unconfirmed(scheduler, lease, GONE_HOLD_MS);
    } else {
        lease_send(lease, poll->replica, poll->number);
    }
}
