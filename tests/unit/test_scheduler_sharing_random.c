/* Runs, graders, pauses, settings and results at random: after each round no grader waits for a job
 * that it could have, and every count is what a recount finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <utlist.h>

#include "common/domain/supersede.h"
#include "fake_scheduler.h"
#include "scheduler/rules/dispatch.h"
#include "scheduler/rules/job_return.h"
#include "scheduler/rules/lease_lifecycle.h"
#include "scheduler/rules/replica_signals.h"
#include "scheduler/rules/run_progress.h"
#include "scheduler/rules/sharing.h"
#include "scheduler/rules/supersede.h"
#include "scheduler/rules/worker_liveness.h"

enum { WORKERS = 8, STEPS = 3000, SEEDS = 12, HEARTBEAT_MS = 10000 };

struct world {
    struct scheduler *scheduler;
    struct known_replica *replica;
    uint64_t seed;
    int64_t polls;
    unsigned runs;
    uint64_t handed_out;
};

static unsigned pick(struct world *world, unsigned count)
{
    world->seed = world->seed * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)((world->seed >> 33) % count);
}

static const char *pick_tags(struct world *world)
{
    static const char *const tags[] = {"", "", "a", "b", "a,b", "c"};
    return tags[pick(world, sizeof tags / sizeof *tags)];
}

static const char *pick_course(struct world *world)
{
    static const char *const courses[] = {"one", "two", "three"};
    return courses[pick(world, sizeof courses / sizeof *courses)];
}

/* ---- What happens ---- */

static void start_run(struct world *world)
{
    struct run run = {.students = 1 + pick(world, 5),
                      .protocol = PROTOCOL_COURSE,
                      .run_class = (enum run_class)pick(world, RUN_CLASSES),
                      .priority = (int)pick(world, 2),
                      .has_stages = {true, true, true},
                      .has_pre = pick(world, 4) == 0,
                      .has_post = pick(world, 4) == 0,
                      .started_ms = world->scheduler->date_ms};
    const char *requires = pick_tags(world);
    run.phase = run.has_pre ? RUN_PRE : RUN_STUDENTS;
    run.has_stages[JOB_PRE] = pick(world, 2) == 0;
    snprintf(run.id, sizeof run.id, "%024x", ++world->runs);
    snprintf(run.course, sizeof run.course, "%s", pick_course(world));
    snprintf(run.submitter, sizeof run.submitter, "%.*s", (int)pick(world, 3), "xy");
    run.requires = requires[0] != '\0' ? bw_copy(requires) : NULL;
    run.has_keys = pick(world, 2) == 0;
    if (run.has_keys)
        run.keys = bw_alloc_array(run.students, SUPERSEDE_DIGEST_BYTES);
    for (uint32_t i = 0; run.has_keys && i < run.students; i++)
        run.keys[(size_t)i * SUPERSEDE_DIGEST_BYTES] = (uint8_t)pick(world, 12);
    run_changed(world->scheduler, &run);
    run_clear(&run);
}

static struct active_run *pick_run(struct world *world)
{
    struct active_run *run = world->scheduler->queue.runs;
    unsigned count = HASH_COUNT(run);
    for (unsigned skip = count > 0 ? pick(world, count) : 0; skip > 0; skip--)
        run = run->hh.next;
    return run;
}

static struct live_lease *pick_lease(struct world *world)
{
    struct live_lease *lease = world->scheduler->leases.leases;
    unsigned count = HASH_COUNT(lease);
    for (unsigned skip = count > 0 ? pick(world, count) : 0; skip > 0; skip--)
        lease = lease->hh.next;
    return lease;
}

static struct known_worker *pick_worker(struct world *world)
{
    char id[16];
    snprintf(id, sizeof id, "w%u", pick(world, WORKERS));
    return worker_table_find(&world->scheduler->workers, id);
}

static void register_worker(struct world *world)
{
    struct worker worker = {
        .is_alive = true, .concurrency = (int)pick(world, 3), .protocol = PROTOCOL_COURSE};
    snprintf(worker.id, sizeof worker.id, "w%u", pick(world, WORKERS));
    snprintf(worker.tags, sizeof worker.tags, "%s", pick_tags(world));
    const struct known_worker *known = worker_table_find(&world->scheduler->workers, worker.id);
    worker.epoch = known != NULL ? known->epoch + 1 : 1;
    replica_signals_take_worker(world->scheduler, &worker);
}

static void complete_all(struct world *world)
{
    struct scheduling scheduling = {.reservation_count = pick(world, 3), .share_count = 1};
    scheduling.reservations = bw_alloc_array(3, sizeof *scheduling.reservations);
    scheduling.shares = bw_alloc_array(1, sizeof *scheduling.shares);
    snprintf(scheduling.shares->course, WORKER_ID_SIZE, "%s", pick_course(world));
    scheduling.shares->weight = pick(world, 2) * (1 + pick(world, COURSE_WEIGHT_MAX));
    scheduling.shares->max_running = pick(world, 3);
    for (size_t i = 0; i < scheduling.reservation_count; i++) {
        struct reservation *reservation = &scheduling.reservations[i];
        snprintf(reservation->tags, sizeof reservation->tags, "%c", 'a' + (int)pick(world, 3));
        reservation->classes = 1 + pick(world, RUN_CLASSES_ALL);
        if (pick(world, 2) == 0)
            continue;
        reservation->courses = bw_alloc_array(1, sizeof *reservation->courses);
        reservation->course_count = 1;
        snprintf(reservation->courses[0], WORKER_ID_SIZE, "%s", pick_course(world));
    }
    sharing_take(world->scheduler, &scheduling);
}

static void end_lease(struct world *world)
{
    struct live_lease *lease = pick_lease(world);
    if (lease == NULL)
        return;
    struct result result = {.outcome = OUTCOME_SUCCEEDED, .finished_ms = 1};
    struct lease returned = {.attempt = lease->attempt, .end = LEASE_RETURNED};
    memcpy(result.job, lease->job, sizeof result.job);
    memcpy(returned.job, lease->job, sizeof returned.job);
    memcpy(result.worker, lease->worker->id, sizeof result.worker);
    memcpy(returned.worker, lease->worker->id, sizeof returned.worker);
    unsigned way = pick(world, 8);
    if (way == 0)
        job_returned(world->scheduler, &returned);
    else if (way == 1)
        lease_begin_end(world->scheduler, lease, LEASE_LOST);
    else if (way == 2)
        lease_begin_end(world->scheduler, lease, LEASE_RELEASED);
    else
        result_seen(world->scheduler, &result);
}

static void cancel_or_pause_run(struct world *world)
{
    struct active_run *run = pick_run(world);
    if (run == NULL)
        return;
    if (pick(world, 6) > 0) {
        queue_set_paused(run, !run->is_paused);
        return;
    }
    struct run cancelled = {.started_ms = run->run.started_ms, .cancelled_ms = 1};
    memcpy(cancelled.id, run->run.id, sizeof cancelled.id);
    run_changed(world->scheduler, &cancelled);
}

static void change_worker(struct world *world)
{
    struct scheduler *scheduler = world->scheduler;
    struct known_worker *worker = pick_worker(world);
    if (worker == NULL)
        return;
    unsigned way = pick(world, 8);
    if (way == 0 && worker->polls == NULL && worker->held == 0) {
        worker_groups_leave(&scheduler->groups, worker);
        worker_table_remove(&scheduler->workers, worker);
    } else if (way == 1) {
        worker->is_paused = !worker->is_paused;
    } else if (way == 2 && worker->polls != NULL) {
        poll_answered(&scheduler->replicas, worker->polls, scheduler->now_ms);
    } else if (way == 3 && worker->is_alive) {
        worker_lost(scheduler, worker);
    } else {
        worker_note_seen(scheduler, worker, scheduler->now_ms, "r1");
        worker->quick_failures = 0;
        worker->paused_until_ms = 0;
        (void)replica_park(&scheduler->replicas, world->replica, worker, ++world->polls, false);
    }
}

static void tick(struct world *world)
{
    struct scheduler *scheduler = world->scheduler;
    scheduler->now_ms += 100 + pick(world, 4000);
    scheduler->date_ms = scheduler->now_ms * 2;
    lease_lifecycle_tick(scheduler);
    (void)queue_wake(&scheduler->queue, scheduler->now_ms);
    run_progress_tick(scheduler);
}

/* ---- What the rules want ---- */

static void complete_db_job(struct world *world, struct db_job *db_job)
{
    struct scheduler *scheduler = world->scheduler;
    db_job->code = pick(world, 5) > 0 || db_job->kind == DB_JOB_END_LEASE ? BW_OK : BW_UNAVAILABLE;
    if (db_job->kind == DB_JOB_END_LEASE) {
        db_job->lease.has_ended = true;
        lease_end_completed(scheduler, db_job);
    } else if (db_job->kind == DB_JOB_SAVE_RUN) {
        run_save_completed(scheduler, db_job);
    } else if (db_job->kind == DB_JOB_PLACE_RUN) {
        supersede_place_completed(scheduler, db_job);
    }
}

static void complete_lease(struct world *world, const struct lease_insert *insert)
{
    struct scheduler *scheduler = world->scheduler;
    world->handed_out++;
    dispatch_lease_completed(scheduler, insert, COMMIT_DONE);
    struct live_lease *lease = lease_table_find(&scheduler->leases, insert->lease.job);
    if (lease == NULL || lease->state != LEASE_DELIVERING)
        return;
    if (pick(world, 8) == 0) {
        lease_withdraw(scheduler, lease);
        lease_becomes_unconfirmed(scheduler, lease, 5000);
        return;
    }
    struct parked_poll *poll = replica_find_poll(world->replica, insert->poll);
    if (poll != NULL)
        poll_answered(&scheduler->replicas, poll, scheduler->now_ms);
    lease_is_delivered(scheduler, lease);
}

static void carry_out(struct world *world)
{
    struct command *command;
    while (pick(world, 10) > 0 &&
           (command = command_list_take(&world->scheduler->commands)) != NULL) {
        if (command->kind == COMMAND_INSERT_LEASE)
            complete_lease(world, &command->lease);
        else if (command->kind == COMMAND_INSERT_RESULT)
            run_result_completed(world->scheduler, &command->result, command->result.outcome,
                                 COMMIT_DONE);
        else if (command->kind == COMMAND_SUBMIT_DB_JOB)
            complete_db_job(world, command->db_job);
        command_free(command);
    }
    assert_false(world->scheduler->must_recover);
}

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
           !worker_is_paused(worker, scheduler->now_ms) && !course_is_full(run->course) &&
           (worker->concurrency == 0 || worker->held < (uint32_t)worker->concurrency) &&
           !returned_job_excludes(returned_jobs_find(run->returned, slot), worker->id,
                                  scheduler->now_ms) &&
           worker_group_allows(&scheduler->groups, &alone, run->run.protocol, run->run.course,
                               run->run.run_class, run->run.requires);
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
    static void (*const happens[])(struct world *) = {
        start_run,           end_lease,       end_lease,    end_lease,
        cancel_or_pause_run, register_worker, tick,         change_worker,
        change_worker,       change_worker,   change_worker};
    unsigned kind = pick(world, 120);
    if (kind == 0)
        complete_all(world);
    else
        happens[kind % (sizeof happens / sizeof *happens)](world);
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
    const struct scheduler_settings settings = {
        .heartbeat_ms = HEARTBEAT_MS, .job_timeout_ms = 30000, .max_attempts = 3};
    (void)state;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct world world = {.seed = seed};
        void *owned = world.scheduler = fake_scheduler_new(&settings, 1000000, 2000000);
        world.replica = replica_table_add(&world.scheduler->replicas, "r1", "http://r1:1");
        world.replica->in_contact = true;
        for (unsigned i = 0; i < STEPS; i++)
            step(&world);
        assert_true(world.handed_out > STEPS / 20);
        (void)fake_scheduler_free(&owned);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_grader_waits_and_all_counts_hold)};
    return cmocka_run_group_tests_name("sharing_random", tests, NULL, NULL);
}
