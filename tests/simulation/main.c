/*
 * simulation: plays seeds, several processes at once, and tells which of them break a promise.
 *
 *   simulation [--seeds N] [--first S] [--jobs J] [--digest] [--fail-fast] [--races]
 *   simulation --seed S [--trace]
 *
 * A seed that fails is played again in ever smaller scopes; the history of the smallest is printed.
 */
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/simulation/shrink.h"
#include "tests/simulation/world.h"

enum { HISTORY_LINES = 120, TRACE_LINES = 1000000, SHRUNK_MOST = 1, EXIT_USAGE = 2 };

struct options {
    uint64_t first, seeds, seed;
    int jobs;
    bool is_one, traces, digests, fails_fast, races;
};

/* What a job says of a seed, in one write. */
struct word {
    uint64_t seed, events, digest;
    struct failure failure;
    struct race_counts races;
};

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct word play_seed(uint64_t seed)
{
    struct plan plan;
    struct scope scope = scope_whole();
    plan_make(&plan, seed);
    struct world *world = world_new(&plan, &scope, false);
    world_play(world);
    struct word word = {seed, world->events, world->history.digest, world->checker.failure,
                        world->races.counts};
    world_free(world);
    return word;
}

/* ---- One that failed ---- */

static void print_scope(const struct plan *plan, const struct scope *scope)
{
    printf(
        "    timers: heartbeat %lld ms, leader's lease %lld ms; runs left in: %d, graders: %d\n",
        (long long)plan->heartbeat_ms, (long long)plan->lease_ms,
        __builtin_popcount(scope->runs & ((1u << RUNS) - 1)),
        __builtin_popcountll(scope->graders & plan->graders_in & ((UINT64_C(1) << GRADERS) - 1)));
    for (int kind = 0; kind < FIRST_PLANNED_FAULT; kind++)
        if ((plan->fault_kinds & scope->fault_kinds & 1u << kind) != 0 && plan->intensity > 0)
            printf("    faults left in: %s, from %lld s to %lld s\n", fault_name(kind),
                   (long long)scope->first_ms[kind] / 1000, (long long)scope->last_ms[kind] / 1000);
    for (int i = 0; i < plan->fault_count; i++) {
        const struct planned_fault *fault = &plan->faults[i];
        if ((scope->faults & 1u << i) != 0 &&
            (plan->fault_kinds & scope->fault_kinds & 1u << fault->kind) != 0)
            printf("    faults left in: %s, at %lld s for %lld ms\n", fault_name(fault->kind),
                   (long long)fault->at_ms / 1000, (long long)fault->lasts_ms);
    }
}

static void print_history(const struct plan *plan, const struct scope *scope, bool is_whole)
{
    struct world *world = world_new(plan, scope, true);
    world_play(world);
    const struct failure *failure = &world->checker.failure;
    bool is_about = failure->promise != NULL && !is_whole;
    history_print(&world->history, stdout, is_about ? failure->subject : SUBJECT_NONE,
                  is_about ? HISTORY_LINES : TRACE_LINES);
    world_free(world);
}

static void print_failure(const struct word *word)
{
    const struct failure *failure = &word->failure;
    printf("seed %llu: %s: %s, at %lld.%03lld s\n", (unsigned long long)word->seed,
           failure->promise, failure->check, (long long)failure->at_ms / 1000,
           (long long)failure->at_ms % 1000);
}

static void explain(const struct word *word)
{
    struct plan plan;
    struct failure failure = word->failure;
    plan_make(&plan, word->seed);
    struct scope scope = shrink(&plan, &failure);
    printf("  seed %llu, made smaller:\n", (unsigned long long)word->seed);
    print_scope(&plan, &scope);
    print_history(&plan, &scope, false);
    printf("  again: tests/simulation/run --seed %llu [--trace]\n", (unsigned long long)word->seed);
    fflush(stdout);
}

static int play_one(const struct options *options)
{
    struct word word = play_seed(options->seed);
    printf("seed %llu: %llu events, digest %016llx\n", (unsigned long long)word.seed,
           (unsigned long long)word.events, (unsigned long long)word.digest);
    if (options->traces) {
        struct plan plan;
        struct scope scope = scope_whole();
        plan_make(&plan, options->seed);
        print_history(&plan, &scope, true);
    }
    if (word.failure.promise == NULL)
        return 0;
    print_failure(&word);
    if (!options->traces)
        explain(&word);
    return 1;
}

/* ---- Many ---- */

static void work(const struct options *options, int job, int out)
{
    for (uint64_t i = (uint64_t)job; i < options->seeds; i += (uint64_t)options->jobs) {
        struct word word = play_seed(options->first + i);
        if (write(out, &word, sizeof word) != (ssize_t)sizeof word)
            _exit(EXIT_USAGE);
    }
}

/* The reading end of what all jobs say. */
static int begin_jobs(const struct options *options)
{
    int ends[2];
    if (pipe(ends) != 0) {
        perror("simulation: pipe");
        exit(EXIT_USAGE);
    }
    fflush(stdout);
    for (int job = 0; job < options->jobs; job++) {
        pid_t child = fork();
        if (child < 0) {
            perror("simulation: fork");
            exit(EXIT_USAGE);
        }
        if (child > 0)
            continue;
        close(ends[0]);
        work(options, job, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    return ends[0];
}

/* 1234567 as "1,234,567". */
static const char *grouped(uint64_t number, char text[32])
{
    char digits[24];
    size_t count = (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    size_t length = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            text[length++] = ',';
        text[length++] = digits[i];
    }
    text[length] = '\0';
    return text;
}

static void take_word(const struct options *options, const struct word *word, uint64_t failures)
{
    if (options->digests)
        printf("seed %llu digest %016llx\n", (unsigned long long)word->seed,
               (unsigned long long)word->digest);
    if (word->failure.promise == NULL)
        return;
    print_failure(word);
    fflush(stdout);
    if (failures <= SHRUNK_MOST)
        explain(word);
}

/* False: a job of it ended without a word. */
static bool end_jobs(const struct options *options)
{
    bool is_whole = true;
    for (int job = 0; job < options->jobs; job++) {
        int status = 0;
        is_whole = wait(&status) > 0 && status == 0 && is_whole;
    }
    return is_whole;
}

static int play_many(const struct options *options)
{
    int64_t begun_ms = wall_ms(), notified_ms = begun_ms;
    uint64_t played = 0, failures = 0, events = 0;
    struct word word;
    struct race_counts races = {0};
    char text[32];
    int in = begin_jobs(options);
    while (read(in, &word, sizeof word) == (ssize_t)sizeof word) {
        played++;
        events += word.events;
        race_counts_add(&races, &word.races);
        failures += word.failure.promise != NULL;
        take_word(options, &word, failures);
        if (failures > 0 && options->fails_fast)
            break; /* the jobs end at their next word: nobody reads it */
        if (wall_ms() - notified_ms < 10000)
            continue;
        notified_ms = wall_ms();
        printf("  %llu of %llu seeds\n", (unsigned long long)played,
               (unsigned long long)options->seeds);
        fflush(stdout);
    }
    close(in);
    bool is_whole = end_jobs(options) && played == options->seeds;
    if (!is_whole && !(failures > 0 && options->fails_fast))
        printf("a job ended before its seeds were played\n");
    if (options->races)
        race_counts_print(&races, stdout);
    printf("%llu seeds, %llu failures, %s events, %lld s\n", (unsigned long long)played,
           (unsigned long long)failures, grouped(events, text),
           (long long)((wall_ms() - begun_ms + 500) / 1000));
    return failures > 0 || !is_whole;
}

static int usage(void)
{
    fputs(
        "usage: simulation [--seeds N] [--first S] [--jobs J] [--digest] [--fail-fast] [--races]\n"
        "       simulation --seed S [--trace]\n",
        stderr);
    return EXIT_USAGE;
}

int main(int count, char **arguments)
{
    static const struct option names[] = {
        {"seeds", required_argument, NULL, 'n'},
        {"first", required_argument, NULL, 'f'},
        {"jobs", required_argument, NULL, 'j'},
        {"seed", required_argument, NULL, 's'},
        {"trace", no_argument, NULL, 't'},
        {"digest", no_argument, NULL, 'd'},
        {"fail-fast", no_argument, NULL, 'e'},
        {"races", no_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    struct options options = {
        .first = 1, .seeds = 2000, .jobs = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    int name;
    while ((name = getopt_long(count, arguments, "", names, NULL)) != -1) {
        uint64_t number = optarg != NULL ? strtoull(optarg, NULL, 10) : 0;
        options.seeds = name == 'n' ? number : options.seeds;
        options.first = name == 'f' ? number : options.first;
        options.jobs = name == 'j' ? (int)number : options.jobs;
        options.seed = name == 's' ? number : options.seed;
        options.is_one = options.is_one || name == 's';
        options.traces = options.traces || name == 't';
        options.digests = options.digests || name == 'd';
        options.fails_fast = options.fails_fast || name == 'e';
        options.races = options.races || name == 'r';
        if (name == '?')
            return usage();
    }
    if (optind < count || options.jobs < 1)
        return usage();
    mallopt(M_MXFAST, 0); /* events are large: fast bins only cost their consolidation */
    return options.is_one ? play_one(&options) : play_many(&options);
}
