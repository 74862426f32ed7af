/*
 * night SEED... [--order shares|turns|fifo] [--curves]: plays the night of a deadline (plan.h) with
 * the scheduler's own rules, and prints a line of JSON per seed: how long the submissions of each
 * course waited, how exactly graders' time was shared, what was lost. See README.md.
 */
#include <argp.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/date.h"
#include "plan.h"
#include "played_core.h"
#include "scheduler/rules/estimate.h"

enum {
    STEP_MS = 100,
    BEAT_MS = 5000,
    CURVE_MS = 30000,
    BOTH_MS = 120000,
    TURN_MS = 30000,
    END_MS = 6 * HOUR_MS,
    MAX_ATTEMPTS = 3,
    FORETOLD_STEP_MS = 30000,
    FORETOLD_STEPS = (END_MS - HOUR_MS) / FORETOLD_STEP_MS + 1,
    FORETOLD_LEFT_MS = 600000 /* so long before its end, what was foretold of it is compared */
};

enum order { ORDER_SHARES, ORDER_TURNS, ORDER_FIFO };

static const char *const order_names[] = {"shares", "turns", "fifo"};

struct grader {
    char id[8];
    bool is_dead;
    unsigned job; /* number of its submission, from 1; 0: it waits */
    char job_id[JOB_ID_SIZE];
    uint32_t attempt;
    int64_t ends_ms;
};

struct night {
    struct plan plan;
    enum order order;
    struct played_core core;
    int64_t now_ms;
    struct grader graders[GRADERS];
    int64_t waited_ms[SUBMISSIONS]; /* from the submission to the first hand-out; -1: none yet */
    int64_t ended_ms[SUBMISSIONS];
    unsigned results[SUBMISSIONS], attempts[SUBMISSIONS];
    unsigned queued[COURSES], running[COURSES];
    int64_t both_since_ms; /* both courses whose shares are compared have jobs that wait */
    double shared_ms, large_ms, small_ms; /* while that was so for BOTH_MS */
    unsigned given_up, next, over;
    json_t *curves; /* NULL: not wanted */
    /* When all of a course was to be done, as foretold in steps from the deadline on; 0: not. */
    int64_t foretold_ms[COURSES][FORETOLD_STEPS], foretold_p90_ms[COURSES][FORETOLD_STEPS];
};

/* ---- Graders ---- */

static unsigned submission_of(const char *job)
{
    char run[RUN_ID_SIZE];
    snprintf(run, sizeof run, "%.*s", RUN_ID_LENGTH, job);
    return (unsigned)strtoul(run, NULL, 16);
}

static bool is_broken(const struct night *night, const struct grader *grader)
{
    return grader == &night->graders[DYING];
}

static void night_took(void *context, const char *job, uint32_t attempt, const char *worker)
{
    struct night *night = context;
    struct grader *grader = &night->graders[strtoul(worker + 1, NULL, 10)];
    unsigned number = submission_of(job);
    const struct submission *submission = &night->plan.submissions[number];
    if (grader->is_dead)
        return; /* its last poll got a job that it never saw */
    grader->job = number + 1;
    grader->attempt = attempt;
    snprintf(grader->job_id, sizeof grader->job_id, "%s", job);
    grader->ends_ms = night->now_ms + (is_broken(night, grader) ? 500 : submission->takes_ms);
    night->attempts[number]++;
    night->running[submission->course]++;
    night->queued[submission->course]--;
    if (night->waited_ms[number] < 0)
        night->waited_ms[number] = night->now_ms - submission->at_ms;
}

static void night_gave_up(void *context, const char *job)
{
    struct night *night = context;
    unsigned number = submission_of(job);
    night->results[number]++;
    night->given_up++;
    night->over++;
}

/* In the order of turns, all jobs count the same: as what was charged for them. */
static void forget_duration(struct night *night, const char *job)
{
    struct live_lease *lease = lease_table_find(&night->core.scheduler.leases, job);
    if (night->order == ORDER_TURNS && lease != NULL)
        lease->charged_from_ms = night->core.scheduler.now_ms - (int64_t)lease->charged_ms;
}

/* And none is charged more while it runs. */
static void forget_overruns(struct night *night)
{
    struct live_lease *lease, *following;
    if (night->order != ORDER_TURNS)
        return;
    HASH_ITER (hh, night->core.scheduler.leases.leases, lease, following)
        lease->charged_from_ms = night->core.scheduler.now_ms;
}

static void grader_ends(struct night *night, struct grader *grader)
{
    unsigned number = grader->job - 1;
    const struct submission *submission = &night->plan.submissions[number];
    forget_duration(night, grader->job_id);
    night->running[submission->course]--;
    grader->job = 0;
    if (is_broken(night, grader)) {
        night->queued[submission->course]++;
        played_core_return(&night->core, grader->job_id, grader->attempt, grader->id);
        return;
    }
    bool is_late = submission->takes_ms >= LIMIT_MS;
    night->results[number]++;
    night->ended_ms[number] = night->now_ms;
    night->over++;
    played_core_result(&night->core, grader->job_id, grader->id,
                       is_late ? OUTCOME_FAILED : OUTCOME_SUCCEEDED);
}

static void grader_dies(struct night *night, struct grader *grader)
{
    grader->is_dead = true;
    if (grader->job == 0)
        return;
    unsigned course = night->plan.submissions[grader->job - 1].course;
    night->running[course]--;
    night->queued[course]++;
    grader->job = 0;
}

static void step_graders(struct night *night)
{
    const char *polling[GRADERS], *beating[GRADERS];
    size_t polls = 0, beats = 0;
    for (unsigned i = 0; i < GRADERS; i++) {
        struct grader *grader = &night->graders[i];
        if (i < DYING && !grader->is_dead && night->now_ms >= night->plan.dies_ms[i])
            grader_dies(night, grader);
        if (grader->is_dead)
            continue;
        if (night->now_ms % BEAT_MS == 0)
            beating[beats++] = grader->id;
        if (grader->job == 0 || night->now_ms < grader->ends_ms)
            continue;
        grader_ends(night, grader);
        polling[polls++] = grader->id;
    }
    if (polls + beats > 0)
        played_core_signal(&night->core, polling, polls, beating, beats);
}

/* ---- Submissions ---- */

static void submit(struct night *night, unsigned number)
{
    const struct submission *submission = &night->plan.submissions[number];
    struct run run = {.students = 1, .timeout_ms[JOB_STUDENT] = LIMIT_MS};
    snprintf(run.id, sizeof run.id, "%024x", number);
    if (night->order != ORDER_FIFO)
        snprintf(run.course, sizeof run.course, "course-%u", submission->course);
    if (night->order == ORDER_SHARES)
        snprintf(run.submitter, sizeof run.submitter, "student-%u", submission->student);
    night->queued[submission->course]++;
    played_core_start(&night->core, &run);
}

static void night_open(struct night *night, uint64_t seed, enum order order)
{
    const char *polling[GRADERS];
    struct scheduling scheduling = {.share_count = COURSES};
    night->order = order;
    plan_make(seed, &night->plan);
    played_core_init(&night->core, MAX_ATTEMPTS);
    night->core.context = night;
    night->core.took = night_took;
    night->core.gave_up = night_gave_up;
    scheduling.shares = bw_alloc_array(COURSES, sizeof *scheduling.shares);
    for (unsigned i = 0; i < COURSES; i++) {
        snprintf(scheduling.shares[i].course, sizeof scheduling.shares[i].course, "course-%u", i);
        scheduling.shares[i].weight = order == ORDER_SHARES ? night->plan.weights[i] : 100;
    }
    played_core_configure(&night->core, &scheduling);
    night->core.scheduler.queue.order.usual_ms = order == ORDER_TURNS ? TURN_MS : 0;
    for (unsigned i = 0; i < SUBMISSIONS; i++)
        night->waited_ms[i] = -1;
    for (unsigned i = 0; i < GRADERS; i++) {
        snprintf(night->graders[i].id, sizeof night->graders[i].id, "g%u", i);
        polling[i] = night->graders[i].id;
        played_core_register(&night->core, polling[i], "");
    }
    played_core_signal(&night->core, polling, GRADERS, polling, GRADERS);
}

/* ---- What is measured ---- */

static void note_shares(struct night *night)
{
    if (night->queued[LARGE_COURSE] == 0 || night->queued[SMALL_COURSE] == 0)
        night->both_since_ms = night->now_ms;
    if (night->now_ms - night->both_since_ms < BOTH_MS)
        return;
    night->shared_ms += STEP_MS;
    night->large_ms += (double)night->running[LARGE_COURSE] * STEP_MS;
    night->small_ms += (double)night->running[SMALL_COURSE] * STEP_MS;
}

static void note_curves(struct night *night)
{
    if (night->curves == NULL || night->now_ms % CURVE_MS != 0)
        return;
    json_t *queued = json_array(), *running = json_array();
    for (unsigned i = 0; i < COURSES; i++) {
        json_array_append_new(queued, json_integer(night->queued[i]));
        json_array_append_new(running, json_integer(night->running[i]));
    }
    json_array_append_new(night->curves,
                          json_pack("{s:I,s:o,s:o}", "at_ms", (json_int_t)night->now_ms, "queued",
                                    queued, "running", running));
}

/* The time of the night at a date of an estimate; 0: there is none. */
static int64_t foretold_time(const struct night *night, const json_t *ends, const char *quantile)
{
    const char *text = json_string_value(json_object_get(ends, quantile));
    return text != NULL ? night->now_ms + date_parse(text) - night->core.scheduler.date_ms : 0;
}

static void note_foretold(struct night *night)
{
    if (night->now_ms < HOUR_MS || night->now_ms % FORETOLD_STEP_MS != 0 ||
        night->order != ORDER_SHARES)
        return;
    size_t step = (size_t)((night->now_ms - HOUR_MS) / FORETOLD_STEP_MS);
    for (unsigned i = 0; i < COURSES; i++) {
        char name[16];
        snprintf(name, sizeof name, "course-%u", i);
        json_t *made = estimate_course_json(&night->core.scheduler, name);
        const json_t *ends = json_object_get(made, "ends");
        night->foretold_ms[i][step] = foretold_time(night, ends, "p50");
        night->foretold_p90_ms[i][step] = foretold_time(night, ends, "p90");
        json_decref(made);
    }
}

static void night_play(struct night *night)
{
    for (; night->over < SUBMISSIONS && night->now_ms < END_MS; night->now_ms += STEP_MS) {
        played_core_set_time(&night->core, night->now_ms);
        step_graders(night);
        while (night->next < SUBMISSIONS &&
               night->plan.submissions[night->next].at_ms <= night->now_ms)
            submit(night, night->next++);
        forget_overruns(night);
        played_core_round(&night->core);
        note_shares(night);
        note_curves(night);
        note_foretold(night);
    }
}

static int by_value(const void *left, const void *right)
{
    const int64_t one = *(const int64_t *)left, other = *(const int64_t *)right;
    return (one > other) - (one < other);
}

static double quantile_s(const int64_t *sorted, size_t count, double quantile)
{
    return count == 0 ? 0 : (double)sorted[(size_t)(quantile * (double)(count - 1))] / 1000;
}

/* What was foretold of the course's end FORETOLD_LEFT_MS before it, or at the deadline if it came
 * sooner: the error as a part of the time that was left, and whether the end came before p90. Null:
 * nothing of it waited then. */
static json_t *foretold_json(const struct night *night, unsigned course, int64_t ended_ms)
{
    int64_t at_ms = ended_ms - FORETOLD_LEFT_MS;
    at_ms = at_ms < HOUR_MS ? HOUR_MS : at_ms - at_ms % FORETOLD_STEP_MS;
    size_t step = (size_t)((at_ms - HOUR_MS) / FORETOLD_STEP_MS);
    int64_t foretold_ms = night->foretold_ms[course][step];
    if (foretold_ms == 0 || ended_ms <= at_ms)
        return json_null();
    double left_ms = (double)(ended_ms - at_ms);
    return json_pack("{s:f,s:f,s:b}", "left_s", left_ms / 1000, "error",
                     ((double)(foretold_ms - ended_ms)) / left_ms, "within_p90",
                     (int)(ended_ms <= night->foretold_p90_ms[course][step]));
}

static json_t *course_json(const struct night *night, unsigned course)
{
    int64_t *waits = bw_alloc_array(SUBMISSIONS, sizeof *waits);
    size_t count = 0;
    int64_t ended_ms = 0;
    for (unsigned i = 0; i < SUBMISSIONS; i++) {
        if (night->plan.submissions[i].course != course)
            continue;
        waits[count++] = night->waited_ms[i];
        ended_ms = night->ended_ms[i] > ended_ms ? night->ended_ms[i] : ended_ms;
    }
    qsort(waits, count, sizeof *waits, by_value);
    json_t *row = json_pack("{s:i,s:i,s:f,s:f,s:f,s:f}", "weight", (int)night->plan.weights[course],
                            "submissions", (int)count, "wait_p50_s", quantile_s(waits, count, 0.5),
                            "wait_p95_s", quantile_s(waits, count, 0.95), "wait_p99_s",
                            quantile_s(waits, count, 0.99), "ended_s", (double)ended_ms / 1000);
    free(waits);
    json_object_set_new(row, "foretold", foretold_json(night, course, ended_ms));
    return row;
}

/* The median wait of a course's students, of the one that floods it or of the others, for what they
 * submitted in the quarter of an hour after the flood. */
static double flooded_wait_s(const struct night *night, bool is_flooder)
{
    int64_t waits[SUBMISSIONS];
    size_t count = 0;
    for (unsigned i = 0; i < SUBMISSIONS; i++) {
        const struct submission *submission = &night->plan.submissions[i];
        if (submission->course == FLOODED_COURSE && submission->at_ms >= FLOOD_MS &&
            submission->at_ms < FLOOD_MS + HOUR_MS / 4 &&
            (submission->student == FLOODER) == is_flooder)
            waits[count++] = night->waited_ms[i];
    }
    qsort(waits, count, sizeof *waits, by_value);
    return quantile_s(waits, count, 0.5);
}

static json_t *night_json(struct night *night)
{
    int lost = 0, twice = 0;
    json_t *courses = json_array();
    for (unsigned i = 0; i < SUBMISSIONS; i++) {
        lost += night->results[i] == 0;
        twice += night->results[i] > 1;
    }
    for (unsigned i = 0; i < COURSES; i++)
        json_array_append_new(courses, course_json(night, i));
    double ratio = night->small_ms > 0 ? night->large_ms / night->small_ms : 0;
    json_t *body = json_pack("{s:I,s:s,s:o,s:f,s:f,s:f,s:f,s:i,s:i,s:i,s:f}", "seed",
                             (json_int_t)night->plan.seed, "order", order_names[night->order],
                             "courses", courses, "shared_s", night->shared_ms / 1000, "share_ratio",
                             ratio, "flooder_wait_s", flooded_wait_s(night, true), "flooded_wait_s",
                             flooded_wait_s(night, false), "lost", lost, "twice", twice, "given_up",
                             (int)night->given_up, "ended_s", (double)night->now_ms / 1000);
    if (night->curves != NULL)
        json_object_set(body, "curves", night->curves);
    return body;
}

/* ---- The command ---- */

struct arguments {
    enum order order;
    bool has_curves;
    uint64_t first, seeds;
};

static error_t take_option(int key, char *text, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'o':
        for (unsigned i = 0; i < sizeof order_names / sizeof *order_names; i++)
            if (strcmp(text, order_names[i]) == 0) {
                arguments->order = (enum order)i;
                return 0;
            }
        argp_error(state, "--order must be shares, turns or fifo");
        return EINVAL;
    case 'c':
        arguments->has_curves = true;
        return 0;
    case 'f':
        arguments->first = strtoull(text, NULL, 10);
        return 0;
    case 's':
        arguments->seeds = strtoull(text, NULL, 10);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

int main(int count, char **words)
{
    static const struct argp_option options[] = {
        {"order", 'o', "ORDER", 0, "shares, turns or fifo [shares]", 0},
        {"curves", 'c', NULL, 0, "Print what was queued and running each half a minute", 0},
        {"first", 'f', "SEED", 0, "The first seed [1]", 0},
        {"seeds", 's', "COUNT", 0, "How many [1]", 0},
        {0}};
    const struct argp argp = {.options = options,
                              .parser = take_option,
                              .doc = "Plays nights of a deadline; prints a line of JSON for each."};
    struct arguments arguments = {.first = 1, .seeds = 1};
    argp_parse(&argp, count, words, 0, NULL, &arguments);
    for (uint64_t i = 0; i < arguments.seeds; i++) {
        struct night *night = bw_alloc(sizeof *night);
        night->curves = arguments.has_curves ? json_array() : NULL;
        night_open(night, arguments.first + i, arguments.order);
        night_play(night);
        json_t *body = night_json(night);
        json_dumpf(body, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
        puts("");
        json_decref(body);
        json_decref(night->curves);
        played_core_destroy(&night->core);
        free(night);
    }
    return 0;
}
