#include "tests/bench/load_fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Polls end at different moments, as those of real graders do. */
enum {
    REGISTERING_AT_ONCE = 64,
    WAIT_S = 35,
    WAIT_SPREAD_S = 25,
    PATH_SIZE = 200,
    BODY_SIZE = 200
};

static void answered(struct link *link, const struct answer *answer);

static void poll_again(struct grader *grader)
{
    char path[PATH_SIZE];
    if (!grader->fleet->is_polling) {
        grader->state = GRADER_IDLE;
        return;
    }
    grader->state = GRADER_POLLING;
    grader->fleet->polling++;
    snprintf(path, sizeof path, "/api/v1/grading_job?worker_id=%s&wait=%d", grader->worker,
             WAIT_S + rand() % WAIT_SPREAD_S);
    link_send(&grader->link, "GET", path, NULL, 0);
}

static void report(struct grader *grader)
{
    char path[PATH_SIZE], body[BODY_SIZE];
    int length = snprintf(body, sizeof body,
                          "{\"worker_id\":\"%s\",\"result\":{\"score\":10},\"success\":true}",
                          grader->worker);
    snprintf(path, sizeof path, "/api/v1/grading_job/%s", grader->job);
    grader->state = GRADER_REPORTING;
    grader->reported_ns = now_ns();
    link_send(&grader->link, "POST", path, body, (size_t)length);
}

/* The value of a text field, without parsing all of it. */
static bool take_field(const char *body, const char *name, char value[JOB_SIZE])
{
    char key[32];
    snprintf(key, sizeof key, "\"%s\":\"", name);
    const char *at = strstr(body, key);
    if (at == NULL)
        return false;
    at += strlen(key);
    size_t length = strcspn(at, "\"");
    if (length >= JOB_SIZE)
        return false;
    memcpy(value, at, length);
    value[length] = '\0';
    return true;
}

/* ---- Registering ---- */

static void register_more(struct fleet *fleet)
{
    char path[PATH_SIZE];
    while (fleet->registering < REGISTERING_AT_ONCE && fleet->next_new < fleet->count) {
        struct grader *grader = &fleet->graders[fleet->next_new++];
        fleet->registering++;
        grader->state = GRADER_REGISTERING;
        snprintf(path, sizeof path, "/api/v1/worker_register?hostname=bench&token=%s",
                 fleet->loop->token);
        link_send(&grader->link, "GET", path, NULL, 0);
    }
}

static void take_registration(struct grader *grader, const struct answer *answer)
{
    struct fleet *fleet = grader->fleet;
    fleet->registering--;
    grader->state = GRADER_IDLE;
    if (answer->status == 200 && take_field(answer->body, "worker_id", grader->worker))
        fleet->registered++;
    else
        loop_refused(fleet->loop, answer);
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
    if (answer->status != 200 || !take_field(answer->body, "job_id", grader->job)) {
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
    struct fleet *fleet = grader->fleet;
    int64_t now = now_ns();
    if (answer->status == 200) {
        fleet->reported_count++;
        fleet->last_reported_ns = now;
        samples_add(&fleet->result_answer, now - grader->reported_ns);
    } else {
        loop_refused(fleet->loop, answer);
    }
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
    default:
        break;
    }
}

/* All jobs take equally long: who began first is done first. */
static void finish_work(void *context)
{
    struct fleet *fleet = context;
    while (fleet->first_working != NULL && fleet->first_working->due_ns <= now_ns()) {
        struct grader *grader = fleet->first_working;
        fleet->first_working = grader->next;
        report(grader);
    }
}

/* ---- The fleet ---- */

void fleet_open(struct fleet *fleet, struct loop *loop)
{
    memset(fleet, 0, sizeof *fleet);
    fleet->loop = loop;
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
        if (fleet->graders[i].state == GRADER_IDLE && fleet->graders[i].worker[0] != '\0')
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
