/*
 * bench-load: the load generator. It reads commands from standard input, one per line, and answers
 * each with one line of JSON. Its graders work between commands, too.
 *
 *   protocol NAME TOKEN    graders use classic (the default), course-http or course-ws; with a
 *                          course token, runs are those of the course and assignment "bench". Must
 *                          be the first command
 *   graders N              registers N graders (once)
 *   poll / rest            idle graders poll from now on / stop polling
 *   work MS                the duration of a job (0: none)
 *   describe STUDENTS PRE  sets the submission from now on; PRE 1: with a pre-processing job
 *   submit COUNT CONNECTIONS SECONDS PATH
 *                          submits COUNT runs, or (0) for SECONDS; to PATH instead if given
 *   jobs COUNT CONNECTIONS SECONDS
 *                          starts the submitted runs and works until COUNT jobs are reported, or
 *                          SECONDS have passed
 *   hold COUNT CONNECTIONS SECONDS
 *                          the same, until COUNT jobs are held
 *   start CONNECTIONS      starts the submitted runs, and waits until that is done
 *   handout COUNT          COUNT times: starts a run of one pre-processing and one student job
 *   trace SECONDS          continues for SECONDS; answers the times of all hand-outs (monotonic, s)
 *   quit
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/load_fleet.h"
#include "tests/bench/load_protocol.h"
#include "tests/bench/load_runs.h"

enum { LINE_SIZE = 256, WORDS = 6, ANSWER_TIMEOUT_S = 30 };

/* Between two hand-outs that are measured; as long as between two inserts or deliveries of the
 * floor, which they are compared with. */
static const double pause_s = 0.005;

struct generator {
    struct loop loop;
    struct fleet fleet;
    struct runs runs;
    char course_token[LINE_SIZE];
    uint64_t wanted; /* reports or hand-outs that the command at hand waits for */
};

static json_t *faults(const struct generator *generator)
{
    return json_pack("{s:I,s:I,s:I,s:s}", "lost", (json_int_t)generator->loop.lost, "refused",
                     (json_int_t)generator->loop.refused, "twice",
                     (json_int_t)generator->fleet.twice, "first_refusal",
                     generator->loop.first_refusal);
}

static double number(char *words[WORDS], int at)
{
    return words[at] == NULL ? 0 : strtod(words[at], NULL);
}

static json_t *do_protocol(struct generator *generator, char *words[WORDS])
{
    const struct protocol *protocol = protocol_find(words[1] == NULL ? "" : words[1]);
    if (protocol == NULL)
        return json_pack("{s:s}", "error", "there is no such protocol");
    generator->fleet.protocol = protocol;
    if (words[2] != NULL) {
        snprintf(generator->course_token, sizeof generator->course_token, "%s", words[2]);
        runs_of_course(&generator->runs, generator->course_token);
    }
    return json_object();
}

static json_t *do_graders(struct generator *generator, char *words[WORDS])
{
    int64_t begun = now_ns();
    fleet_grow(&generator->fleet, (size_t)number(words, 1));
    return json_pack("{s:I,s:f}", "registered", (json_int_t)generator->fleet.registered, "seconds",
                     (double)(now_ns() - begun) / 1e9);
}

static json_t *do_poll(struct generator *generator, char *words[WORDS])
{
    (void)words;
    fleet_poll(&generator->fleet, true);
    return json_pack("{s:I}", "polling", (json_int_t)generator->fleet.polling);
}

static json_t *do_rest(struct generator *generator, char *words[WORDS])
{
    (void)words;
    fleet_poll(&generator->fleet, false);
    return json_object();
}

static json_t *do_work(struct generator *generator, char *words[WORDS])
{
    generator->fleet.work_ns = (int64_t)(number(words, 1) * 1e6);
    return json_object();
}

static json_t *do_describe(struct generator *generator, char *words[WORDS])
{
    runs_describe(&generator->runs, (size_t)number(words, 1), number(words, 2) > 0);
    return json_pack("{s:I}", "bytes", (json_int_t)generator->runs.body_length);
}

static json_t *do_submit(struct generator *generator, char *words[WORDS])
{
    struct runs *runs = &generator->runs;
    const char *path = runs->path;
    int64_t begun = now_ns();
    if (words[4] != NULL)
        runs->path = words[4];
    runs_submit(runs, (size_t)number(words, 1), (size_t)number(words, 2), number(words, 3));
    runs->path = path;
    return json_pack("{s:I,s:f,s:o}", "accepted", (json_int_t)runs->done, "seconds",
                     (double)(now_ns() - begun) / 1e9, "latency", samples_json(&runs->took));
}

static bool has_enough(void *context)
{
    const struct generator *generator = context;
    return generator->fleet.reported_count >= generator->wanted;
}

static bool are_held(void *context)
{
    const struct generator *generator = context;
    return generator->fleet.held_count >= generator->wanted;
}

/* Starts all runs, and works until `is_done`. */
static json_t *work(struct generator *generator, char *words[WORDS], bool (*is_done)(void *))
{
    struct fleet *fleet = &generator->fleet;
    int64_t begun = now_ns();
    fleet_reset(fleet);
    generator->wanted = (uint64_t)number(words, 1);
    runs_begin_start(&generator->runs, (size_t)number(words, 2));
    bool is_complete = loop_run(&generator->loop, is_done, generator, number(words, 3));
    int64_t ended = is_complete ? fleet->last_reported_ns : now_ns();
    return json_pack("{s:I,s:I,s:b,s:f,s:f,s:o,s:o}", "held", (json_int_t)fleet->held_count,
                     "reported", (json_int_t)fleet->reported_count, "complete", (int)is_complete,
                     "seconds", (double)(ended - begun) / 1e9, "all_held_seconds",
                     (double)(fleet->last_held_ns - begun) / 1e9, "result",
                     samples_json(&fleet->result_answer), "next_job",
                     samples_json(&fleet->next_job));
}

static json_t *do_jobs(struct generator *generator, char *words[WORDS])
{
    return work(generator, words, has_enough);
}

static json_t *do_hold(struct generator *generator, char *words[WORDS])
{
    return work(generator, words, are_held);
}

static bool are_started(void *context)
{
    const struct generator *generator = context;
    return runs_are_started(&generator->runs);
}

static json_t *do_start(struct generator *generator, char *words[WORDS])
{
    int64_t begun = now_ns();
    runs_begin_start(&generator->runs, (size_t)number(words, 1));
    bool is_complete = loop_run(&generator->loop, are_started, generator, 600);
    return json_pack("{s:I,s:b,s:f}", "started", (json_int_t)generator->runs.done, "complete",
                     (int)is_complete, "seconds", (double)(now_ns() - begun) / 1e9);
}

static bool is_quiet(void *context)
{
    const struct generator *generator = context;
    return generator->fleet.polling == generator->fleet.registered;
}

/* Starts the run that was submitted last; both of its jobs are handed out, one after the other. */
static bool hand_out_once(struct generator *generator, struct samples *start, struct samples *next)
{
    struct fleet *fleet = &generator->fleet;
    struct samples held_at = {NULL, 0, 0};
    fleet_reset(fleet);
    generator->wanted = 2;
    fleet->held_at = &held_at;
    fleet->origin_ns = now_ns();
    runs_begin_start(&generator->runs, 1);
    bool is_done = loop_run(&generator->loop, are_held, generator, ANSWER_TIMEOUT_S) &&
                   loop_run(&generator->loop, has_enough, generator, ANSWER_TIMEOUT_S) &&
                   loop_run(&generator->loop, is_quiet, generator, ANSWER_TIMEOUT_S);
    fleet->held_at = NULL;
    if (is_done) {
        samples_add(start, held_at.ns[0]);
        samples_add(next, held_at.ns[1] - held_at.ns[0]);
    }
    samples_clear(&held_at);
    return is_done;
}

static bool never(void *context)
{
    (void)context;
    return false;
}

static json_t *do_handout(struct generator *generator, char *words[WORDS])
{
    struct samples start = {NULL, 0, 0}, next = {NULL, 0, 0};
    size_t count = (size_t)number(words, 1), done = 0;
    runs_leave(&generator->runs);
    runs_describe(&generator->runs, 1, true);
    for (size_t i = 0; i < count; i++) {
        runs_submit(&generator->runs, 1, 1, 0);
        loop_run(&generator->loop, never, NULL, pause_s);
        done += hand_out_once(generator, &start, &next);
    }
    json_t *answer = json_pack("{s:I,s:o,s:o}", "done", (json_int_t)done, "start",
                               samples_json(&start), "next", samples_json(&next));
    samples_clear(&start);
    samples_clear(&next);
    return answer;
}

static json_t *do_trace(struct generator *generator, char *words[WORDS])
{
    struct fleet *fleet = &generator->fleet;
    struct samples held_at = {NULL, 0, 0};
    fleet->held_at = &held_at;
    fleet->origin_ns = 0;
    loop_run(&generator->loop, never, NULL, number(words, 1));
    fleet->held_at = NULL;
    json_t *moments = json_array();
    for (size_t i = 0; i < held_at.count; i++)
        json_array_append_new(moments, json_real((double)held_at.ns[i] / 1e9));
    samples_clear(&held_at);
    return json_pack("{s:o}", "held_at", moments);
}

static const struct command {
    const char *name;
    json_t *(*run)(struct generator *generator, char *words[WORDS]);
} commands[] = {
    {"protocol", do_protocol}, {"graders", do_graders},   {"poll", do_poll},
    {"rest", do_rest},         {"work", do_work},         {"hold", do_hold},
    {"start", do_start},       {"describe", do_describe}, {"submit", do_submit},
    {"jobs", do_jobs},         {"handout", do_handout},   {"trace", do_trace},
};

/* False: it is over. */
static bool obey(struct generator *generator, char *line)
{
    char *words[WORDS] = {NULL}, *rest = NULL;
    size_t count = 0;
    for (char *word = strtok_r(line, " \n", &rest); word != NULL && count < WORDS;
         word = strtok_r(NULL, " \n", &rest))
        words[count++] = word;
    if (count == 0 || strcmp(words[0], "quit") == 0)
        return false;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].name, words[0]) != 0)
            continue;
        json_t *answer = commands[i].run(generator, words);
        json_object_set_new(answer, "faults", faults(generator));
        print_json(answer);
        return true;
    }
    fprintf(stderr, "bench-load: '%s' is not a command\n", words[0]);
    return false;
}

int main(int count, char **arguments)
{
    static struct generator generator;
    char line[LINE_SIZE];
    if (count < 3 || count - 2 > TARGETS) {
        fprintf(stderr, "usage: bench-load CLUSTER-TOKEN URL...\n");
        return 2;
    }
    loop_open(&generator.loop);
    generator.loop.token = arguments[1];
    for (int i = 2; i < count; i++)
        if (!target_parse(arguments[i], &generator.loop.targets[generator.loop.target_count++])) {
            fprintf(stderr, "bench-load: '%s' must look like http://127.0.0.1:1470\n",
                    arguments[i]);
            return 2;
        }
    fleet_open(&generator.fleet, &generator.loop);
    runs_open(&generator.runs, &generator.loop);
    runs_describe(&generator.runs, 1, false);
    setvbuf(stdin, NULL, _IONBF, 0);
    for (;;) {
        loop_wait_for_input(&generator.loop);
        if (fgets(line, sizeof line, stdin) == NULL || !obey(&generator, line))
            return 0;
    }
}
