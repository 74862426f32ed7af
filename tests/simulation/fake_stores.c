/*
 * What production code of scheduler/core links against in the simulator instead of the stores and
 * of scheduler/io. A read takes time, and the world goes on meanwhile: so whoever recovers is
 * overtaken by everything that could overtake it in the real one. A process that crashes in between
 * gets nothing but failures from then on.
 */
#include "tests/simulation/fake_base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "scheduler/io/retention.h"
#include "tests/simulation/sim_call.h"
#include "tests/simulation/sim_keys.h"

/* Opaque to production code. */
struct lease_store {
    int scheduler;
};

/* Every store of a scheduler is a pointer to its number. */
static struct lease_store store_numbers[SCHEDULERS];

void fake_stores_give(struct world *world, int number)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    struct core *core = &scheduler->core;
    void *store = &store_numbers[number];
    store_numbers[number].scheduler = number;
    core->database = &scheduler->database;
    core->inbox = &scheduler->inbox;
    core->metrics = fake_base_metrics();
    core->runs = store;
    core->lease_store = store;
    core->results = store;
    core->worker_store = store;
    core->replica_store = store;
    core->signals = store;
    core->leader_store = store;
    core->pause_store = store;
    core->scheduling_store = store;
    core->leadership = store;
    core->db_jobs = store;
    core->callbacks = store;
}

struct retention *fake_stores_retention(int number)
{
    void *store = &store_numbers[number];
    store_numbers[number].scheduler = number;
    return retention_new(&(struct retention_stores){store, store, store, store, store, store, store,
                                                    store, store, store});
}

static int store_scheduler(const void *store)
{
    return ((const struct lease_store *)store)->scheduler;
}

static bool is_instant;

void fake_stores_at_once(bool is_at_once)
{
    is_instant = is_at_once;
}

/* Lets an operation's time pass. BW_UNAVAILABLE: it fails, or its process is gone. */
static enum bw_code store_wait(int number, struct bw_error *error)
{
    struct world *world = fake_base_world();
    struct sim_scheduler *scheduler = &world->schedulers[number];
    uint32_t incarnation = scheduler->incarnation;
    int64_t until_ms = world->now_ms + sim_call_latency(world, &scheduler->dice);
    bool is_lost = world_has_fault(world, &scheduler->dice, FAULT_LOST_CALL, 20);
    if (is_instant)
        return is_lost ? bw_fail(error, BW_UNAVAILABLE, "the database did not answer") : BW_OK;
    if (scheduler->is_up)
        world_wait(world, until_ms);
    while (scheduler->is_up && world->now_ms < scheduler->stalled_ms &&
           world->now_ms < world->end_ms && !checker_has_failed(&world->checker))
        world_wait(world, scheduler->stalled_ms);
    if (!scheduler->is_up || scheduler->incarnation != incarnation || world->database.is_down ||
        is_lost || checker_has_failed(&world->checker) || world->now_ms >= world->end_ms)
        return bw_fail(error, BW_UNAVAILABLE, "the database is not reachable");
    return BW_OK;
}

enum bw_code fake_stores_wait(const void *store, struct bw_error *error)
{
    return store_wait(store_scheduler(store), error);
}

/* ---- common/db ---- */

enum bw_code database_ping(struct database *database, struct bw_error *error)
{
    enum bw_code code = store_wait(database->scheduler, error);
    if (code == BW_OK)
        sim_scheduler_read_date(fake_base_world(), database->scheduler);
    return code;
}

int64_t database_now_ms(const struct database *database)
{
    return sim_scheduler_date_ms(fake_base_world(), database->scheduler);
}

/* ---- common/store ---- */

const char *lease_end_name(enum lease_end end)
{
    static const char *const names[] = {"",         "lost",    "expired", "undeliverable",
                                        "released", "returned"};
    return names[end];
}

void lease_store_insert(struct lease_store *store, struct lease_commit *lease, int64_t try_ms)
{
    struct world *world = fake_base_world();
    int number = store_scheduler(store);
    struct sim_commit *commit = bw_alloc(sizeof *commit);
    (void)try_ms;
    commit->lease = lease;
    sim_commit_submit(world, number, &world->schedulers[number].leases, commit);
}

enum bw_code lease_store_read(struct lease_store *store, const char (*jobs)[JOB_ID_SIZE],
                              size_t count, uint32_t first, uint32_t window,
                              void (*each)(const struct lease *lease, void *context), void *context,
                              struct bw_error *error)
{
    struct world *world = fake_base_world();
    int number = store_scheduler(store);
    enum bw_code code = store_wait(number, error);
    for (size_t i = 0; code == BW_OK && i < count; i++) {
        int run;
        uint32_t slot;
        const struct sim_job *job = sim_job_find(world, jobs[i], &run, &slot);
        for (uint32_t attempt = first; job != NULL && attempt < first + window; attempt++) {
            const struct sim_attempt *found = sim_attempt_find(job, attempt);
            if (found == NULL)
                continue;
            check_lease_known(world, number, run, slot, &found->lease);
            each(&found->lease, context);
        }
    }
    return code;
}

enum bw_code lease_store_stamp(struct lease_store *store, const struct lease *leases, size_t count,
                               int64_t term, struct bw_error *error)
{
    struct world *world = fake_base_world();
    size_t matched = 0;
    enum bw_code code = store_wait(store_scheduler(store), error);
    if (code != BW_OK)
        return code;
    for (size_t i = 0; i < count; i++) {
        int run;
        uint32_t slot;
        const struct sim_job *job = sim_job_find(world, leases[i].job, &run, &slot);
        struct sim_attempt *found = sim_attempt_find(job, leases[i].attempt);
        if (found == NULL || found->lease.end != LEASE_LIVE)
            continue;
        check_stamp(world, run, slot, &found->lease, term);
        found->lease.term = term;
        matched++;
    }
    if (matched < count)
        return bw_fail(error, BW_CONFLICT, "leases have ended that were live a moment ago");
    return BW_OK;
}

void result_store_insert(struct result_store *store, struct result_commit *result, int64_t try_ms)
{
    struct world *world = fake_base_world();
    int number = store_scheduler(store);
    struct sim_commit *commit = bw_alloc(sizeof *commit);
    (void)try_ms;
    commit->result = result;
    sim_commit_submit(world, number, &world->schedulers[number].results, commit);
}

enum bw_code result_store_read(struct result_store *store, const char (*jobs)[JOB_ID_SIZE],
                               size_t count, bool with_text,
                               void (*each)(const struct result *result, void *context),
                               void *context, struct bw_error *error)
{
    struct world *world = fake_base_world();
    int number = store_scheduler(store);
    (void)with_text;
    enum bw_code code = count == 0 ? BW_OK : store_wait(number, error);
    for (size_t i = 0; code == BW_OK && i < count; i++) {
        int run;
        uint32_t slot;
        const struct sim_job *job = sim_job_find(world, jobs[i], &run, &slot);
        if (job == NULL || job->result == NULL)
            continue;
        if (!is_instant) /* what is removed is not told to the rules */
            check_result_known(world, number, run, slot);
        each(job->result, context);
    }
    return code;
}

enum bw_code run_store_read_active(struct run_store *store, bool with_summary, struct run **runs,
                                   size_t *count, struct bw_error *error)
{
    struct world *world = fake_base_world();
    int number = store_scheduler(store);
    enum bw_code code = store_wait(number, error);
    *runs = bw_alloc_array(RUNS, sizeof **runs);
    *count = 0;
    for (int i = 0; code == BW_OK && i < RUNS; i++) {
        const struct sim_run *run = &world->database.runs[i];
        if (!run->is_active)
            continue;
        struct run *copy = &(*runs)[(*count)++];
        sim_run_copy(&run->run, copy);
        if (with_summary && run->run.summary != NULL) {
            copy->summary = bw_alloc(run->run.summary_length + 1);
            memcpy(copy->summary, run->run.summary, run->run.summary_length);
        }
        copy->summary_length = copy->summary != NULL ? run->run.summary_length : 0;
        check_run_known(world, number, i);
    }
    return code;
}

enum bw_code worker_store_each(struct worker_store *store,
                               void (*each)(const struct worker *worker, void *context),
                               void *context, struct bw_error *error)
{
    struct world *world = fake_base_world();
    enum bw_code code = store_wait(store_scheduler(store), error);
    for (int i = 0; code == BW_OK && i < world->database.worker_count; i++)
        if (world->database.workers[i].exists)
            each(&world->database.workers[i].worker, context);
    return code;
}

enum bw_code pause_store_read(struct pause_store *store, struct pause **pauses, size_t *count,
                              struct bw_error *error)
{
    enum bw_code code = store_wait(store_scheduler(store), error);
    *pauses = code == BW_OK ? sim_pauses_copy(fake_base_world(), count) : NULL;
    return code;
}

enum bw_code scheduling_store_read(struct scheduling_store *store, struct scheduling *scheduling,
                                   struct bw_error *error)
{
    enum bw_code code = store_wait(store_scheduler(store), error);
    *scheduling = (struct scheduling){0};
    return code;
}

enum bw_code replica_store_each(struct replica_store *store,
                                void (*each)(const struct replica *replica, void *context),
                                void *context, struct bw_error *error)
{
    struct world *world = fake_base_world();
    enum bw_code code = store_wait(store_scheduler(store), error);
    for (int i = 0; code == BW_OK && i < REPLICAS; i++)
        if (world->database.replicas[i].id[0] != '\0')
            each(&world->database.replicas[i], context);
    return code;
}

int64_t signal_poll_checksum(int64_t poll)
{
    return (int64_t)(((uint64_t)poll * 0x9E3779B97F4A7C15u) >> 1);
}

enum bw_code leader_store_mark(struct leader_store *store, const char *holder, int64_t term,
                               int64_t mark, struct bw_error *error)
{
    struct world *world = fake_base_world();
    const struct leader *leader = &world->database.leader;
    enum bw_code code = store_wait(store_scheduler(store), error);
    if (code == BW_OK && (leader->term != term || strcmp(leader->holder, holder) != 0))
        code = bw_fail(error, BW_UNAVAILABLE, "somebody else leads");
    if (code == BW_OK)
        sim_leader_mark(world, mark);
    return code;
}

/* ---- scheduler/io ---- */

enum bw_code change_stream_open(struct database *database, struct inbox *inbox, int64_t generation,
                                struct change_stream **change_stream, struct bw_error *error)
{
    struct world *world = fake_base_world();
    (void)inbox;
    enum bw_code code = store_wait(database->scheduler, error);
    if (code != BW_OK)
        return code;
    sim_stream_open(world, database->scheduler, generation);
    *change_stream = &world->schedulers[database->scheduler].stream;
    return BW_OK;
}

void change_stream_close(struct change_stream *change_stream)
{
    if (change_stream != NULL)
        sim_stream_close(fake_base_world(), change_stream->scheduler);
}

void inbox_post(struct inbox *inbox, struct event *event)
{
    sim_scheduler_post(fake_base_world(), inbox->scheduler, event);
}

struct event *inbox_take(struct inbox *inbox, int64_t until_ms)
{
    struct world *world = fake_base_world();
    const struct sim_scheduler *scheduler = &world->schedulers[inbox->scheduler];
    int64_t end_ms = until_ms - CLOCK_START_MS < world->end_ms ? until_ms - CLOCK_START_MS
                                                               : world->end_ms;
    while (inbox->first == NULL && scheduler->is_up && world->now_ms < end_ms &&
           !checker_has_failed(&world->checker))
        world_wait(world, world->now_ms + 2);
    struct event *events = inbox->first;
    inbox->first = inbox->last = NULL;
    if (events == NULL && (!scheduler->is_up || checker_has_failed(&world->checker) ||
                           world->now_ms >= world->end_ms))
        return event_new(EVENT_STOP, 0); /* whoever waits is to give up */
    return events;
}

void inbox_return(struct inbox *inbox, struct event *events)
{
    if (events == NULL)
        return;
    struct event *last = events;
    while (last->next != NULL)
        last = last->next;
    last->next = inbox->first;
    inbox->first = events;
    if (inbox->last == NULL)
        inbox->last = last;
}

void db_jobs_submit(struct db_jobs *db_jobs, struct db_job *db_job)
{
    sim_db_job_submit(fake_base_world(), store_scheduler(db_jobs), db_job);
}

void callbacks_post(struct callbacks *callbacks, struct callback *callback)
{
    sim_callback_post(fake_base_world(), store_scheduler(callbacks), callback);
}

void leadership_distrust(struct leadership *leadership)
{
    sim_scheduler_distrust(fake_base_world(), store_scheduler(leadership));
}
