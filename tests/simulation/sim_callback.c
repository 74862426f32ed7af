/*
 * What a replica does with a callback, as api/internal/callback_handler does it: a lower term and
 * another process are refused; hand-outs are delivered one by one.
 */
#include <stdlib.h>
#include <string.h>

#include "common/domain/hand_out_outcome.h"
#include "tests/simulation/world.h"

enum { DELIVERY_SLACK_MS = 5000, FULL_MOST_MS = 3000 };

enum outcome { HAND_OUT_DELIVERED, HAND_OUT_GONE, HAND_OUT_UNDELIVERABLE, HAND_OUT_PUT_OFF };

static const char *const outcome_names[] = {"delivered", "gone", "undeliverable", HAND_OUT_LATER};

struct hand_out {
    struct subject subject;
    int64_t poll, expires_in_ms;
};

static struct sim_delivery *find_delivery(struct sim_replica *replica, const struct hand_out *given)
{
    const struct subject *subject = &given->subject;
    for (size_t i = 0; i < replica->delivery_count; i++) {
        struct sim_delivery *delivery = &replica->deliveries[i];
        if (delivery->run == subject->run && delivery->slot == subject->slot &&
            (int)delivery->attempt == subject->attempt)
            return delivery;
    }
    return NULL;
}

static bool read_hand_out(struct world *world, const json_t *value, struct hand_out *given)
{
    uint32_t slot;
    const char *job = json_string_value(json_object_get(value, "job")),
               *worker = json_string_value(json_object_get(value, "worker"));
    if (job == NULL || worker == NULL)
        return false;
    given->subject = SUBJECT_NONE;
    if (sim_job_find(world, job, &given->subject.run, &slot) == NULL)
        return false;
    given->subject.slot = (int)slot;
    given->subject.attempt = (int)json_integer_value(json_object_get(value, "attempt"));
    given->subject.worker = sim_worker_number(worker);
    given->poll = json_integer_value(json_object_get(value, "poll"));
    given->expires_in_ms = json_integer_value(json_object_get(value, "expires_in_ms"));
    return true;
}

/* Has it no room for what it would hand out? Then for a while; and some of those who wait for that
 * cancel their run. */
static bool is_full(struct world *world, struct sim_replica *replica, int run)
{
    bool fills = world_has_fault(world, &replica->dice, FAULT_PUT_OFF, 100);
    bool is_given_up = world_has_fault(world, &replica->dice, FAULT_CANCEL, 300);
    int64_t full_ms = dice_between(&replica->dice, 50, FULL_MOST_MS);
    if (!fills || world->now_ms < replica->full_ms)
        return world->now_ms < replica->full_ms;
    replica->full_ms = world->now_ms + full_ms;
    if (is_given_up)
        sim_client_cancel(world, run, dice_between(&world->client.dice, 0, CANCEL_MOST_MS));
    return true;
}

static enum outcome hand_out_deliver(struct world *world, int number, const struct hand_out *given)
{
    struct sim_replica *replica = &world->replicas[number];
    const struct subject *subject = &given->subject;
    struct sim_delivery *delivery = find_delivery(replica, given);
    struct sim_poll *poll = sim_replica_find_poll(replica, given->poll, subject->worker);
    bool is_unbuildable = world_has_fault(world, &replica->dice, FAULT_UNDELIVERABLE, 20);
    if (delivery != NULL && delivery->poll == given->poll && delivery->worker == subject->worker)
        return HAND_OUT_DELIVERED;
    if (poll == NULL)
        return HAND_OUT_GONE;
    if (is_unbuildable)
        return HAND_OUT_UNDELIVERABLE;
    if (is_full(world, replica, subject->run))
        return HAND_OUT_PUT_OFF;
    if ((delivery != NULL && (delivery->is_finished || delivery->worker != subject->worker)) ||
        replica->delivery_count == DELIVERIES_MOST)
        return HAND_OUT_GONE;
    if (delivery == NULL)
        delivery = &replica->deliveries[replica->delivery_count++];
    *delivery = (struct sim_delivery){.run = subject->run,
                                      .slot = subject->slot,
                                      .worker = subject->worker,
                                      .attempt = (uint32_t)subject->attempt,
                                      .poll = given->poll,
                                      .expires_ms = world->now_ms + given->expires_in_ms +
                                                    DELIVERY_SLACK_MS};
    check_delivery(world, number, *subject);
    struct poll_owner owner = poll->owner;
    sim_replica_remove_poll(replica, poll);
    bool is_lost = world_has_fault(world, &replica->dice, FAULT_LOST_JOB, 15);
    sim_grader_answer(world, &(struct sim_answer){.owner = owner,
                                                  .has_job = true,
                                                  .is_lost = is_lost,
                                                  .subject = *subject,
                                                  .expires_in_ms = given->expires_in_ms});
    return HAND_OUT_DELIVERED;
}

static void answer_empty(struct world *world, int number, int64_t poll_number)
{
    struct sim_replica *replica = &world->replicas[number];
    struct sim_poll *poll = sim_replica_find_poll(replica, poll_number, -1);
    if (poll == NULL || !poll->is_ending)
        return;
    struct poll_owner owner = poll->owner;
    world_note(world, ACTOR_REPLICA, number, "poll answered: no job",
               (struct subject){-1, -1, -1, poll->worker}, poll_number);
    sim_replica_remove_poll(replica, poll);
    sim_grader_answer(world, &(struct sim_answer){.owner = owner});
}

static void take_answer(struct world *world, int number, const json_t *answer)
{
    struct sim_replica *replica = &world->replicas[number];
    int64_t about = json_integer_value(json_object_get(answer, "question"));
    const json_t *value = json_object_get(answer, "value");
    for (size_t i = 0; i < replica->query_count; i++) {
        struct sim_query query = replica->queries[i];
        if (query.number != about)
            continue;
        replica->queries[i] = replica->queries[--replica->query_count];
        check_answer(world, number, &query, value);
        if (query.kind == QUERY_PAUSES)
            sim_pause_answered(world, query.run, query.begun_ms);
        if (query.kind == QUERY_ALIVE)
            sim_grader_may_renew(world, number, query.owner,
                                 json_is_true(json_object_get(value, "taken")),
                                 json_integer_value(json_object_get(value, "epoch")));
        return;
    }
}

/* Is it the last event of its watch? */
static bool event_is_end(const char *type, const json_t *data)
{
    enum run_phase phase;
    if (strcmp(type, "over") == 0)
        return true;
    return strcmp(type, "phase") == 0 && json_is_string(data) &&
           run_phase_parse(json_string_value(data), &phase) && run_phase_is_over(phase);
}

static void take_event(struct world *world, int number, const json_t *event)
{
    struct sim_replica *replica = &world->replicas[number];
    int64_t about = json_integer_value(json_object_get(event, "watch"));
    const char *type = json_string_value(json_object_get(event, "type"));
    for (size_t i = 0; i < replica->watch_count && type != NULL; i++) {
        if (replica->watches[i].number != about ||
            !event_is_end(type, json_object_get(event, "data")))
            continue;
        world_note(world, ACTOR_REPLICA, number, "watchers told: over",
                   (struct subject){replica->watches[i].run, -1, -1, -1}, about);
        if (strcmp(type, "over") != 0) /* "over": the scheduler has no such run, perhaps not yet */
            check_watch_end(world, number, replica->watches[i].run);
        else if (world->database.runs[replica->watches[i].run].run.finished_ms == 0)
            sim_client_watch_again(world, replica->watches[i].run);
        replica->watches[i] = replica->watches[--replica->watch_count];
        return;
    }
}

static void take_news(struct world *world, int number, const json_t *body)
{
    size_t index;
    json_t *item;
    json_array_foreach (json_object_get(body, "empty"), index, item)
        answer_empty(world, number, json_integer_value(item));
    json_array_foreach (json_object_get(body, "answers"), index, item)
        take_answer(world, number, item);
    json_array_foreach (json_object_get(body, "events"), index, item)
        take_event(world, number, item);
}

static char *callback_refuse(json_t *body)
{
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    return text;
}

static char *callback_take(struct world *world, int number, const json_t *body)
{
    const struct sim_replica *replica = &world->replicas[number];
    json_t *outcomes = json_array(), *value;
    size_t index;
    if (json_is_true(json_object_get(body, "announce")))
        sim_signals_resync(world, number);
    json_array_foreach (json_object_get(body, "hand_outs"), index, value) {
        struct hand_out given;
        enum outcome outcome = read_hand_out(world, value, &given)
                                   ? hand_out_deliver(world, number, &given)
                                   : HAND_OUT_UNDELIVERABLE;
        json_array_append_new(outcomes, json_string(outcome_names[outcome]));
        world_note(world, ACTOR_REPLICA, number, outcome_names[outcome], given.subject, given.poll);
    }
    take_news(world, number, body);
    return callback_refuse(json_pack("{s:s,s:o,s:{}}", "process", replica->self.process, "outcomes",
                                     outcomes, "reasons"));
}

long sim_callback_handle(struct world *world, int number, const char *text, char **reply)
{
    struct sim_replica *replica = &world->replicas[number];
    json_t *body = json_loads(text, 0, NULL);
    const char *process = json_string_value(json_object_get(body, "process"));
    int64_t term = json_integer_value(json_object_get(body, "term"));
    long status = 409;
    if (process != NULL && process[0] != '\0' && strcmp(process, replica->self.process) != 0) {
        *reply = callback_refuse(json_pack("{s:s}", "process", replica->self.process));
    } else if (term < replica->highest_term) {
        world_note(world, ACTOR_REPLICA, number, "callback of an earlier term refused",
                   SUBJECT_NONE, term);
        *reply = callback_refuse(
            json_pack("{s:I}", "highest_term", (json_int_t)replica->highest_term));
    } else {
        replica->highest_term = term;
        *reply = callback_take(world, number, body);
        status = 200;
    }
    json_decref(body);
    return status;
}
