/*
 * Breakers: one pauses its run if the first jobs failed alike, and only then. A scheduler may learn
 * of results in another order than that in which they came, and of results that come while there
 * is no leader together: only what was on record for SURE_MS, while nothing was unavailable, is
 * known for certain.
 */
#include "tests/simulation/world.h"

enum { SURE_MS = 30 * 1000 };

/* What the students' jobs of a run with a breaker ended with. */
struct breaker_truth {
    uint32_t alike;
    int64_t due_ms;   /* when as many as the limit had failed alike; 0: they have not */
    int64_t other_ms; /* when the first one had ended otherwise, but for cancelled and superseded
                         ones; 0: none has */
};

static struct breaker_truth breaker_truth(const struct world *world, int number)
{
    const struct sim_run *run = &world->database.runs[number];
    struct breaker_truth truth = {0};
    int64_t alike_ms[64] = {0};
    for (uint32_t slot = 0; slot < run->slots; slot++) {
        const struct sim_job *job = &run->jobs[slot];
        if (job->result == NULL || checker_slot_kind(run, slot) != JOB_STUDENT ||
            job->result->outcome == OUTCOME_CANCELLED || job->result->outcome == OUTCOME_SUPERSEDED)
            continue;
        if (job->result->outcome == OUTCOME_FAILED && job->result->signature[0] != '\0') {
            uint32_t place = truth.alike++;
            for (; place > 0 && alike_ms[place - 1] > job->result_ms; place--)
                alike_ms[place] = alike_ms[place - 1];
            alike_ms[place] = job->result_ms;
        } else if (truth.other_ms == 0 || job->result_ms < truth.other_ms) {
            truth.other_ms = job->result_ms;
        }
    }
    if (truth.alike >= run->run.breaker.limit)
        truth.due_ms = alike_ms[run->run.breaker.limit - 1];
    return truth;
}

void check_break(struct world *world, int number)
{
    struct breaker_truth truth = breaker_truth(world, number);
    struct subject subject = {number, -1, -1, -1};
    bool is_otherwise = truth.other_ms != 0 && truth.other_ms + SURE_MS < truth.due_ms &&
                        world->checker.disturbed_ms < truth.other_ms;
    if (truth.due_ms == 0)
        checker_fail(world, "I13", "a breaker pauses a run too early", subject);
    if (is_otherwise)
        checker_fail(world, "I13", "a breaker pauses a run of which a job had ended otherwise",
                     subject);
}

void check_breaker_waits(struct world *world, int number)
{
    const struct sim_run *run = &world->database.runs[number];
    if (world->plan->runs[number].breaker == 0 || run->run.cancelled_ms != 0 ||
        world->database.breaks[number].exists || run_phase_is_over(checker_phase(world, number)))
        return;
    struct breaker_truth truth = breaker_truth(world, number);
    int64_t since_ms = truth.due_ms > world->checker.disturbed_ms ? truth.due_ms
                                                                  : world->checker.disturbed_ms;
    if (truth.due_ms != 0 && truth.other_ms == 0 && world->now_ms - since_ms > SURE_MS)
        checker_fail(world, "I13", "a breaker does not pause a run whose first jobs failed alike",
                     (struct subject){number, -1, -1, -1});
}
