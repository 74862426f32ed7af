/*
 * rules_cost: what a hand-out costs the scheduler's rules, in processor time, from the start of a
 * run of one student to its end, with queues, courses and graders of several sizes. Prints a line
 * of JSON for each. Nothing else is measured: no database, no network. See README.md.
 */
#include <argp.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "played_core.h"

enum { TAG_SETS = 30, STEP_MS = 20, WARM_UP = 5000, RESERVATIONS = 5 };

struct shape {
    unsigned courses, queued, graders;
    bool has_rules; /* weights, limits, classes, submitters, tags and reservations */
};

struct held_job {
    char job[JOB_ID_SIZE], worker[WORKER_ID_SIZE];
};

struct measure {
    struct shape shape;
    struct played_core core;
    int64_t now_ms;
    unsigned runs;         /* started so far */
    struct held_job *held; /* by graders */
    size_t held_count;
    char (*ids)[WORKER_ID_SIZE];
};

static void measure_took(void *context, const char *job, uint32_t attempt, const char *worker)
{
    struct measure *measure = context;
    struct held_job *held = &measure->held[measure->held_count++];
    (void)attempt;
    snprintf(held->job, sizeof held->job, "%s", job);
    snprintf(held->worker, sizeof held->worker, "%s", worker);
}

static void measure_gave_up(void *context, const char *job)
{
    (void)context;
    fprintf(stderr, "rules_cost: the job %s was given up\n", job);
    exit(1);
}

static void tags_of(const struct measure *measure, unsigned number, char tags[WORKER_TAGS_SIZE])
{
    tags[0] = '\0';
    if (measure->shape.has_rules)
        snprintf(tags, WORKER_TAGS_SIZE, "set-%u,kind-%u", number % TAG_SETS, number % 3);
}

static void start_run(struct measure *measure)
{
    struct run run = {.students = 1, .timeout_ms[JOB_STUDENT] = 60000};
    unsigned number = measure->runs++;
    char requires[16];
    snprintf(run.id, sizeof run.id, "%024x", number);
    snprintf(run.course, sizeof run.course, "course-%u", number % measure->shape.courses);
    if (measure->shape.has_rules) {
        snprintf(run.submitter, sizeof run.submitter, "student-%u", number * 7919 % 5000);
        run.run_class = (enum run_class)(number / measure->shape.courses % RUN_CLASSES);
        run.priority = (int)(number / 11 % 3);
        snprintf(requires, sizeof requires, "kind-%u", number % 3);
        run.requires = number % 2 == 0 ? requires : NULL;
    }
    played_core_start(&measure->core, &run);
}

static void configure(struct measure *measure)
{
    struct scheduling scheduling = {.share_count = measure->shape.courses,
                                    .reservation_count = RESERVATIONS};
    if (!measure->shape.has_rules)
        return;
    scheduling.shares = bw_alloc_array(scheduling.share_count, sizeof *scheduling.shares);
    for (unsigned i = 0; i < scheduling.share_count; i++) {
        snprintf(scheduling.shares[i].course, sizeof scheduling.shares[i].course, "course-%u", i);
        scheduling.shares[i].weight = 100 + i % 10 * 100;
        scheduling.shares[i].max_running = COURSE_MAX_RUNNING_MAX;
    }
    scheduling.reservations = bw_alloc_array(RESERVATIONS, sizeof *scheduling.reservations);
    for (unsigned i = 0; i < RESERVATIONS; i++) {
        struct reservation *reservation = &scheduling.reservations[i];
        reservation->classes = RUN_CLASSES_ALL & ~(1U << i % RUN_CLASSES);
        snprintf(reservation->tags, sizeof reservation->tags, "set-%u", i);
    }
    played_core_configure(&measure->core, &scheduling);
}

static void measure_open(struct measure *measure, const struct shape *shape)
{
    char tags[WORKER_TAGS_SIZE];
    measure->shape = *shape;
    played_core_init(&measure->core, 2);
    measure->core.context = measure;
    measure->core.took = measure_took;
    measure->core.gave_up = measure_gave_up;
    measure->held = bw_alloc_array(shape->graders, sizeof *measure->held);
    measure->ids = bw_alloc_array(shape->graders, sizeof *measure->ids);
    configure(measure);
    for (unsigned i = 0; i < shape->graders; i++) {
        snprintf(measure->ids[i], sizeof measure->ids[i], "g%u", i);
        tags_of(measure, i, tags);
        played_core_register(&measure->core, measure->ids[i], tags);
    }
    for (unsigned i = 0; i < shape->queued + shape->graders; i++)
        start_run(measure);
}

static void measure_close(struct measure *measure)
{
    played_core_destroy(&measure->core);
    free(measure->held);
    free(measure->ids);
}

/* Ends what graders hold; each of them asks for more, and as many runs start anew. */
static void measure_step(struct measure *measure)
{
    size_t count = measure->held_count;
    const char **polling = bw_alloc_array(count + 1, sizeof *polling);
    struct held_job *ended = bw_alloc_array(count + 1, sizeof *ended);
    played_core_set_time(&measure->core, measure->now_ms += STEP_MS);
    measure->held_count = 0;
    for (size_t i = 0; i < count; i++) {
        ended[i] = measure->held[i];
        polling[i] = ended[i].worker;
        played_core_result(&measure->core, ended[i].job, ended[i].worker, OUTCOME_SUCCEEDED);
        start_run(measure);
    }
    played_core_signal(&measure->core, polling, count, NULL, 0);
    played_core_round(&measure->core);
    free(polling);
    free(ended);
}

static void measure_begin(struct measure *measure)
{
    const char **polling = bw_alloc_array(measure->shape.graders, sizeof *polling);
    for (unsigned i = 0; i < measure->shape.graders; i++)
        polling[i] = measure->ids[i];
    played_core_signal(&measure->core, polling, measure->shape.graders, NULL, 0);
    played_core_round(&measure->core);
    free(polling);
}

static void measure_until(struct measure *measure, uint64_t handed_out)
{
    while (measure->core.handed_out < handed_out && measure->held_count > 0)
        measure_step(measure);
    if (measure->core.handed_out >= handed_out)
        return;
    fprintf(stderr, "rules_cost: nothing is handed out any more\n");
    exit(1);
}

static void measure_shape(const struct shape *shape, uint64_t hand_outs)
{
    struct measure *measure = bw_alloc(sizeof *measure);
    measure_open(measure, shape);
    measure_begin(measure);
    measure_until(measure, WARM_UP);
    double begun_s = measure->core.decided_s;
    uint64_t before = measure->core.handed_out;
    measure_until(measure, before + hand_outs);
    double us = (measure->core.decided_s - begun_s) * 1e6 /
                (double)(measure->core.handed_out - before);
    printf("{\"courses\": %u, \"queued\": %u, \"graders\": %u, \"rules\": %s, \"us\": %.2f}\n",
           shape->courses, shape->queued, shape->graders, shape->has_rules ? "true" : "false", us);
    fflush(stdout);
    measure_close(measure);
    free(measure);
}

static error_t take_option(int key, char *text, struct argp_state *state)
{
    uint64_t *hand_outs = state->input;
    if (key != 'n')
        return ARGP_ERR_UNKNOWN;
    *hand_outs = strtoull(text, NULL, 10);
    return 0;
}

int main(int count, char **words)
{
    static const struct argp_option options[] = {
        {"hand-outs", 'n', "COUNT", 0, "How many of each shape are measured [30000]", 0}, {0}};
    const struct argp argp = {
        .options = options,
        .parser = take_option,
        .doc = "Measures what a hand-out costs the rules; prints a line of JSON for each shape."};
    static const struct shape shapes[] = {
        {1, 1000, 60, false},   {10, 1000, 60, false},    {100, 1000, 60, false},
        {300, 1000, 60, false}, {1, 10, 60, false},       {1, 10000, 60, false},
        {1, 100000, 60, false}, {1, 1000, 1000, false},   {1, 1000, 60, true},
        {10, 1000, 60, true},   {100, 1000, 60, true},    {300, 1000, 60, true},
        {12, 10, 60, true},     {12, 10000, 60, true},    {12, 100000, 60, true},
        {12, 1000, 1000, true}, {300, 100000, 1000, true}};
    uint64_t hand_outs = 30000;
    argp_parse(&argp, count, words, 0, NULL, &hand_outs);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        measure_shape(&shapes[i], hand_outs);
    return 0;
}
