#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/failpoint.h"
#include "common/log.h"
#include "scheduler/core.h"
#include "scheduler/deadline.h"
#include "scheduler/scheduler_metrics.h"

enum {
    LEASE_TRY_MS = 60000, /* a lease is inserted for as long as trust lasts, practically */
    GONE_HOLD_MS =
        5000, /* a hand-out whose poll was gone is kept so long for the worker's next one */
    CONTACT_FAILURES = 3, /* unanswered callbacks in a row that end the contact */
    RETRY_PAUSE_MS = 100,
    PROBE_PAUSE_MS = 1000,
    CALLBACK_HAND_OUTS = 500, /* at most in one callback */
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
    struct pending_lease *pending = calloc(1, sizeof *pending);
    if (pending == NULL)
        abort();
    struct lease *document = &pending->commit.lease;
    snprintf(document->job, sizeof document->job, "%s", lease->job);
    snprintf(document->worker, sizeof document->worker, "%s", lease->worker->id);
    document->attempt = lease->attempt;
    document->term = core->term;
    document->leased_ms = database_now_ms(core->database);
    document->deadline_ms = document->leased_ms + (lease->deadline_ms - lease->leased_ms);
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
    lease->strikes = offer->strikes;
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
        replica->empty = realloc(replica->empty, replica->empty_room * sizeof *replica->empty);
        if (replica->empty == NULL)
            abort();
    }
    replica->empty[replica->empty_count++] = poll;
}

static json_t *hand_out_json(const struct core *core, const struct live_lease *lease)
{
    return json_pack("{s:I,s:s,s:s,s:i,s:I}", "poll", (json_int_t)lease->poll, "worker",
                     lease->worker->id, "job", lease->job, "attempt", (int)lease->attempt,
                     "expires_in_ms", (json_int_t)(lease->deadline_ms - core->now_ms));
}

/* Moves what the replica is to be told into one callback. */
static struct callback *build_callback(struct core *core, struct known_replica *replica)
{
    struct callback *callback = calloc(1, sizeof *callback);
    json_t *hand_outs = json_array(), *empty = json_array();
    const struct live_lease *lease;
    callback->sent = calloc(CALLBACK_HAND_OUTS, sizeof *callback->sent);
    DL_FOREACH2 (replica->outbox, lease, outbox_next) {
        if (callback->sent_count == CALLBACK_HAND_OUTS)
            break;
        struct sent_hand_out *sent = &callback->sent[callback->sent_count++];
        snprintf(sent->job, sizeof sent->job, "%s", lease->job);
        sent->attempt = lease->attempt;
        sent->poll = lease->poll;
        json_array_append_new(hand_outs, hand_out_json(core, lease));
    }
    for (size_t i = 0; i < replica->empty_count; i++)
        json_array_append_new(empty, json_integer(replica->empty[i]));
    replica->empty_count = 0;
    snprintf(callback->replica, sizeof callback->replica, "%s", replica->id);
    snprintf(callback->process, sizeof callback->process, "%s", replica->process);
    snprintf(callback->url, sizeof callback->url, "%s/internal/v1/callbacks", replica->url);
    callback->generation = core->generation;
    callback->is_first_try = replica->failures == 0;
    json_t *body = json_pack("{s:I,s:s,s:b,s:o,s:o}", "term", (json_int_t)core->term, "process",
                             replica->process, "announce", (int)replica->wants_announcement,
                             "hand_outs", hand_outs, "empty", empty);
    callback->has_events = replica->events != NULL;
    replica_take_news(replica, body);
    callback->body = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    replica->wants_announcement = false;
    return callback;
}

static void send_callbacks(struct core *core)
{
    struct known_replica *replica, *following;
    HASH_ITER (hh, core->replicas.replicas, replica, following) {
        bool has_news = replica->outbox != NULL || replica->empty_count > 0 ||
                        replica->wants_announcement || replica->answers != NULL ||
                        replica->events != NULL;
        if (replica->is_busy || !has_news || core->now_ms < replica->retry_ms)
            continue;
        replica->is_busy = true;
        if (replica->outbox != NULL)
            FAILPOINT("before_callbacks");
        metric_add(core->metrics, SCHEDULER_CALLBACKS, 1);
        callbacks_post(core->callbacks, build_callback(core, replica));
    }
}

void hand_out_round(struct core *core)
{
    if (core->now_ms >= core->opens_ms && !core->is_stopping) {
        offer_unconfirmed(core);
        match_jobs(core, PROTOCOL_SEED);
        match_jobs(core, PROTOCOL_COURSE);
        offer_overdue(core);
        answer_final(core);
    }
    send_callbacks(core);
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

/* Gives the poll back to the waiters; its worker may be gone. */
static void return_poll(struct core *core, struct parked_poll *poll, const char *worker_id)
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

/* The lease that an answer is about, if it still waits for this one. */
static struct live_lease *answered_lease(const struct core *core,
                                         const struct known_replica *replica,
                                         const struct sent_hand_out *sent)
{
    struct live_lease *lease = lease_table_find(&core->leases, sent->job);
    if (lease == NULL || lease->attempt != sent->attempt || lease->replica != replica ||
        lease->poll != sent->poll)
        return NULL;
    return lease;
}

static void apply_outcome(struct core *core, struct known_replica *replica,
                          const struct sent_hand_out *sent, const char *outcome, const char *reason)
{
    struct parked_poll *poll = replica_find_poll(replica, sent->poll);
    struct live_lease *lease = answered_lease(core, replica, sent);
    bool was_undeliverable = strcmp(outcome, "undeliverable") == 0;
    if (poll != NULL && was_undeliverable && lease != NULL)
        return_poll(core, poll, lease->worker->id);
    else if (poll != NULL)
        poll_answered(&core->replicas, poll, core->now_ms);
    if (lease == NULL)
        return;
    if (strcmp(outcome, "delivered") == 0) {
        lease_is_delivered(core, lease);
        return;
    }
    if (!was_undeliverable) {
        lease_becomes_unconfirmed(core, lease, GONE_HOLD_MS);
        return;
    }
    log_warning("job can't be delivered", log_text("job_id", lease->job),
                log_text("reason", reason));
    lease_begin_end(core, lease, LEASE_UNDELIVERABLE);
}

static void apply_reply(struct core *core, struct known_replica *replica,
                        const struct callback *callback, const json_t *reply)
{
    const json_t *outcomes = json_object_get(reply, "outcomes"),
                 *reasons = json_object_get(reply, "reasons");
    for (size_t i = 0; i < callback->sent_count; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        const char *outcome = json_string_value(json_array_get(outcomes, i));
        const char *reason = json_string_value(json_object_get(reasons, key));
        apply_outcome(core, replica, &callback->sent[i], outcome != NULL ? outcome : "gone",
                      reason != NULL ? reason : "");
    }
}

void replica_lost_contact(struct core *core, struct known_replica *replica)
{
    struct live_lease *lease, *following;
    log_warning("replica out of contact", log_text("replica", replica->id));
    replica->in_contact = false;
    core->status_is_stale = true;
    DL_FOREACH_SAFE2(replica->outbox, lease, following, outbox_next)
    {
        struct parked_poll *poll = replica_find_poll(replica, lease->poll);
        if (poll != NULL)
            poll_unmatch(&core->replicas, poll, lease->worker);
        lease_becomes_unconfirmed(core, lease, 2 * core->heartbeat_ms);
    }
}

void replica_changed_process(struct core *core, struct known_replica *replica, const char *process)
{
    struct live_lease *lease, *following_lease;
    struct parked_poll *poll, *following_poll;
    log_info("replica has restarted", log_text("replica", replica->id));
    replica->in_contact = false; /* until this process has answered */
    core->status_is_stale = true;
    DL_FOREACH_SAFE2(replica->outbox, lease, following_lease, outbox_next)
    lease_becomes_unconfirmed(core, lease, 2 * core->heartbeat_ms);
    HASH_ITER (hh, replica->polls, poll, following_poll)
        poll_answered(&core->replicas, poll, core->now_ms);
    replica_forget_answered(replica, INT64_MAX); /* the new process counts from one again */
    sockets_lost(core, replica);
    replica_forget_watches(replica);
    replica->empty_count = 0;
    replica->wants_announcement = true;
    replica->retry_ms = 0;
    replica->failures = 0;
    snprintf(replica->process, sizeof replica->process, "%s", process);
}

static void callback_failed(struct core *core, struct known_replica *replica)
{
    metric_add(core->metrics, SCHEDULER_CALLBACKS_FAILED, 1);
    replica->failures++;
    if (replica->failures < CONTACT_FAILURES) {
        replica->retry_ms = core->now_ms + ((int64_t)RETRY_PAUSE_MS << replica->failures);
        replica->wants_announcement = replica->wants_announcement || replica->outbox == NULL;
        return;
    }
    replica->retry_ms = core->now_ms + PROBE_PAUSE_MS;
    if (replica->in_contact || replica->outbox != NULL)
        replica_lost_contact(core, replica);
}

static void callback_succeeded(struct core *core, struct known_replica *replica,
                               const struct callback *callback, const json_t *reply)
{
    replica->failures = 0;
    replica->retry_ms = 0;
    if (!replica->in_contact) {
        replica->in_contact = true;
        core->status_is_stale = true;
        log_info("replica in contact", log_text("replica", replica->id));
    }
    apply_reply(core, replica, callback, reply);
}

/* A replica refuses for one of two reasons: it has seen a later leader, or it is another process
 * than was meant. */
static void callback_refused(struct core *core, struct known_replica *replica, const json_t *reply)
{
    const char *process = json_string_value(json_object_get(reply, "process"));
    if (process != NULL && strlen(process) < sizeof replica->process) {
        replica_changed_process(core, replica, process);
        return;
    }
    log_warning("a later leader was seen", log_text("replica", replica->id),
                log_number("term", core->term));
    leadership_distrust(core->leadership);
}

void hand_out_answered(struct core *core, struct callback *callback)
{
    struct known_replica *replica = replica_table_find(&core->replicas, callback->replica);
    if (replica == NULL)
        return;
    replica->is_busy = false;
    if (strcmp(replica->process, callback->process) != 0)
        return; /* what it carried was taken back when the process changed */
    json_t *reply = callback->status > 0 ? json_loads(callback->reply, 0, NULL) : NULL;
    if (callback->status == 200 && reply != NULL)
        callback_succeeded(core, replica, callback, reply);
    else if (callback->status == 409 && reply != NULL)
        callback_refused(core, replica, reply);
    else
        callback_failed(core, replica);
    if (callback->status != 200 && callback->has_events)
        replica->wants_announcement = true; /* its list says what its watchers were told last */
    json_decref(reply);
}
