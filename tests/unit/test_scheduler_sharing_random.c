/* Runs, graders, pauses, settings and results at random: after each round no grader waits for a job
 * that it could have, and every count is what a recount finds. */
#include "random_world.h"

#include <math.h>
#include <utlist.h>

enum { STEPS = 3000, SEEDS = 12 };

/* ---- What must be so ---- */

static void recount_leases(const struct world *world)
{
    const struct course *course, *next_course;
    const struct live_lease *lease, *next_lease;
    HASH_ITER (hh, world->scheduler->queue.order.courses, course, next_course) {
        uint32_t running = 0, inserting = 0;
        HASH_ITER (hh, world->scheduler->leases.leases, lease, next_lease) {
            running += lease->run->course == course;
            inserting += lease->run->course == course && lease->state == LEASE_INSERTING;
        }
        assert_int_equal(course->running, running);
        assert_int_equal(course->inserting, inserting);
    }
}

static uint64_t count_retries(const struct active_run *run)
{
    const struct retry *retry;
    uint64_t due = 0, delayed = 0;
    LL_COUNT(run->due, retry, due);
    LL_COUNT(run->delayed, retry, delayed);
    return due + delayed;
}

static void recount_runs(const struct world *world)
{
    const struct queue *queue = &world->scheduler->queue;
    const struct course *course, *next_course;
    const struct active_run *run, *next_run;
    uint64_t all = 0, attended = 0;
    HASH_ITER (hh, queue->order.courses, course, next_course) {
        uint64_t queued = 0;
        HASH_ITER (hh, queue->runs, run, next_run)
            queued += run->course == course ? queue_run_length(run) : 0;
        assert_int_equal(course->queued, queued);
        all += queued;
    }
    assert_int_equal(queue_length(queue), all);
    HASH_ITER (hh, queue->runs, run, next_run) {
        bool needs = run->is_dirty || run->own_next < run->own_end || supersede_is_pending(run);
        bool has_job = !run->is_paused && (run->due != NULL || run->next_slot < run->end_slot);
        assert_true(run->is_attended || !needs);
        assert_int_equal(run->is_delaying, run->delayed != NULL);
        assert_int_equal(run->retries, count_retries(run));
        assert_int_equal(run->is_ready, has_job);
        assert_true(run->ended_ahead <= run->end_slot - run->next_slot);
        attended += run->is_attended;
    }
    DL_FOREACH2 (queue->attended, run, attended_next)
        attended--;
    assert_int_equal(attended, 0);
}

static void recount_course(const struct course *course, size_t *ready)
{
    const struct lane *lane, *following;
    uint32_t ready_lanes = 0;
    HASH_ITER (hh, course->lanes, lane, following) {
        const struct submitter *submitter, *next_submitter;
        uint32_t runs = 0, places = 0;
        HASH_ITER (hh, lane->submitters, submitter, next_submitter) {
            runs += submitter->runs;
            places += submitter->place != 0;
            assert_true(isfinite(submitter->virtual_ms));
            assert_int_equal(submitter->place != 0, submitter->ready != NULL);
        }
        assert_int_equal(lane->runs, runs);
        assert_int_equal(lane->ready_count, places);
        assert_int_equal(lane->is_ready, places > 0);
        assert_true(lane->is_ready || !lane->is_aside);
        ready_lanes += lane->is_ready;
        *ready += lane->is_ready && !lane->is_aside;
    }
    assert_int_equal(course->ready_lanes, ready_lanes);
    assert_int_equal(course->ready_weight, ready_lanes > 0 ? course->weight : 0);
    assert_true(isfinite(course->virtual_ms));
}

static void recount_order(const struct world *world)
{
    const struct queue_order *order = &world->scheduler->queue.order;
    const struct course *course, *next_course;
    size_t ready = 0, listed = 0;
    uint32_t weight = 0;
    HASH_ITER (hh, order->courses, course, next_course) {
        recount_course(course, &ready);
        weight += course->ready_weight;
    }
    for (const struct lane *lane = queue_order_first(order, PROTOCOL_COURSE); lane != NULL;
         lane = queue_order_next(lane)) {
        const struct lane *next = lane->next;
        assert_true(next == NULL || next->priority < lane->priority ||
                    (next->priority == lane->priority && lane->turn < next->turn));
        listed++;
    }
    assert_int_equal(listed, ready);
    assert_int_equal(order->ready_weight[PROTOCOL_COURSE], weight);
    assert_true(isfinite(order->virtual_ms[PROTOCOL_COURSE]));
}

static void recount_groups(const struct world *world)
{
    const struct worker_group *group, *next_group;
    const struct known_worker *worker, *next_worker;
    size_t all = 0;
    HASH_ITER (hh, world->scheduler->groups.groups, group, next_group) {
        const struct parked_poll *poll;
        uint64_t waiting = 0;
        uint32_t workers = 0;
        DL_FOREACH2 (group->waiters, poll, group_next) {
            assert_ptr_equal(poll->worker->group, group);
            assert_true(poll->group_next == NULL || poll->order < poll->group_next->order);
            waiting++;
        }
        HASH_ITER (hh, world->scheduler->workers.workers, worker, next_worker)
            workers += worker->group == group;
        assert_int_equal(group->waiting, waiting);
        assert_int_equal(group->workers, workers);
        all += waiting;
    }
    assert_int_equal(world->scheduler->replicas.waiting, all);
    assert_int_equal(world->scheduler->replicas.waiting_of[PROTOCOL_COURSE], all);
}

/* Whether the grader could have the next job of the run. */
static bool could_have(const struct scheduler *scheduler, const struct known_worker *worker,
                       const struct active_run *run)
{
    const struct worker_group alone = {.protocol = worker->protocol,
                                       .tags = worker->tags,
                                       .is_reserved = worker->group->is_reserved};
    uint32_t slot = run->due != NULL ? run->due->slot : run->next_slot;
    return worker->is_alive && worker->undelivered == 0 && worker->polls != NULL &&
           !worker_is_paused(worker, scheduler->now_ms) && course_wait_reasons(run->course) == 0 &&
           (worker->concurrency == 0 || worker->held < (uint32_t)worker->concurrency) &&
           !returned_job_excludes(returned_jobs_find(run->returned, slot), worker->id,
                                  scheduler->now_ms) &&
           worker_group_wait_reasons(&scheduler->groups, &alone, run->run.protocol, run->run.course,
                                     run->run.run_class, run->run.requires) == 0;
}

static void assert_nobody_waits(const struct world *world)
{
    const struct scheduler *scheduler = world->scheduler;
    const struct known_worker *worker, *next_worker;
    const struct active_run *run, *next_run;
    HASH_ITER (hh, scheduler->workers.workers, worker, next_worker)
        HASH_ITER (hh, scheduler->queue.runs, run, next_run)
            assert_false(run->is_ready && could_have(scheduler, worker, run));
}

static void step(struct world *world)
{
    world_happens(world);
    while (dispatch_round(world->scheduler))
        ;
    assert_nobody_waits(world);
    carry_out(world);
    recount_leases(world);
    recount_runs(world);
    recount_order(world);
    recount_groups(world);
}

static void no_grader_waits_and_all_counts_hold(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct world world;
        world_open(&world, seed);
        for (unsigned i = 0; i < STEPS; i++)
            step(&world);
        assert_true(world.handed_out > STEPS / 20);
        world_close(&world);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_grader_waits_and_all_counts_hold)};
    return cmocka_run_group_tests_name("sharing_random", tests, NULL, NULL);
}
