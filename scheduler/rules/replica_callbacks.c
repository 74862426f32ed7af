/*
 * Contact with the replicas: what each is to be told goes to it in one callback at a time, and its
 * reply says what became of each hand-out.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "scheduler/core/core.h"
#include "scheduler/metrics.h"

enum {
    CONTACT_FAILURES = 3, /* unanswered callbacks in a row that end the contact */
    RETRY_PAUSE_MS = 100,
    PROBE_PAUSE_MS = 1000,
    CALLBACK_HAND_OUTS = 500 /* at most in one callback */
};

static json_t *hand_out_json(const struct core *core, const struct live_lease *lease)
{
    return json_pack("{s:I,s:s,s:s,s:i,s:I}", "poll", (json_int_t)lease->poll, "worker",
                     lease->worker->id, "job", lease->job, "attempt", (int)lease->attempt,
                     "expires_in_ms", (json_int_t)(lease->deadline_ms - core->now_ms));
}

/* Moves what the replica is to be told into one callback. */
static struct callback *build_callback(struct core *core, struct known_replica *replica)
{
    struct callback *callback = callback_new(CALLBACK_HAND_OUTS);
    json_t *hand_outs = json_array(), *empty = json_array();
    const struct live_lease *lease;
    DL_FOREACH2 (replica->outbox, lease, outbox_next) {
        if (callback->sent_count == CALLBACK_HAND_OUTS)
            break;
        if (json_array_append_new(hand_outs, hand_out_json(core, lease)) != 0)
            continue; /* what is counted as sent is what is sent: outcomes are paired by place */
        struct sent_hand_out *sent = &callback->sent[callback->sent_count++];
        snprintf(sent->job, sizeof sent->job, "%s", lease->job);
        sent->attempt = lease->attempt;
        sent->poll = lease->poll;
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
    if (callback->body == NULL)
        abort();
    json_decref(body);
    replica->wants_announcement = false;
    return callback;
}

void replicas_tell(struct core *core)
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
    replica->heard_number = 0;
    memcpy(replica->former_process, replica->process, sizeof replica->former_process);
    snprintf(replica->process, sizeof replica->process, "%s", process);
}

static void callback_failed(struct core *core, struct known_replica *replica,
                            const struct callback *callback)
{
    metric_add(core->metrics, SCHEDULER_CALLBACKS_FAILED, 1);
    replica->failures++;
    if (replica->failures < CONTACT_FAILURES) {
        replica_take_back_answers(replica, callback->body);
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

void callback_answered(struct core *core, struct callback *callback)
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
        callback_failed(core, replica, callback);
    if (callback->status != 200 && callback->has_events)
        replica->wants_announcement = true; /* its list says what its watchers were told last */
    json_decref(reply);
}
