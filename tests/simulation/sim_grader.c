#include "tests/simulation/sim_grader.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/simulation/sim_return.h"
#include "tests/simulation/world.h"

enum {
    DICE_GRADER = 40,
    REGISTRATIONS_MOST = 38,
    TRY_AGAIN_MS = 1000,
    HANG_MOST_MS = 60 * 1000,
    SOCKET_PING_MS = 25 * 1000,
    RETURN_AFTER_MS = 500
};

/* Something that a grader does later, or that is on its way between it and a replica. */
struct grader_task {
    struct task task;
    struct poll_owner owner;
    int replica; /* it is on its way to this one */
    uint32_t incarnation;
    int64_t number;
    struct subject job;
    struct sim_answer answer;
};

static struct sim_grader *grader_of(struct world *world, struct poll_owner owner)
{
    struct sim_grader *grader = &world->graders[owner.grader];
    return grader->incarnation == owner.incarnation ? grader : NULL;
}

/* The slot, if it still does what it did then. */
static struct sim_slot *slot_of(struct world *world, struct poll_owner owner)
{
    struct sim_grader *grader = grader_of(world, owner);
    if (grader == NULL || grader->slots[owner.slot].serial != owner.serial)
        return NULL;
    return &grader->slots[owner.slot];
}

static struct poll_owner slot_owner(const struct world *world, int number, int slot)
{
    const struct sim_grader *grader = &world->graders[number];
    return (struct poll_owner){number, slot, grader->incarnation, grader->slots[slot].serial};
}

static struct grader_task *grader_later(struct world *world, struct poll_owner owner,
                                        int64_t delay_ms,
                                        void (*run)(struct world *world, struct task *task))
{
    struct grader_task *later = bw_alloc(sizeof *later);
    later->owner = owner;
    world_later(world, delay_ms, &later->task, run);
    return later;
}

static enum grader_kind grader_kind(const struct world *world, int number)
{
    return world->plan->graders[number].kind;
}

/* A replica that answers connections, -1: the one that was tried does not. */
static int choose_replica(struct world *world, struct sim_grader *grader)
{
    int number = (int)dice_between(&grader->dice, 0, REPLICAS - 1);
    return world->replicas[number].is_up ? number : -1;
}

static int64_t network_ms(struct sim_grader *grader)
{
    return dice_between(&grader->dice, 1, 4);
}

/* Sends to a replica; `run` is called there, unless it is another process by then. */
static void grader_send(struct world *world, struct poll_owner owner, int replica,
                        struct subject job, int64_t number,
                        void (*run)(struct world *world, struct task *task))
{
    struct grader_task *sent = grader_later(world, owner, network_ms(&world->graders[owner.grader]),
                                            run);
    sent->replica = replica;
    sent->incarnation = world->replicas[replica].incarnation;
    sent->job = job;
    sent->number = number;
}

/* False: the replica that it was sent to is no more. */
static bool has_arrived(const struct world *world, const struct grader_task *sent)
{
    return world->replicas[sent->replica].incarnation == sent->incarnation;
}

static void slot_poll(struct world *world, struct poll_owner owner);
static void grader_begin(struct world *world, int number);
static void grader_register_again(struct world *world, struct task *task);

/* ---- Its life ---- */

static void grader_begin_again(struct world *world, struct task *task)
{
    int number = ((struct grader_task *)task)->owner.grader;
    free(task);
    if (!world->graders[number].is_alive)
        grader_begin(world, number);
}

static void socket_has_ended(struct world *world, struct task *task)
{
    struct grader_task *ended = (struct grader_task *)task;
    if (has_arrived(world, ended)) {
        if (sim_replica_postpones(world, ended->replica, task, socket_has_ended))
            return;
        sim_replica_close_poll(world, ended->replica, ended->owner);
        sim_replica_ask(world, ended->replica,
                        &(struct sim_query){.kind = QUERY_ENDED,
                                            .worker = ended->job.worker,
                                            .run = -1,
                                            .epoch = ended->number});
    }
    free(ended);
}

/* Its replica notices: at once, or when pings stay without an answer. */
static void socket_end(struct world *world, int number)
{
    struct sim_grader *grader = &world->graders[number];
    bool is_noticed = dice_chance(&grader->dice, 500);
    int64_t notice_ms = is_noticed ? 1 : dice_between(&grader->dice, 1000, SOCKET_PING_MS);
    if (grader->socket < 0)
        return;
    struct grader_task *ended = grader_later(world, slot_owner(world, number, 0), notice_ms,
                                             socket_has_ended);
    ended->replica = grader->socket;
    ended->incarnation = grader->socket_incarnation;
    ended->job = (struct subject){-1, -1, -1, grader->worker};
    ended->number = grader->epoch;
    check_socket_end(world, grader->worker);
    grader->socket = -1;
}

static void grader_die(struct world *world, int number)
{
    struct sim_grader *grader = &world->graders[number];
    int64_t pause_ms = dice_between(&grader->dice, 2000, 120 * 1000);
    world_note(world, ACTOR_GRADER, number, "dies", (struct subject){-1, -1, -1, grader->worker},
               0);
    socket_end(world, number);
    grader->is_alive = grader->is_registered = false;
    grader->incarnation++;
    memset(grader->slots, 0, sizeof grader->slots);
    if (grader->registrations < REGISTRATIONS_MOST)
        grader_later(world, slot_owner(world, number, 0), pause_ms, grader_begin_again);
}

/* Is its websocket with a process that is no more? */
static bool socket_is_stale(const struct world *world, int number)
{
    const struct sim_grader *grader = &world->graders[number];
    return grader_kind(world, number) == GRADER_SOCKET &&
           world->replicas[grader->socket].incarnation != grader->socket_incarnation;
}

/* A websocket is no more: its grader drops the job and registers again. */
static void socket_is_broken(struct world *world, int number)
{
    struct sim_grader *grader = &world->graders[number];
    grader->socket = -1;
    grader->is_registered = false;
    grader->incarnation++;
    memset(grader->slots, 0, sizeof grader->slots);
    grader_later(world, slot_owner(world, number, 0), dice_between(&grader->dice, 100, 2000),
                 grader_register_again);
}

static void grader_dies_later(struct world *world, struct task *task)
{
    struct grader_task *death = (struct grader_task *)task;
    if (slot_of(world, death->owner) != NULL)
        grader_die(world, death->owner.grader);
    free(death);
}

/* ---- Heartbeats ---- */

static void heartbeat_arrives(struct world *world, struct task *task)
{
    struct grader_task *sent = (struct grader_task *)task;
    if (has_arrived(world, sent)) {
        if (sim_replica_postpones(world, sent->replica, task, heartbeat_arrives))
            return;
        sim_replica_seen(world, sent->replica, sent->job.worker, SEEN_HEARTBEAT);
    }
    free(sent);
}

static bool grader_works(const struct sim_grader *grader)
{
    bool works = false;
    for (int i = 0; i < SLOTS_MOST; i++)
        works = works || grader->slots[i].state >= SLOT_WORKING;
    return works;
}

static void grader_beat(struct world *world, struct task *task)
{
    struct grader_task *beat = (struct grader_task *)task;
    struct sim_grader *grader = grader_of(world, beat->owner);
    if (grader == NULL) {
        free(beat);
        return;
    }
    bool is_socket = grader_kind(world, beat->owner.grader) == GRADER_SOCKET;
    int replica = choose_replica(world, grader);
    if (is_socket)
        replica = grader->socket;
    bool is_due = is_socket || grader_works(grader);
    if (is_due && replica >= 0 && world->now_ms >= grader->silent_ms &&
        (!is_socket || world->replicas[replica].incarnation == grader->socket_incarnation))
        grader_send(world, beat->owner, replica, (struct subject){-1, -1, -1, grader->worker}, 0,
                    heartbeat_arrives);
    world_later(world, replica < 0 && is_due ? TRY_AGAIN_MS : world->plan->heartbeat_ms, task,
                grader_beat);
}

/* ---- Registration ---- */

static void registration_arrives(struct world *world, struct task *task)
{
    struct grader_task *sent = (struct grader_task *)task;
    if (has_arrived(world, sent) &&
        sim_replica_postpones(world, sent->replica, task, registration_arrives))
        return;
    if (has_arrived(world, sent))
        sim_grader_register(world, sent->replica, sent->owner, sent->number);
    else
        sim_grader_registered(world, sent->owner, false);
    free(sent);
}

static void grader_register_again(struct world *world, struct task *task)
{
    struct grader_task *again = (struct grader_task *)task;
    struct sim_grader *grader = grader_of(world, again->owner);
    int replica = grader == NULL ? -1 : choose_replica(world, grader);
    if (grader != NULL && replica < 0) {
        world_later(world, TRY_AGAIN_MS, task, grader_register_again);
        return;
    }
    if (grader != NULL) {
        grader->socket = grader_kind(world, again->owner.grader) == GRADER_SOCKET ? replica : -1;
        grader->socket_incarnation = world->replicas[replica].incarnation;
        grader_send(world, again->owner, replica, SUBJECT_NONE, 0, registration_arrives);
    }
    free(again);
}

void sim_grader_may_renew(struct world *world, int replica, struct poll_owner owner, bool is_taken,
                          int64_t epoch)
{
    struct sim_grader *grader = grader_of(world, owner);
    if (grader == NULL)
        return;
    if (is_taken || epoch <= 0) {
        sim_grader_registered(world, owner, false);
        return;
    }
    sim_grader_register(world, replica, owner, epoch);
}

/* It learns of that a moment later. */
static void grader_is_registered(struct world *world, struct task *task)
{
    struct grader_task *notified = (struct grader_task *)task;
    struct poll_owner owner = notified->owner;
    struct sim_grader *grader = grader_of(world, owner);
    bool is_done = notified->number != 0;
    free(notified);
    if (grader == NULL)
        return;
    if (!is_done || socket_is_stale(world, owner.grader)) {
        int64_t pause_ms = dice_between(&grader->dice, TRY_AGAIN_MS, 3 * TRY_AGAIN_MS);
        grader_later(world, owner, pause_ms, grader_register_again);
        return;
    }
    grader->is_registered = true;
    grader->epoch = world->database.workers[grader->worker].worker.epoch;
    for (int slot = 0; slot < world->plan->graders[owner.grader].slots; slot++)
        slot_poll(world, slot_owner(world, owner.grader, slot));
    if (grader_kind(world, owner.grader) != GRADER_SILENT)
        grader_later(world, owner, dice_between(&grader->dice, 0, world->plan->heartbeat_ms),
                     grader_beat);
}

void sim_grader_registered(struct world *world, struct poll_owner owner, bool is_done)
{
    struct grader_task *notified = grader_later(world, owner, 1, grader_is_registered);
    notified->number = is_done;
}

static void grader_begin(struct world *world, int number)
{
    struct sim_grader *grader = &world->graders[number];
    bool is_course = grader_kind(world, number) >= GRADER_COURSE;
    grader->is_alive = true;
    grader->incarnation++;
    grader->worker = number * (WORKERS_MOST / GRADERS) + (is_course ? 0 : grader->registrations);
    grader->registrations++;
    grader->socket = -1;
    grader->silent_ms = grader->broken_ms = 0;
    world_note(world, ACTOR_GRADER, number, "begins", (struct subject){-1, -1, -1, grader->worker},
               grader->registrations);
    grader_later(world, slot_owner(world, number, 0), 1, grader_register_again);
}

void sim_grader_init(struct world *world, int number)
{
    struct sim_grader *grader = &world->graders[number];
    grader->dice = dice_make(world->plan->seed, DICE_GRADER, (uint64_t)number);
    grader->socket = -1;
    grader_later(world, slot_owner(world, number, 0), world->plan->graders[number].joins_ms,
                 grader_begin_again);
}

/* ---- Polls ---- */

static void poll_arrives(struct world *world, struct task *task)
{
    struct grader_task *sent = (struct grader_task *)task;
    bool is_socket = grader_kind(world, sent->owner.grader) == GRADER_SOCKET;
    if (has_arrived(world, sent) && sim_replica_postpones(world, sent->replica, task, poll_arrives))
        return;
    if (has_arrived(world, sent)) {
        sim_replica_poll(world, sent->replica, sent->job.worker, sent->owner, sent->number,
                         is_socket);
    } else {
        sim_grader_answer(world, &(struct sim_answer){.owner = sent->owner, .is_broken = true});
    }
    free(sent);
}

static void poll_is_closed(struct world *world, struct task *task)
{
    struct grader_task *sent = (struct grader_task *)task;
    if (has_arrived(world, sent)) {
        if (sim_replica_postpones(world, sent->replica, task, poll_is_closed))
            return;
        sim_replica_close_poll(world, sent->replica, sent->owner);
    }
    free(sent);
}

static void slot_poll_again(struct world *world, struct task *task)
{
    struct grader_task *again = (struct grader_task *)task;
    struct poll_owner owner = again->owner;
    bool is_same = slot_of(world, owner) != NULL;
    free(again);
    if (is_same)
        slot_poll(world, owner);
}

/* The grader closes the connection, and asks again. */
static void slot_close(struct world *world, struct task *task)
{
    struct grader_task *closes = (struct grader_task *)task;
    struct poll_owner owner = closes->owner;
    struct sim_slot *slot = slot_of(world, owner);
    free(closes);
    if (slot == NULL || slot->state != SLOT_POLLING)
        return;
    grader_send(world, owner, slot->replica, SUBJECT_NONE, 0, poll_is_closed);
    slot->serial++;
    slot->state = SLOT_IDLE;
    grader_later(world, slot_owner(world, owner.grader, owner.slot), 5, slot_poll_again);
}

static void slot_poll(struct world *world, struct poll_owner owner)
{
    struct sim_grader *grader = &world->graders[owner.grader];
    struct sim_slot *slot = &grader->slots[owner.slot];
    int replica = choose_replica(world, grader);
    int64_t wait_ms = dice_chance(&grader->dice, 50) ? 0
                                                     : dice_between(&grader->dice, 15, 90) * 1000;
    bool closes = world_has_fault(world, &grader->dice, FAULT_CLOSED_POLL, 60);
    int64_t close_ms = dice_between(&grader->dice, 1, wait_ms + 500);
    bool is_socket = grader_kind(world, owner.grader) == GRADER_SOCKET;
    if (socket_is_stale(world, owner.grader)) {
        socket_is_broken(world, owner.grader);
        return;
    }
    if (is_socket)
        replica = grader->socket;
    slot->serial++;
    slot->state = SLOT_IDLE;
    struct poll_owner asked = slot_owner(world, owner.grader, owner.slot);
    if (replica < 0) {
        grader_later(world, asked, dice_between(&grader->dice, 100, 1000), slot_poll_again);
        return;
    }
    slot->state = SLOT_POLLING;
    slot->replica = replica;
    grader_send(world, asked, replica, (struct subject){-1, -1, -1, grader->worker}, wait_ms,
                poll_arrives);
    if (closes && !is_socket)
        grader_later(world, asked, close_ms, slot_close);
}

/* ---- Work ---- */

static void result_arrives(struct world *world, struct task *task)
{
    struct grader_task *sent = (struct grader_task *)task;
    if (has_arrived(world, sent) &&
        sim_replica_postpones(world, sent->replica, task, result_arrives))
        return;
    if (has_arrived(world, sent)) {
        sim_grader_submit(world, sent->replica, sent->owner, sent->job, (unsigned)sent->number);
    } else {
        sim_grader_reported(world, sent->owner, false);
    }
    free(sent);
}

static void slot_report(struct world *world, struct task *task)
{
    struct grader_task *reports = (struct grader_task *)task;
    struct poll_owner owner = reports->owner;
    struct sim_slot *slot = slot_of(world, owner);
    free(reports);
    if (slot == NULL)
        return;
    struct sim_grader *grader = &world->graders[owner.grader];
    int replica = choose_replica(world, grader);
    bool is_twice = world_has_fault(world, &grader->dice, FAULT_DOUBLE_RESULT, 60);
    int second = choose_replica(world, grader);
    slot->state = SLOT_REPORTING;
    if (socket_is_stale(world, owner.grader)) {
        socket_is_broken(world, owner.grader);
        return;
    }
    if (grader_kind(world, owner.grader) == GRADER_SOCKET)
        replica = grader->socket;
    if (replica < 0) {
        grader_later(world, owner, dice_between(&grader->dice, 100, 1000), slot_report);
        return;
    }
    grader_send(world, owner, replica, slot->job, slot->how, result_arrives);
    if (is_twice && second >= 0)
        grader_send(world, owner, second, slot->job, slot->how, result_arrives);
}

static void slot_is_reported(struct world *world, struct task *task)
{
    struct grader_task *notified = (struct grader_task *)task;
    struct poll_owner owner = notified->owner;
    bool is_completed = notified->number != 0;
    struct sim_slot *slot = slot_of(world, owner);
    free(notified);
    if (slot == NULL)
        return;
    struct sim_grader *grader = &world->graders[owner.grader];
    if (is_completed)
        slot_poll(world, owner);
    else if (socket_is_stale(world, owner.grader))
        socket_is_broken(world, owner.grader);
    else
        grader_later(world, owner, dice_between(&grader->dice, 200, 2000), slot_report);
}

void sim_grader_reported(struct world *world, struct poll_owner owner, bool is_completed)
{
    struct grader_task *notified = grader_later(world, owner, 1, slot_is_reported);
    notified->number = is_completed;
}

/* How long the job takes; what happens to its grader meanwhile. */
static int64_t slot_fate(struct world *world, struct poll_owner owner, int64_t expires_in_ms)
{
    struct sim_grader *grader = &world->graders[owner.grader];
    struct dice *dice = &grader->dice;
    struct sim_slot *slot = &grader->slots[owner.slot];
    int64_t most_ms = expires_in_ms * 7 / 10 > 1000 ? expires_in_ms * 7 / 10 : 1000;
    int64_t work_ms = dice_between(dice, 300, dice_chance(dice, 100) ? most_ms : most_ms / 4 + 300);
    bool hangs = world_has_fault(world, dice, FAULT_HANG, 40);
    bool is_silent = world_has_fault(world, dice, FAULT_SILENCE, 30);
    bool dies = world_has_fault(world, dice, FAULT_DEATH, 50);
    bool breaks = world_has_fault(world, dice, FAULT_QUICK_FAILURE, 10);
    int64_t late_ms = dice_between(dice, 1000, HANG_MOST_MS);
    int64_t silent_ms = dice_between(dice, 2000, 60 * 1000);
    bool fails = dice_chance(dice, 100),
         is_refused = world_has_fault(world, dice, FAULT_REFUSED_RESULT, 50);
    if (is_silent)
        grader->silent_ms = world->now_ms + silent_ms;
    if (breaks)
        grader->broken_ms = world->now_ms + silent_ms;
    if (hangs)
        work_ms = expires_in_ms + late_ms;
    if (dies)
        grader_later(world, owner, dice_between(dice, 1, work_ms), grader_dies_later);
    bool is_quick = world->now_ms < grader->broken_ms;
    slot->how = (fails ? RESULT_FAILED : 0) | (is_refused ? RESULT_REFUSED : 0) |
                (is_quick ? RESULT_FAILED | RESULT_SILENT : 0);
    if (sim_return_is_due(world, slot->job)) {
        slot->how = RESULT_RETURN;
        grader->broken_ms = world->now_ms > grader->broken_ms ? world->now_ms : grader->broken_ms;
        return RETURN_AFTER_MS;
    }
    return is_quick ? dice_between(dice, 50, 1500) : work_ms;
}

static void slot_work(struct world *world, struct poll_owner owner, const struct sim_answer *answer)
{
    struct sim_slot *slot = &world->graders[owner.grader].slots[owner.slot];
    slot->serial++;
    slot->state = SLOT_WORKING;
    slot->job = answer->subject;
    struct poll_owner works = slot_owner(world, owner.grader, owner.slot);
    world_note(world, ACTOR_GRADER, owner.grader, "works", slot->job, 0);
    grader_later(world, works, slot_fate(world, works, answer->expires_in_ms), slot_report);
}

static void poll_is_answered(struct world *world, struct task *task)
{
    struct grader_task *answered = (struct grader_task *)task;
    struct sim_answer answer = answered->answer;
    struct poll_owner owner = answer.owner;
    struct sim_slot *slot = slot_of(world, owner);
    free(answered);
    if (slot == NULL || slot->state != SLOT_POLLING)
        return;
    struct sim_grader *grader = &world->graders[owner.grader];
    bool is_socket = grader_kind(world, owner.grader) == GRADER_SOCKET;
    if (answer.is_broken && is_socket)
        socket_is_broken(world, owner.grader);
    else if (answer.has_job && !answer.is_lost)
        slot_work(world, owner, &answer);
    else
        grader_later(world, owner, dice_between(&grader->dice, 10, answer.is_broken ? 2000 : 200),
                     slot_poll_again);
}

void sim_grader_answer(struct world *world, const struct sim_answer *answer)
{
    struct sim_grader *grader = &world->graders[answer->owner.grader];
    bool is_lost_socket = answer->is_lost &&
                          grader_kind(world, answer->owner.grader) == GRADER_SOCKET;
    struct grader_task *sent = grader_later(world, answer->owner, network_ms(grader),
                                            poll_is_answered);
    sent->answer = *answer;
    sent->answer.is_lost = answer->is_lost && !is_lost_socket;
}
