/*
 * A cluster for tests of the scheduler's rules in which runs, graders, pauses, settings and results
 * come at random; a seed decides everything.
 */
#ifndef TESTS_UNIT_RANDOM_WORLD_H
#define TESTS_UNIT_RANDOM_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

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

enum { WORKERS = 8, HEARTBEAT_MS = 10000 };

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

/* ---- The world ---- */

/* One thing happens; nothing is handed out yet. */
static void world_happens(struct world *world)
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
}

static void world_open(struct world *world, unsigned seed)
{
    const struct scheduler_settings settings = {
        .heartbeat_ms = HEARTBEAT_MS, .job_timeout_ms = 30000, .max_attempts = 3};
    *world = (struct world){.seed = seed};
    world->scheduler = fake_scheduler_new(&settings, 1000000, 2000000);
    world->replica = replica_table_add(&world->scheduler->replicas, "r1", "http://r1:1");
    world->replica->in_contact = true;
}

static void world_close(struct world *world)
{
    void *owned = world->scheduler;
    (void)fake_scheduler_free(&owned);
}

#endif
