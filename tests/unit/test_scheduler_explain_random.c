/* In random states: a job is handed to a grader exactly if the reasons say that nothing prevents
 * it, and the explanations of the job and of the grader say the same. */
#include "random_world.h"

#include <utlist.h>

#include "common/store/run_jobs.h"
#include "scheduler/rules/explain.h"
#include "scheduler/rules/hand_out_check.h"

enum { STEPS = 1200, SEEDS = 12, MOST_RUNS = 4000 };

/* What was paused before a pair was set apart. */
struct set_apart {
    bool workers[WORKERS];
    bool runs[MOST_RUNS];
    size_t run_count;
};

static struct live_lease *lease_number(const struct world *world, unsigned number)
{
    struct live_lease *lease = world->scheduler->leases.leases;
    for (; number > 0 && lease != NULL; number--)
        lease = lease->hh.next;
    return lease;
}

/* Whether the answer has this one reason. */
static bool says_only(json_t *answer, const char *word)
{
    const json_t *reasons = json_object_get(answer, "reasons");
    const char *first = json_string_value(json_object_get(json_array_get(reasons, 0), "reason"));
    bool is_so = json_array_size(reasons) == 1 && strcmp(first, word) == 0;
    json_decref(answer);
    return is_so;
}

/* Each reason of an answer has its sentences. */
static void check_sentences(json_t *answer)
{
    json_t *reason;
    size_t i;
    json_array_foreach (json_object_get(answer, "reasons"), i, reason) {
        assert_non_null(json_object_get(reason, "detail"));
        assert_non_null(json_object_get(reason, "changes_when"));
    }
    json_decref(answer);
}

static void drop(struct world *world, struct set_apart *apart, const struct active_run *kept_run,
                 const struct known_worker *kept_worker)
{
    struct active_run *run, *next_run;
    struct known_worker *worker, *next_worker;
    size_t at = 0;
    HASH_ITER (hh, world->scheduler->workers.workers, worker, next_worker) {
        apart->workers[at++] = worker->is_paused;
        worker->is_paused = worker->is_paused || worker != kept_worker;
    }
    at = 0;
    HASH_ITER (hh, world->scheduler->queue.runs, run, next_run) {
        assert_true(at < MOST_RUNS);
        apart->runs[at++] = run->is_paused;
        queue_set_paused(run, run->is_paused || run != kept_run);
    }
    apart->run_count = at;
}

static void bring_back(struct world *world, const struct set_apart *apart)
{
    struct active_run *run, *next_run;
    struct known_worker *worker, *next_worker;
    size_t at = 0;
    HASH_ITER (hh, world->scheduler->workers.workers, worker, next_worker)
        worker->is_paused = apart->workers[at++];
    at = 0;
    HASH_ITER (hh, world->scheduler->queue.runs, run, next_run)
        queue_set_paused(run, apart->runs[at++]);
    assert_int_equal(at, apart->run_count);
}

/* Whether the next round puts off the run's next job, so that the one behind it moves up. */
static bool next_is_put_off(const struct world *world, const struct active_run *run,
                            const struct known_worker *worker)
{
    return run->due != NULL &&
           returned_job_excludes(returned_jobs_find(run->returned, run->due->slot), worker->id,
                                 world->scheduler->now_ms);
}

/* Whether what is said of the pair can be compared with the next round: the job waits, and no
 * grader is offered a lease again, which it may not have. */
static bool can_be_checked(const struct world *world, const struct active_run *run, uint32_t slot,
                           const struct known_worker *worker)
{
    char job[JOB_ID_SIZE];
    run_slot_job_id(&run->run, slot, job);
    return world->scheduler->leases.unconfirmed == NULL &&
           summary_outcome(run->run.summary[slot]) == OUTCOME_NONE &&
           lease_table_find(&world->scheduler->leases, job) == NULL &&
           (!next_is_put_off(world, run, worker) || run->due->slot == slot);
}

/* Sets a job and a grader apart from all others, and compares what is said with what is done.
 * Returns whether the job was handed out. */
static bool check_pair(struct world *world, struct active_run *run, uint32_t slot,
                       struct known_worker *worker)
{
    static struct set_apart apart;
    struct scheduler *scheduler = world->scheduler;
    char job[JOB_ID_SIZE];
    run_slot_job_id(&run->run, slot, job);
    drop(world, &apart, run, worker);
    unsigned leases = HASH_COUNT(scheduler->leases.leases);
    bool is_put_off = next_is_put_off(world, run, worker);
    bool is_free = hand_out_reasons(scheduler, run, slot, worker) == 0;
    assert_int_equal(says_only(explain_job(scheduler, job), "ready"), is_free);
    bool is_ready = says_only(explain_worker(scheduler, worker->id), "ready");
    assert_true(is_ready || !is_free);
    while (dispatch_round(scheduler))
        ;
    const struct live_lease *lease = lease_number(world, leases);
    bool is_handed_out = lease != NULL && strcmp(lease->job, job) == 0;
    assert_true(lease == NULL || lease->worker == worker);
    assert_int_equal(is_handed_out, is_free);
    assert_true(is_put_off || (lease != NULL) == is_ready);
    bring_back(world, &apart);
    return is_handed_out;
}

/* A job of the run, often one that could go. */
static uint32_t pick_slot(struct world *world, const struct active_run *run)
{
    if (pick(world, 4) == 0)
        return pick(world, run->slots);
    if (run->due != NULL)
        return run->due->slot;
    return run->next_slot < run->slots ? run->next_slot : 0;
}

/* A grader, often one whose poll waits. */
static struct known_worker *pick_asking(struct world *world)
{
    struct parked_poll *poll = world->scheduler->replicas.waiters;
    return poll != NULL && pick(world, 2) == 0 ? poll->worker : pick_worker(world);
}

static void explain_all(const struct world *world)
{
    const struct scheduler *scheduler = world->scheduler;
    const struct known_worker *worker, *next_worker;
    const struct active_run *run, *next_run;
    char job[JOB_ID_SIZE];
    HASH_ITER (hh, scheduler->workers.workers, worker, next_worker)
        check_sentences(explain_worker(scheduler, worker->id));
    HASH_ITER (hh, scheduler->queue.runs, run, next_run) {
        json_t *answer = explain_run(scheduler, run->run.id), *group;
        json_int_t waiting = 0, named = json_integer_value(
                                    json_object_get(json_object_get(answer, "jobs"), "waiting"));
        size_t i;
        json_array_foreach (json_object_get(answer, "waiting"), i, group)
            waiting += json_integer_value(json_object_get(group, "jobs"));
        assert_int_equal(waiting, named);
        check_sentences(answer);
        for (uint32_t slot = 0; slot < run->slots; slot++)
            check_sentences(explain_job(scheduler, run_slot_job_id(&run->run, slot, job)));
    }
}

static void a_job_is_handed_out_exactly_if_nothing_is_said_to_prevent_it(void **state)
{
    unsigned checked = 0, handed_out = 0;
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct world world;
        world_open(&world, seed);
        for (unsigned i = 0; i < STEPS; i++) {
            world_happens(&world);
            struct active_run *run = pick_run(&world);
            struct known_worker *worker = pick_asking(&world);
            uint32_t slot = run != NULL ? pick_slot(&world, run) : 0;
            if (run != NULL && worker != NULL && can_be_checked(&world, run, slot, worker)) {
                checked++;
                handed_out += check_pair(&world, run, slot, worker);
            }
            if (pick(&world, 20) == 0)
                explain_all(&world);
            while (pick(&world, 3) == 0 && dispatch_round(world.scheduler))
                ;
            carry_out(&world);
        }
        world_close(&world);
    }
    assert_true(checked > SEEDS * STEPS / 10);
    assert_true(handed_out > SEEDS * STEPS / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_handed_out_exactly_if_nothing_is_said_to_prevent_it)};
    return cmocka_run_group_tests_name("explain_random", tests, NULL, NULL);
}
