#include "tests/simulation/sim_races.h"

#include "tests/simulation/sim_job_cancel.h"
#include "tests/simulation/world.h"

enum {
    DICE_AIMS = 90,
    DICE_ACTIONS,
    AIMS_PER_MILLE = 700,
    CANCELS_PER_MILLE = 300,
    LATEST_RARE = 2, /* of rare kinds of events one of the first is aimed at */
    LATEST = 12,
    DELAY_MOST_MS = 60,
    START_MOST_MS = 90,
    PAUSE_MOST_MS = 20 * 1000
};

static const char *const race_names[] = {
#define RACE_NAME(kind, name) [RACE_##kind] = name,
    RACE_MAP(RACE_NAME)
#undef RACE_NAME
};

/* ---- Counting ---- */

static bool race_is_action(enum race_kind kind)
{
    return (int)kind >= FIRST_ACTION;
}

/* Each action meets each kind of event once. */
static void race_meets(struct world *world, int run, enum race_kind kind, enum race_kind other)
{
    struct sim_races *races = &world->races;
    unsigned *met = races->met[run];
    bool is_counted = (race_is_action(kind) && (met[kind] >> other & 1u) != 0) ||
                      (race_is_action(other) && (met[other] >> kind & 1u) != 0);
    if (is_counted)
        return;
    met[kind] |= 1u << other;
    met[other] |= 1u << kind;
    races->counts.met[kind][other]++;
    races->counts.met[other][kind]++;
}

static void race_count(struct world *world, int run, enum race_kind kind)
{
    struct sim_races *races = &world->races;
    races->met[run][kind] = 0;
    for (int i = 0; i < RACE_KINDS; i++) {
        enum race_kind other = (enum race_kind)i;
        bool is_close = races->last_ms[run][other] != 0 &&
                        world->now_ms - races->last_ms[run][other] <= RACE_MS;
        if (other != kind && is_close && (race_is_action(kind) || race_is_action(other)))
            race_meets(world, run, kind, other);
    }
    races->last_ms[run][kind] = world->now_ms;
}

void race_counts_add(struct race_counts *counts, const struct race_counts *added)
{
    for (int i = 0; i < RACE_KINDS; i++)
        for (int other = 0; other < RACE_KINDS; other++)
            counts->met[i][other] += added->met[i][other];
}

void race_counts_print(const struct race_counts *counts, FILE *file)
{
    for (int kind = FIRST_ACTION; kind < RACE_KINDS; kind++)
        for (int other = 0; other < kind; other++)
            fprintf(file, "race: %s x %s: %llu\n", race_names[kind], race_names[other],
                    (unsigned long long)counts->met[kind][other]);
}

/* ---- Aiming ---- */

/* What follows, perhaps beside the start of another run. */
static unsigned race_other_actions(struct dice *dice, int cancels_per_mille)
{
    unsigned actions = (dice_chance(dice, 500) ? 1u << RACE_JOB_CANCEL : 0) |
                       (dice_chance(dice, 500) ? 1u << RACE_PAUSE : 0) |
                       (dice_chance(dice, cancels_per_mille) ? 1u << RACE_CANCEL : 0);
    return actions != 0 ? actions : 1u << RACE_JOB_CANCEL;
}

/* Runs that start at somebody's moment do so at a rare one: their start is itself followed by
 * hand-outs. */
static void race_plan_aim(struct race_aim *aim, const struct planned_run *run, bool is_rerun,
                          struct dice *dice)
{
    static const enum race_kind events[] = {RACE_HAND_OUT, RACE_RESULT, RACE_REQUEUE, RACE_REQUEUE,
                                            RACE_PHASE};
    bool starts = is_rerun || (run->has_keys && dice_chance(dice, 700));
    bool is_in = dice_chance(dice, AIMS_PER_MILLE) || starts;
    int cancels = CANCELS_PER_MILLE;
    aim->event = events[dice_between(dice, starts ? 2 : 0, 4)];
    bool is_frequent = aim->event == RACE_HAND_OUT || aim->event == RACE_RESULT;
    aim->nth = (unsigned)dice_between(dice, 1, is_frequent ? LATEST : LATEST_RARE);
    if (run->has_keys && dice_chance(dice, starts ? 250 : 500)) {
        aim->event = RACE_SUPERSEDE;
        cancels = 2 * CANCELS_PER_MILLE;
        aim->nth = (unsigned)dice_between(dice, 1, LATEST_RARE);
    }
    aim->actions = race_other_actions(dice, cancels);
    if (is_rerun)
        aim->actions |= 1u << RACE_RERUN;
    else if (starts)
        aim->actions |= 1u << RACE_SUPERSEDE;
    if (!is_in)
        aim->actions = 0;
}

void sim_races_init(struct world *world)
{
    for (int number = 0; number < RUNS; number++) {
        struct dice dice = dice_make(world->plan->seed, DICE_AIMS, (uint64_t)number);
        bool has_rerun = plan_rerun(world->plan, number) >= 0;
        for (int i = 0; i < AIMS_OF_RUN; i++)
            race_plan_aim(&world->races.aims[number][i], &world->plan->runs[number],
                          has_rerun && i < AIMS_OF_RUN - 1, &dice);
    }
}

/* A run's own pause, or one that holds it back beside others, or that of a grader. */
static void race_pause(struct world *world, int run, int slot, int64_t delay_ms, struct dice *dice)
{
    int course = world->plan->runs[run].course, target = run;
    int worker = slot >= 0 ? sim_job_worker(&world->database.runs[run].jobs[slot]) : -1;
    int64_t lasts_ms = dice_between(dice, 50, PAUSE_MOST_MS), kind = dice_between(dice, 0, 9);
    if (kind < 2 && worker >= 0)
        target = TARGET_GRADER + sim_worker_grader(worker);
    else if (kind < 4 && course > 0)
        target = (kind == 2 ? TARGET_COURSE : TARGET_ASSIGNMENT) + course - 1;
    sim_pause_soon(world, target, delay_ms, lasts_ms);
}

/* That slot, or the next one whose job has no result. */
static uint32_t race_open_slot(const struct world *world, int run, int slot)
{
    const struct sim_run *there = &world->database.runs[run];
    for (uint32_t i = 0; i < there->slots; i++) {
        uint32_t next = ((uint32_t)slot + i) % there->slots;
        if (there->jobs[next].result == NULL)
            return next;
    }
    return (uint32_t)slot;
}

static void race_act(struct world *world, int run, int slot, const struct race_aim *aim)
{
    const struct race_aim *first = world->races.aims[run];
    struct dice dice = dice_make(world->plan->seed, DICE_ACTIONS,
                                 (uint64_t)run * AIMS_OF_RUN + (uint64_t)(aim - first));
    int slots = (int)world->database.runs[run].slots;
    int other = (int)dice_between(&dice, 0, slots - 1);
    int64_t delays_ms[RACE_KINDS];
    bool starts = (aim->actions & (1u << RACE_RERUN | 1u << RACE_SUPERSEDE)) != 0;
    for (int i = 0; i < RACE_KINDS; i++)
        delays_ms[i] = dice_between(&dice, 0, starts ? START_MOST_MS : DELAY_MOST_MS);
    if (starts)
        delays_ms[RACE_RERUN] = delays_ms[RACE_SUPERSEDE] = 0; /* that takes some time itself */
    if (slot < 0 || dice_chance(&dice, 300))
        slot = other;
    if ((aim->actions >> RACE_CANCEL & 1u) != 0)
        sim_client_cancel(world, run, delays_ms[RACE_CANCEL]);
    if ((aim->actions >> RACE_JOB_CANCEL & 1u) != 0)
        sim_job_cancel(world, run, race_open_slot(world, run, slot), delays_ms[RACE_JOB_CANCEL]);
    if ((aim->actions >> RACE_RERUN & 1u) != 0)
        sim_client_rerun(world, run, delays_ms[RACE_RERUN]);
    if ((aim->actions >> RACE_SUPERSEDE & 1u) != 0)
        sim_client_follow(world, run, delays_ms[RACE_SUPERSEDE]);
    if ((aim->actions >> RACE_PAUSE & 1u) != 0)
        race_pause(world, run, slot, delays_ms[RACE_PAUSE], &dice);
}

static bool race_may_aim(const struct world *world)
{
    return world_has_kind(world, FAULT_AIMED) && world->now_ms < LAST_AIM_MS &&
           world->now_ms >= world->scope->first_ms[FAULT_AIMED] &&
           world->now_ms < world->scope->last_ms[FAULT_AIMED];
}

void race_happens(struct world *world, int run, int slot, enum race_kind kind)
{
    unsigned nth = ++world->races.happened[run][kind];
    race_count(world, run, kind);
    for (int i = 0; i < AIMS_OF_RUN && race_may_aim(world); i++) {
        const struct race_aim *aim = &world->races.aims[run][i];
        if (aim->event == kind && aim->nth == nth)
            race_act(world, run, slot, aim);
    }
}
