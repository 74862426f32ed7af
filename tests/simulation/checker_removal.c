/*
 * What is removed: runs that ended long ago, each as a whole and itself last, and what was left
 * behind without an owner; and nothing else.
 */
#include "tests/simulation/world.h"

enum {
    RUN_SCANS_MS = 3 * MINUTE_MS, /* a scan a minute, and one that fails */
    ORPHAN_SCANS_MS = 30 * 1000,
    DATE_READ_MS = 10 * 1000 /* after a step all that was asked for before it has been done */
};

static struct subject run_subject(int run)
{
    return (struct subject){run, -1, -1, -1};
}

void check_run_hide(struct world *world, int number)
{
    const struct sim_run *run = &world->database.runs[number];
    if (run->run.finished_ms == 0)
        checker_fail(world, "I1", "a run is removed that has not ended", run_subject(number));
    bool is_young = world_date_ms(world) - run->run.finished_ms < world->plan->retain_runs_ms;
    bool has_stepped = world->checker.stepped_ms != 0 &&
                       world->now_ms - world->checker.stepped_ms < DATE_READ_MS;
    if (is_young && !has_stepped)
        checker_fail(world, "I1", "a run is removed before its time", run_subject(number));
    if (world->plan->retain_runs_ms == 0)
        checker_fail(world, "I1", "a run is removed though runs are kept", run_subject(number));
}

void check_job_remove(struct world *world, int number)
{
    if (!world->database.runs[number].is_hidden)
        checker_fail(world, "I1", "jobs are removed of a run that is there", run_subject(number));
}

void check_result_remove(struct world *world, int number, uint32_t slot)
{
    const struct sim_job *job = &world->database.runs[number].jobs[slot];
    check_job_remove(world, number);
    if (job->has_log && job->result != NULL && job->result->digest[0] != '\0')
        checker_fail(world, "I1", "a result is removed before the log that it names",
                     (struct subject){number, (int)slot, -1, -1});
}

void check_run_remove(struct world *world, int number)
{
    const struct sim_run *run = &world->database.runs[number];
    bool is_left = run->has_definition;
    for (uint32_t slot = 0; slot < run->slots; slot++)
        is_left = is_left || run->jobs[slot].result != NULL || run->jobs[slot].attempt_room > 0;
    if (is_left)
        checker_fail(world, "I1", "a run is removed before all that belongs to it",
                     run_subject(number));
}

void check_definition_remove(struct world *world, int number)
{
    const struct sim_run *run = &world->database.runs[number];
    if (run->is_created && !run->is_hidden)
        checker_fail(world, "I1", "the definition of a run is removed that is there",
                     run_subject(number));
}

void check_log_remove(struct world *world, int number, uint32_t slot)
{
    const struct sim_run *run = &world->database.runs[number];
    const struct result *result = run->jobs[slot].result;
    if (!run->is_hidden && result != NULL && result->digest[0] != '\0')
        checker_fail(world, "I2", "a log is removed that a result names",
                     (struct subject){number, (int)slot, -1, -1});
}

void check_late_result(struct world *world, struct subject subject)
{
    const struct job_truth *truth = &world->checker.jobs[subject.run][subject.slot];
    bool is_due = world->now_ms < truth->due_ms && world->checker.stepped_ms == 0;
    if (is_due)
        checker_fail(world, "I2", "a result comes in time, and its run was removed", subject);
}

/* Its end is so long ago, by the database's date too, that it is removed. */
static bool run_is_old(const struct world *world, const struct sim_run *run)
{
    int64_t age_ms = world->plan->retain_runs_ms + RUN_SCANS_MS;
    return world->plan->retain_runs_ms > 0 && run->recorded_ms != 0 &&
           world->now_ms - run->recorded_ms > age_ms &&
           world_date_ms(world) - run->run.finished_ms > age_ms;
}

/* A leader removes what it has found twice since it recovered. */
static bool definition_is_old(const struct world *world, const struct sim_run *run)
{
    int64_t begun_ms = world->checker.disturbed_ms;
    int64_t found_ms = run->defined_ms > begun_ms ? run->defined_ms : begun_ms;
    return run->has_definition && !run->is_created &&
           world->now_ms - found_ms > 3 * world->plan->orphan_age_ms + ORPHAN_SCANS_MS;
}

void check_removed(struct world *world)
{
    for (int number = 0; number < RUNS; number++) {
        const struct sim_run *run = &world->database.runs[number];
        if (run_is_old(world, run) && !run->is_gone)
            checker_fail(world, "I1", "an old run is not removed", run_subject(number));
        if (definition_is_old(world, run))
            checker_fail(world, "I1", "a definition without a run is not removed",
                         run_subject(number));
    }
}
