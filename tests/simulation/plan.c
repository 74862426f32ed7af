#include "tests/simulation/plan.h"

#include <string.h>

#include "tests/simulation/sim_keys.h"

enum { DICE_PLAN = 1, DICE_RUN, DICE_GRADER, DICE_FAULT, DICE_RERUN };

enum { RERUN_MOST_MS = 120 * 1000 };

static const char *const fault_names[] = {
#define FAULT_NAME(name, text) [FAULT_##name] = text,
    FAULT_MAP(FAULT_NAME)
#undef FAULT_NAME
};

const char *fault_name(enum fault_kind kind)
{
    return fault_names[kind];
}

static void plan_run(struct planned_run *run, uint64_t seed, int number, bool is_busy)
{
    struct dice dice = dice_make(seed, DICE_RUN, (uint64_t)number);
    run->course = number % 2 == 0 ? 0 : (int)dice_between(&dice, 1, COURSES);
    run->has_pre = dice_chance(&dice, 400);
    run->has_post = dice_chance(&dice, 500);
    run->has_stages[0] = dice_chance(&dice, 850);
    run->has_stages[1] = dice_chance(&dice, 970);
    run->has_stages[2] = dice_chance(&dice, 850);
    run->students = (uint32_t)dice_between(&dice, 1,
                                           dice_chance(&dice, is_busy ? 400 : 150) ? 60 : 12);
    run->priority = (int)dice_between(&dice, 0, 2);
    run->max_attempts = dice_chance(&dice, 250) ? (int)dice_between(&dice, 1, 3) : 0;
    run->is_untimed = dice_chance(&dice, 300);
    run->timeout_ms = dice_between(&dice, 10, 60) * 1000;
    run->starts_ms = dice_between(&dice, 20 * 1000, LAST_START_MS);
    int64_t cancel_ms = run->starts_ms + dice_between(&dice, -2000, 120 * 1000);
    run->cancel_ms = dice_chance(&dice, 200) ? cancel_ms : 0;
    run->is_watched = dice_chance(&dice, 400);
    run->is_cancelled_at_once = dice_chance(&dice, 500);
    run->is_abandoned = dice_chance(&dice, 500);
    run->breaker = dice_chance(&dice, 200) ? (uint32_t)dice_between(&dice, 2, 5) : 0;
    run->rerun_of = -1;
}

static void plan_grader(struct planned_grader *grader, uint64_t seed, int number)
{
    static const enum grader_kind kinds[] = {GRADER_SILENT, GRADER_COURSE,   GRADER_NAMED,
                                             GRADER_COURSE, GRADER_PARALLEL, GRADER_SOCKET};
    struct dice dice = dice_make(seed, DICE_GRADER, (uint64_t)number);
    grader->kind = kinds[number % 6];
    grader->slots = grader->kind == GRADER_PARALLEL ? (int)dice_between(&dice, 1, 3) : 1;
    grader->joins_ms = dice_between(&dice, 0, dice_chance(&dice, 800) ? 30 * 1000 : 20 * 60 * 1000);
}

/* How long a fault of each kind lasts, in ms. */
static int64_t fault_length(struct dice *dice, enum fault_kind kind)
{
    static const int64_t lengths[FAULT_KINDS][2] = {
        [FAULT_CRASH] = {200, 30000},         [FAULT_STALL] = {200, 17500},
        [FAULT_DEPOSE] = {5000, 30000},       [FAULT_STREAM_LOST] = {1, 1},
        [FAULT_STREAM_STALL] = {2500, 30000}, [FAULT_DATABASE_DOWN] = {500, 40000},
        [FAULT_REPLICA_CRASH] = {300, 60000}, [FAULT_REPLICA_STALL] = {500, 15000},
        [FAULT_PARTITION] = {1000, 40000},    [FAULT_CLOCK_STEP] = {200, 30000},
    };
    return dice_between(dice, lengths[kind][0], lengths[kind][1]);
}

static void plan_fault(struct planned_fault *fault, uint64_t seed, int number)
{
    struct dice dice = dice_make(seed, DICE_FAULT, (uint64_t)number);
    fault->kind = (enum fault_kind)dice_between(&dice, FIRST_PLANNED_FAULT, FAULT_KINDS - 1);
    fault->lasts_ms = fault_length(&dice, fault->kind);
    fault->at_ms = dice_between(&dice, 15 * 1000, QUIET_MS - fault->lasts_ms);
    fault->target = (int)dice_between(&dice, 0, REPLICAS - 1);
    fault->step_ms = dice_chance(&dice, 500) ? dice_between(&dice, -120 * 1000, 120 * 1000)
                                             : dice_between(&dice, -HOUR_MS, HOUR_MS);
    fault->crashes_leader = dice_chance(&dice, 500);
}

int plan_rerun(const struct plan *plan, int run)
{
    for (int number = RUNS - RERUNS; number < RUNS; number++)
        if (plan->runs[number].rerun_of == run)
            return number;
    return -1;
}

/* A rerun is like its run, with the first of its students; it starts while that may still go on. */
static void plan_reruns(struct plan *plan)
{
    for (int number = RUNS - RERUNS; number < RUNS; number++) {
        struct dice dice = dice_make(plan->seed, DICE_RERUN, (uint64_t)number);
        struct planned_run *rerun = &plan->runs[number];
        int earlier = (int)dice_between(&dice, 0, RUNS - RERUNS - 1);
        while (plan_rerun(plan, earlier) >= 0)
            earlier = (earlier + 1) % (RUNS - RERUNS);
        *rerun = plan->runs[earlier];
        rerun->rerun_of = earlier;
        rerun->students = (uint32_t)dice_between(&dice, 1, rerun->students);
        rerun->starts_ms += dice_between(&dice, 0, RERUN_MOST_MS);
        if (rerun->starts_ms > LAST_START_MS)
            rerun->starts_ms = LAST_START_MS;
        rerun->cancel_ms = dice_chance(&dice, 100) ? rerun->starts_ms + RERUN_MOST_MS / 2 : 0;
        rerun->is_abandoned = false;
    }
}

void plan_make(struct plan *plan, uint64_t seed)
{
    struct dice dice = dice_make(seed, DICE_PLAN, 0);
    memset(plan, 0, sizeof *plan);
    plan->seed = seed;
    plan->heartbeat_ms = dice_chance(&dice, 250) ? 4000 : 10000;
    plan->lease_ms = dice_chance(&dice, 400) ? 20000 : 5000;
    plan->job_timeout_ms = 90 * 1000;
    plan->intensity = dice_chance(&dice, 100) ? 0 : dice_between(&dice, 100, 1000);
    plan->fault_count = (int)dice_between(&dice, 0, FAULTS);
    for (int kind = 0; kind < FAULT_KINDS; kind++)
        if (dice_chance(&dice, 600))
            plan->fault_kinds |= 1u << kind;
    bool is_busy = dice_chance(&dice, 400);
    int64_t few = dice_between(&dice, FEW_GRADERS / 2, FEW_GRADERS);
    plan->graders_in = is_busy ? (UINT64_C(1) << few) - 1 : UINT64_MAX;
    bool retains = dice_chance(&dice, 500), has_age = dice_chance(&dice, 500);
    plan->retain_runs_ms = retains ? dice_between(&dice, 4, 12) * MINUTE_MS : 0;
    plan->orphan_age_ms = has_age ? dice_between(&dice, 60, 90) * 1000 : INT64_C(1000) * HOUR_MS;
    for (int i = 0; i < RUNS; i++)
        plan_run(&plan->runs[i], seed, i, is_busy);
    sim_keys_plan(plan);
    plan_reruns(plan);
    for (int i = 0; i < GRADERS; i++)
        plan_grader(&plan->graders[i], seed, i);
    for (int i = 0; i < plan->fault_count; i++)
        plan_fault(&plan->faults[i], seed, i);
}

struct scope scope_whole(void)
{
    struct scope scope = {
        .fault_kinds = UINT32_MAX,
        .faults = UINT32_MAX,
        .runs = UINT32_MAX,
        .graders = UINT64_MAX,
    };
    for (int kind = 0; kind < FAULT_KINDS; kind++)
        scope.last_ms[kind] = QUIET_MS;
    return scope;
}
