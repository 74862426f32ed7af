#include "tests/bench/load_fleet.h"

#include <stdlib.h>
#include <string.h>

#include "tests/bench/load_protocol.h"

enum { REGISTERING_AT_ONCE = 64 };

static const int64_t ping_every_ns = INT64_C(5000000000);

static void answered(struct link *link, const struct answer *answer);

/* Polls again, except with a websocket, which waits already. */
static void poll_again(struct grader *grader)
{
    const struct protocol *protocol = grader->fleet->protocol;
    if (!grader->fleet->is_polling && !protocol->is_socket) {
        grader->state = GRADER_IDLE;
        return;
    }
    grader->state = GRADER_POLLING;
    grader->fleet->polling++;
    if (!protocol->is_socket)
        protocol->poll(grader);
}

static void note_reported(struct grader *grader)
{
    struct fleet *fleet = grader->fleet;
    int64_t now = now_ns();
    fleet->reported_count++;
    fleet->last_reported_ns = now;
    samples_add(&fleet->result_answer, now - grader->reported_ns);
}

static void report(struct grader *grader)
{
    grader->state = GRADER_REPORTING;
    grader->reported_ns = now_ns();
    grader->fleet->protocol->report(grader);
    if (!grader->fleet->protocol->is_socket)
        return;
    note_reported(grader);
    poll_again(grader);
}

/* ---- Registering ---- */

static void register_more(struct fleet *fleet)
{
    while (fleet->registering < REGISTERING_AT_ONCE && fleet->next_new < fleet->count) {
        struct grader *grader = &fleet->graders[fleet->next_new++];
        fleet->registering++;
        grader->state = GRADER_REGISTERING;
        fleet->protocol->enroll(grader);
    }
}

static void take_registration(struct grader *grader, const struct answer *answer)
{
    struct fleet *fleet = grader->fleet;
    bool is_enrolled = fleet->protocol->take_enrolled(grader, answer);
    if (answer->status == 101)
        return; /* it has a request in flight */
    fleet->registering--;
    grader->state = GRADER_IDLE;
    grader->is_registered = is_enrolled;
    fleet->registered += is_enrolled;
    if (!is_enrolled)
        loop_refused(fleet->loop, answer);
    else if (fleet->protocol->is_socket)
        poll_again(grader);
    register_more(fleet);
}

/* ---- Jobs ---- */

static void note_held(struct grader *grader)
{
    struct fleet *fleet = grader->fleet;
    struct held_job *known;
    int64_t now = now_ns();
    HASH_FIND_STR(fleet->held, grader->job, known);
    if (known != NULL) {
        fleet->twice++;
        return;
    }
    known = calloc(1, sizeof *known);
    if (known == NULL)
        abort();
    memcpy(known->job, grader->job, sizeof known->job);
    HASH_ADD_STR(fleet->held, job, known);
    fleet->held_count++;
    fleet->last_held_ns = now;
    if (fleet->first_held_ns == 0)
        fleet->first_held_ns = now;
    if (fleet->held_at != NULL)
        samples_add(fleet->held_at, now - fleet->origin_ns);
    if (grader->reported_ns != 0)
        samples_add(&fleet->next_job, now - grader->reported_ns);
}

static void begin_work(struct grader *grader)
{
    struct fleet *fleet = grader->fleet;
    grader->state = GRADER_WORKING;
    grader->due_ns = now_ns() + fleet->work_ns;
    grader->next = NULL;
    if (fleet->first_working == NULL)
        fleet->first_working = grader;
    else
        fleet->last_working->next = grader;
    fleet->last_working = grader;
}

static void take_job(struct grader *grader, const struct answer *answer)
{
    struct fleet *fleet = grader->fleet;
    fleet->polling--;
    if (answer->status == 498) {
        poll_again(grader);
        return;
    }
    if (answer->status != 200 ||
        !answer_field(answer->body, fleet->protocol->job_field, grader->job)) {
        loop_refused(fleet->loop, answer);
        grader->state = GRADER_IDLE;
        return;
    }
    note_held(grader);
    if (fleet->work_ns == 0)
        report(grader);
    else
        begin_work(grader);
}

static void take_report(struct grader *grader, const struct answer *answer)
{
    if (answer->status == 200)
        note_reported(grader);
    else
        loop_refused(grader->fleet->loop, answer);
    poll_again(grader);
}

static void answered(struct link *link, const struct answer *answer)
{
    struct grader *grader = link->owner;
    switch (grader->state) {
    case GRADER_REGISTERING:
        take_registration(grader, answer);
        break;
    case GRADER_POLLING:
        take_job(grader, answer);
        break;
    case GRADER_REPORTING:
        take_report(grader, answer);
        break;
    default: /* a websocket that ends, or gets a message, during a job */
        loop_refused(grader->fleet->loop, answer);
        break;
    }
}

/* Sends pings, which are the heartbeats of websockets. */
static void send_heartbeats(struct fleet *fleet)
{
    int64_t now = now_ns();
    if (!fleet->protocol->is_socket || now - fleet->pinged_ns < ping_every_ns)
        return;
    fleet->pinged_ns = now;
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->graders[i].is_registered)
            link_send_frame(&fleet->graders[i].link, FRAME_PING, "", 0);
}

/* Finishes jobs in the order of their start, since all jobs take equally long. */
static void finish_work(void *context)
{
    struct fleet *fleet = context;
    while (fleet->first_working != NULL && fleet->first_working->due_ns <= now_ns()) {
        struct grader *grader = fleet->first_working;
        fleet->first_working = grader->next;
        report(grader);
    }
    send_heartbeats(fleet);
}

/* ---- The fleet ---- */

void fleet_open(struct fleet *fleet, struct loop *loop)
{
    memset(fleet, 0, sizeof *fleet);
    fleet->loop = loop;
    fleet->protocol = protocol_find("classic");
    loop->tick = finish_work;
    loop->context = fleet;
}

static bool are_registered(void *context)
{
    const struct fleet *fleet = context;
    return fleet->registering == 0 && fleet->next_new == fleet->count;
}

void fleet_grow(struct fleet *fleet, size_t count)
{
    if (fleet->graders == NULL) {
        fleet->graders = calloc(count, sizeof *fleet->graders); /* once: links point into it */
        if (fleet->graders == NULL)
            abort();
        fleet->count = count;
    }
    for (size_t i = 0; i < fleet->count; i++) {
        struct grader *grader = &fleet->graders[i];
        grader->fleet = fleet;
        link_init(&grader->link, fleet->loop->epoll,
                  &fleet->loop->targets[i % fleet->loop->target_count], answered, grader);
    }
    register_more(fleet);
    loop_run(fleet->loop, are_registered, fleet, 120);
}

void fleet_poll(struct fleet *fleet, bool is_polling)
{
    fleet->is_polling = is_polling;
    for (size_t i = 0; i < fleet->count; i++)
        if (fleet->graders[i].state == GRADER_IDLE && fleet->graders[i].is_registered)
            poll_again(&fleet->graders[i]);
}

void fleet_reset(struct fleet *fleet)
{
    struct held_job *held, *following;
    HASH_ITER (hh, fleet->held, held, following) {
        HASH_DELETE(hh, fleet->held, held);
        free(held);
    }
    fleet->held_count = fleet->reported_count = fleet->twice = 0;
    fleet->first_held_ns = fleet->last_held_ns = fleet->last_reported_ns = 0;
    samples_clear(&fleet->result_answer);
    samples_clear(&fleet->next_job);
    for (size_t i = 0; i < fleet->count; i++)
        fleet->graders[i].reported_ns = 0;
}
