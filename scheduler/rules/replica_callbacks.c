#include "scheduler/rules/replica_callbacks.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/log.h"
#include "common/domain/hand_out_outcome.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/dispatch.h"
#include "scheduler/rules/lease_lifecycle.h"
#include "scheduler/rules/query_answers.h"
#include "scheduler/rules/spans.h"
#include "scheduler/rules/worker_liveness.h"

enum {
    CONTACT_FAILURES = 3, /* unanswered callbacks in a row until contact is lost */
    RETRY_PAUSE_MS = 100,
    PROBE_PAUSE_MS = 1000,
    CALLBACK_PUT_OFF = 250,  /* of the hand-outs in a callback, those that were put off before */
    LATER_PAUSE_MS = 50,     /* after a callback whose hand-outs were all put off */
    CALLBACK_HAND_OUTS = 500 /* at most in one callback */
};

/* `traceparent`: "" if it has none. */
static json_t *hand_out_json(const struct scheduler *scheduler, const struct live_lease *lease,
                             const char *traceparent)
{
    json_t *value = json_pack("{s:I,s:s,s:s,s:i,s:I}", "poll", (json_int_t)lease->poll, "worker",
                              lease->worker->id, "job", lease->job, "attempt", (int)lease->attempt,
                              "expires_in_ms",
                              (json_int_t)(lease->deadline_ms - scheduler->now_ms));
    if (traceparent[0] != '\0')
        json_object_set_new(value, TRACEPARENT_HEADER, json_string(traceparent));
    return value;
}

/* Moves everything that is pending for the replica into one callback. */
static struct callback *build_callback(struct scheduler *scheduler, struct known_replica *replica)
{
    struct callback *callback = callback_new(CALLBACK_HAND_OUTS);
    json_t *hand_outs = json_array(), *empty = json_array();
    struct live_lease *lease;
    size_t put_off = 0;
    DL_FOREACH2 (replica->outbox, lease, outbox_next) {
        if (callback->sent_count == CALLBACK_HAND_OUTS)
            break;
        if (lease->is_put_off && put_off == CALLBACK_PUT_OFF)
            continue;
        char traceparent[TRACEPARENT_SIZE] = "";
        if (replica->takes_traceparent)
            spans_traceparent(scheduler, lease, traceparent);
        if (json_array_append_new(hand_outs, hand_out_json(scheduler, lease, traceparent)) != 0)
            continue; /* not counted as sent: the reply's outcomes are matched by index */
        if (callback->traceparent[0] == '\0')
            memcpy(callback->traceparent, traceparent, sizeof traceparent);
        struct sent_hand_out *sent = &callback->sent[callback->sent_count++];
        snprintf(sent->job, sizeof sent->job, "%s", lease->job);
        snprintf(sent->worker, sizeof sent->worker, "%s", lease->worker->id);
        sent->attempt = lease->attempt;
        sent->poll = lease->poll;
        put_off += lease->is_put_off;
        lease->is_sent = true;
    }
    for (size_t i = 0; i < replica->empty_count; i++)
        json_array_append_new(empty, json_integer(replica->empty[i]));
    replica->empty_count = 0;
    snprintf(callback->replica, sizeof callback->replica, "%s", replica->id);
    snprintf(callback->process, sizeof callback->process, "%s", replica->process);
    snprintf(callback->url, sizeof callback->url, "%s/internal/v1/callbacks", replica->url);
    callback->generation = scheduler->generation;
    callback->is_first_try = replica->failures == 0;
    json_t *body = json_pack("{s:I,s:s,s:b,s:o,s:o}", "term", (json_int_t)scheduler->term,
                             "process", replica->process, "announce", (int)replica->wants_resync,
                             "hand_outs", hand_outs, "empty", empty);
    callback->has_events = replica->events != NULL;
    json_t *answers = query_answers_take(scheduler, replica);
    if (answers != NULL)
        json_object_set_new(body, "answers", answers);
    replica_take_events(replica, body);
    callback->body = json_dumps(body, JSON_COMPACT);
    if (callback->body == NULL)
        abort();
    json_decref(body);
    replica->wants_resync = false;
    return callback;
}

static bool has_news(const struct scheduler *scheduler, const struct known_replica *replica)
{
    return replica->outbox != NULL || replica->empty_count > 0 || replica->wants_resync ||
           replica->events != NULL || query_answers_are_due(scheduler, replica);
}

void replica_callbacks_round(struct scheduler *scheduler)
{
    struct known_replica *replica, *following;
    HASH_ITER (hh, scheduler->replicas.replicas, replica, following) {
        if (replica->is_busy || scheduler->now_ms < replica->retry_ms ||
            !has_news(scheduler, replica))
            continue;
        replica->is_busy = true;
        metric_add(scheduler->metrics, SCHEDULER_CALLBACKS, 1);
        scheduler_post_callback(scheduler, build_callback(scheduler, replica));
    }
    query_answers_end_round(scheduler);
}

/* The lease that an outcome belongs to; NULL if the lease no longer waits for that outcome. */
static struct live_lease *answered_lease(const struct scheduler *scheduler,
                                         const struct known_replica *replica,
                                         const struct sent_hand_out *sent)
{
    struct live_lease *lease = lease_table_find(&scheduler->leases, sent->job);
    if (lease == NULL || lease->attempt != sent->attempt || lease->replica != replica ||
        lease->poll != sent->poll)
        return NULL;
    return lease;
}

/* Takes back a hand-out whose outcome is unknown or was put off: the next callback sends it again,
 * in the same order. True: the lease has ended in the meantime, and its poll waits again. */
static bool take_back_hand_out(struct scheduler *scheduler, const struct known_replica *replica,
                               const struct sent_hand_out *sent, bool is_put_off)
{
    struct parked_poll *poll = replica_find_poll(replica, sent->poll);
    struct live_lease *lease = answered_lease(scheduler, replica, sent);
    if (lease != NULL) {
        lease->is_sent = false;
        lease->is_put_off = lease->is_put_off || is_put_off;
        return false;
    }
    if (poll == NULL || poll->state != POLL_MATCHED)
        return false;
    dispatch_return_poll(scheduler, poll, sent->worker);
    return true;
}

static void apply_outcome(struct scheduler *scheduler, struct known_replica *replica,
                          const struct sent_hand_out *sent, const char *outcome, const char *reason)
{
    struct parked_poll *poll = replica_find_poll(replica, sent->poll);
    struct live_lease *lease = answered_lease(scheduler, replica, sent);
    bool was_undeliverable = strcmp(outcome, "undeliverable") == 0;
    if (poll != NULL && was_undeliverable && lease != NULL)
        dispatch_return_poll(scheduler, poll, lease->worker->id);
    else if (poll != NULL)
        poll_answered(&scheduler->replicas, poll, scheduler->now_ms);
    if (lease == NULL)
        return;
    if (strcmp(outcome, "delivered") == 0) {
        lease_is_delivered(scheduler, lease);
        return;
    }
    if (!was_undeliverable) {
        lease_becomes_unconfirmed(scheduler, lease, GONE_HOLD_MS);
        return;
    }
    log_warning("job can't be delivered", log_text("job_id", lease->job),
                log_text("reason", reason));
    lease_begin_end(scheduler, lease, LEASE_UNDELIVERABLE);
}

static void apply_reply(struct scheduler *scheduler, struct known_replica *replica,
                        const struct callback *callback, const json_t *reply)
{
    const json_t *outcomes = json_object_get(reply, "outcomes"),
                 *reasons = json_object_get(reply, "reasons");
    size_t put_off = 0;
    for (size_t i = 0; i < callback->sent_count; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        const char *outcome = json_string_value(json_array_get(outcomes, i));
        const char *reason = json_string_value(json_object_get(reasons, key));
        if (outcome != NULL && strcmp(outcome, HAND_OUT_LATER) == 0) {
            (void)take_back_hand_out(scheduler, replica, &callback->sent[i], true);
            put_off++;
            continue;
        }
        apply_outcome(scheduler, replica, &callback->sent[i], outcome != NULL ? outcome : "gone",
                      reason != NULL ? reason : "");
    }
    if (put_off > 0 && put_off == callback->sent_count)
        replica->retry_ms = scheduler->now_ms + LATER_PAUSE_MS;
}

void replica_lost_contact(struct scheduler *scheduler, struct known_replica *replica)
{
    struct live_lease *lease, *following;
    log_warning("replica out of contact", log_text("replica", replica->id));
    replica->in_contact = false;
    scheduler->status_is_stale = true;
    DL_FOREACH_SAFE2(replica->outbox, lease, following, outbox_next)
    {
        struct parked_poll *poll = replica_find_poll(replica, lease->poll);
        if (poll != NULL)
            poll_unmatch(&scheduler->replicas, poll, lease->worker);
        lease_becomes_unconfirmed(scheduler, lease, 2 * scheduler->settings.heartbeat_ms);
    }
}

void replica_changed_process(struct scheduler *scheduler, struct known_replica *replica,
                             const char *process)
{
    struct live_lease *lease, *following_lease;
    struct parked_poll *poll, *following_poll;
    log_info("replica has restarted", log_text("replica", replica->id));
    replica->in_contact = false; /* until the new process has answered */
    scheduler->status_is_stale = true;
    DL_FOREACH_SAFE2(replica->outbox, lease, following_lease, outbox_next)
    lease_becomes_unconfirmed(scheduler, lease, 2 * scheduler->settings.heartbeat_ms);
    HASH_ITER (hh, replica->polls, poll, following_poll)
        poll_answered(&scheduler->replicas, poll, scheduler->now_ms);
    replica_forget_answered(replica,
                            INT64_MAX); /* the new process numbers its polls from one again */
    worker_sockets_lost(scheduler, replica);
    watch_table_clear(&replica->watches);
    replica_clear_queries(replica);
    replica->empty_count = 0;
    replica->wants_resync = true;
    replica->retry_ms = 0;
    replica->failures = 0;
    replica->seen_number = 0;
    memcpy(replica->former_process, replica->process, sizeof replica->former_process);
    snprintf(replica->process, sizeof replica->process, "%s", process);
}

/* Takes back the hand-outs of a callback without a usable reply. If a poll waits again, the replica
 * may have answered it already: a full resync corrects that. */
static void take_back_hand_outs(struct scheduler *scheduler, struct known_replica *replica,
                                const struct callback *callback)
{
    for (size_t i = 0; i < callback->sent_count; i++)
        if (take_back_hand_out(scheduler, replica, &callback->sent[i], false))
            replica->wants_resync = true;
}

static void callback_failed(struct scheduler *scheduler, struct known_replica *replica,
                            const struct callback *callback)
{
    take_back_hand_outs(scheduler, replica, callback);
    metric_add(scheduler->metrics, SCHEDULER_CALLBACKS_FAILED, 1);
    replica->failures++;
    if (replica->failures < CONTACT_FAILURES) {
        replica->retry_ms = scheduler->now_ms + ((int64_t)RETRY_PAUSE_MS << replica->failures);
        replica->wants_resync = replica->wants_resync || replica->outbox == NULL;
        return;
    }
    replica->retry_ms = scheduler->now_ms + PROBE_PAUSE_MS;
    if (replica->in_contact || replica->outbox != NULL)
        replica_lost_contact(scheduler, replica);
}

static void callback_succeeded(struct scheduler *scheduler, struct known_replica *replica,
                               const struct callback *callback, const json_t *reply)
{
    replica->failures = 0;
    replica->retry_ms = 0;
    if (!replica->in_contact) {
        replica->in_contact = true;
        scheduler->status_is_stale = true;
        log_info("replica in contact", log_text("replica", replica->id));
    }
    replica->takes_traceparent = json_is_true(json_object_get(reply, TRACEPARENT_HEADER));
    apply_reply(scheduler, replica, callback, reply);
}

/* A replica refuses a callback for one of two reasons: it has seen a later leader, or the callback
 * was addressed to a former process. */
static void callback_refused(struct scheduler *scheduler, struct known_replica *replica,
                             const json_t *reply)
{
    const char *process = json_string_value(json_object_get(reply, "process"));
    if (process != NULL && strlen(process) < sizeof replica->process) {
        replica_changed_process(scheduler, replica, process);
        return;
    }
    log_warning("a later leader was seen", log_text("replica", replica->id),
                log_number("term", scheduler->term));
    scheduler_distrust_leadership(scheduler);
}

void replica_callbacks_completed(struct scheduler *scheduler, const struct callback *callback)
{
    struct known_replica *replica = replica_table_find(&scheduler->replicas, callback->replica);
    if (replica == NULL)
        return;
    replica->is_busy = false;
    /* Answers that were too large (413) would be too large again, so they are dropped too: a client
     * that still waits asks again. */
    replica_queries_sent(replica, callback->status == 200 || callback->status == 413);
    if (strcmp(replica->process, callback->process) != 0)
        return; /* what it carried was taken back when the process changed */
    json_t *reply = callback->status > 0 ? json_loads(callback->reply, 0, NULL) : NULL;
    if (callback->status == 200 && reply != NULL)
        callback_succeeded(scheduler, replica, callback, reply);
    else if (callback->status == 409 && reply != NULL)
        callback_refused(scheduler, replica, reply);
    else
        callback_failed(scheduler, replica, callback);
    if (callback->status != 200 && callback->has_events)
        replica->wants_resync = true; /* the resync lists what each watcher was notified of last */
    json_decref(reply);
}
