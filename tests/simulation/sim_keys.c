#include "tests/simulation/sim_keys.h"

#include <stdio.h>
#include <string.h>

#include "common/base/alloc.h"
#include "scheduler/state/supersede_table.h"
#include "tests/simulation/world.h"

enum {
    DICE_KEYS = 80,
    DICE_KEYS_OF_RUN,
    HOURS_PER_MILLE = 700,
    RUNS_PER_MILLE = 700,
    FOLLOWERS_PER_MILLE = 600, /* that start soon after an earlier run */
    FOLLOWS_MS = 80 * 1000,
    STUDENTS_PER_MILLE = 900, /* of a run with keys */
    SINGLES_PER_MILLE = 300,
    KEYS = 16 /* of a course */
};

static void keys_plan_run(struct plan *plan, int number)
{
    struct dice dice = dice_make(plan->seed, DICE_KEYS_OF_RUN, (uint64_t)number);
    struct planned_run *run = &plan->runs[number];
    run->has_keys = dice_chance(&dice, RUNS_PER_MILLE);
    run->first_key = (uint32_t)dice_between(&dice, 0, KEYS - 1);
    run->key_mask = (uint32_t)dice_throw(&dice);
    run->share_per_mille = (int)dice_between(&dice, 0, 4) * 250;
    bool follows = dice_chance(&dice, FOLLOWERS_PER_MILLE);
    int64_t delay_ms = dice_between(&dice, 0, dice_chance(&dice, 500) ? 200 : FOLLOWS_MS);
    if (dice_chance(&dice, SINGLES_PER_MILLE))
        run->students = 1;
    if (!run->has_keys || !follows || number < 2)
        return;
    const struct planned_run *former = &plan->runs[number - 2];
    int64_t moved_ms = former->starts_ms + delay_ms - run->starts_ms;
    run->course = former->course;
    run->starts_ms += moved_ms;
    run->cancel_ms += run->cancel_ms != 0 ? moved_ms : 0;
}

void sim_keys_plan(struct plan *plan)
{
    struct dice dice = dice_make(plan->seed, DICE_KEYS, 0);
    bool has_keys = dice_chance(&dice, HOURS_PER_MILLE);
    for (int number = 0; has_keys && number < RUNS; number++)
        keys_plan_run(plan, number);
}

/* The students of a run have successive keys, so that none has one twice. */
void sim_keys_give(const struct planned_run *plan, struct run *run)
{
    if (!plan->has_keys)
        return;
    run->has_keys = true;
    run->supersede_share = plan->share_per_mille / 1000.0;
    run->keys = bw_alloc_array(run->students, SUPERSEDE_DIGEST_BYTES);
    for (uint32_t i = 0; i < run->students; i++) {
        uint8_t *key = run->keys + (size_t)i * SUPERSEDE_DIGEST_BYTES;
        uint32_t number = run->students <= KEYS ? (plan->first_key + i) % KEYS : i;
        if ((plan->key_mask >> (i % 32) & 1) == 0 && run->students > 1)
            continue;
        key[0] = 1;
        key[1] = (uint8_t)plan->course;
        key[2] = (uint8_t)number;
    }
}

void sim_run_copy(const struct run *from, struct run *to)
{
    *to = *from;
    to->summary = NULL;
    to->summary_length = 0;
    if (from->keys == NULL)
        return;
    to->keys = bw_alloc_array(from->students, SUPERSEDE_DIGEST_BYTES);
    memcpy(to->keys, from->keys, (size_t)from->students * SUPERSEDE_DIGEST_BYTES);
}

void sim_result_keep(struct world *world, struct sim_job *job, const struct result *result,
                     struct subject subject)
{
    struct result *there = job->result;
    if (result->worker[0] == '\0' || there->worker[0] != '\0' ||
        strcmp(there->holder, result->worker) != 0)
        return;
    there->reported = result->outcome;
    memcpy(there->worker, result->worker, sizeof there->worker);
    memcpy(there->digest, result->digest, sizeof there->digest);
    world_note_detail(world, ACTOR_DATABASE, 0, "result kept", subject, 0,
                      outcome_name(result->outcome));
}

/* ---- Checks ---- */

static bool run_is_newer(const struct run *run, const struct run *than)
{
    if (run->started_ms != than->started_ms)
        return run->started_ms > than->started_ms;
    return strcmp(run->id, than->id) > 0;
}

/* The slot of the run's student with that key; -1: there is none. */
static int key_slot(const struct run *run, uint32_t slots, const uint8_t *key)
{
    for (uint32_t slot = 0; slot < slots; slot++) {
        const uint8_t *own = supersede_key_of(run, slot);
        if (own != NULL && memcmp(own, key, SUPERSEDE_DIGEST_BYTES) == 0)
            return (int)slot;
    }
    return -1;
}

void check_keys_known(struct world *world, int scheduler, const struct run *run)
{
    int number = sim_run_number(run->id);
    if (run->started_ms != 0 && run->finished_ms == 0)
        world->checker.start_known[number][scheduler] = world->checker.recovery[scheduler];
}

/* Is there a still newer run with the key that is over? Then the job of this one, which has ended
 * or is superseded, does not count any more. */
static bool key_was_replaced(const struct world *world, const struct sim_run *run,
                             const uint8_t *key)
{
    for (int i = 0; i < RUNS; i++) {
        const struct sim_run *newest = &world->database.runs[i];
        if (newest->run.started_ms != 0 && newest->run.finished_ms != 0 &&
            run_is_newer(&newest->run, &run->run) &&
            key_slot(&newest->run, newest->slots, key) >= 0)
            return true;
    }
    return false;
}

/* A run that is over supersedes nothing. */
void check_keys_hand_out(struct world *world, int scheduler, struct subject subject)
{
    const struct sim_run *run = &world->database.runs[subject.run];
    const uint8_t *key = supersede_key_of(&run->run, (uint32_t)subject.slot);
    for (int i = 0; key != NULL && i < RUNS; i++) {
        const struct sim_run *other = &world->database.runs[i];
        bool is_known = world->checker.start_known[i][scheduler] ==
                        world->checker.recovery[scheduler];
        bool is_over = !other->is_active || run_phase_is_over(checker_phase(world, i));
        if (i != subject.run && is_known && !is_over && run_is_newer(&other->run, &run->run) &&
            key_slot(&other->run, other->slots, key) >= 0 && !key_was_replaced(world, other, key))
            checker_fail(world, "I4",
                         "a job is handed out although a newer one with its key counts", subject);
    }
}

static bool are_students_superseded(const struct sim_run *run)
{
    uint32_t first = run->run.has_pre ? 1 : 0;
    for (uint32_t slot = first; slot < first + run->run.students; slot++)
        if (run->jobs[slot].result == NULL || run->jobs[slot].result->outcome != OUTCOME_SUPERSEDED)
            return false;
    return run->run.students > 0;
}

void check_keys_result(struct world *world, const struct result *result, struct subject subject)
{
    const struct sim_run *run = &world->database.runs[subject.run];
    const uint8_t *key = supersede_key_of(&run->run, (uint32_t)subject.slot);
    int number;
    uint32_t slot;
    if (key == NULL) {
        if (!are_students_superseded(run))
            checker_fail(world, "I4", "a job without a key is superseded before its students",
                         subject);
        return;
    }
    if (sim_job_find(world, result->superseded_by, &number, &slot) == NULL) {
        checker_fail(world, "I4", "a job is superseded by none", subject);
        return;
    }
    const struct sim_run *newer = &world->database.runs[number];
    bool is_true = newer->run.started_ms != 0 && run_is_newer(&newer->run, &run->run) &&
                   key_slot(&newer->run, newer->slots, key) == (int)slot;
    if (!is_true)
        checker_fail(world, "I4",
                     "a job is superseded by one that is not newer, or has another key", subject);
}
