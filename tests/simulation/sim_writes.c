/*
 * What a scheduler's core has others carry out: group commits of leases and results, database jobs,
 * callbacks. A process that no longer trusts its lease begins nothing more (the fence); what is in
 * flight goes on.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "scheduler/io/retention.h"
#include "tests/simulation/fake_base.h"
#include "tests/simulation/sim_call.h"
#include "tests/simulation/sim_keys.h"
#include "tests/simulation/sim_return.h"

enum { TRY_MS = 60000, CONNECT_TIMEOUT_MS = 1000, TIMEOUT_MS = 3000 };

/* ---- Group commits ---- */

struct commit_call {
    struct sim_call call; /* first */
    int scheduler;
    struct sim_commits *commits;
    struct sim_commit *first;
};

static void commit_free(struct sim_commit *commit)
{
    free(commit->lease);
    free(commit->result);
    free(commit);
}

static void commit_list_free(struct sim_commit *first)
{
    while (first != NULL) {
        struct sim_commit *commit = first;
        first = commit->next;
        commit_free(commit);
    }
}

void sim_commits_clear(struct sim_commits *commits)
{
    commit_list_free(commits->first);
    *commits = (struct sim_commits){0};
}

static void commit_call_drop(struct task *task)
{
    struct commit_call *call = (struct commit_call *)task;
    commit_list_free(call->first);
    free(call);
}

static void commit_apply(struct world *world, struct sim_call *call)
{
    struct commit_call *batch = (struct commit_call *)call;
    for (struct sim_commit *commit = batch->first; commit != NULL; commit = commit->next) {
        if (call->is_partly && dice_chance(call->dice, 500))
            continue;
        commit->outcome = commit->lease != NULL
                              ? sim_lease_insert(world, &commit->lease->lease, commit->nonce)
                              : sim_result_insert(world, &commit->result->result, commit->nonce);
    }
}

/* Tells the core; what was passed to it is its own again. */
static void commit_complete(struct world *world, struct sim_commit *commit,
                            enum commit_outcome outcome)
{
    int run;
    uint32_t slot;
    if (commit->lease != NULL) {
        commit->lease->completed(commit->lease, outcome, NULL);
    } else {
        const struct sim_job *job = sim_job_find(world, commit->result->result.job, &run, &slot);
        commit->result->completed(commit->result, outcome,
                                  outcome == COMMIT_DUPLICATE ? job->result : NULL);
    }
    free(commit);
}

static void commit_send(struct world *world, int number, struct sim_commits *commits);

static void commit_answered(struct world *world, struct sim_call *call)
{
    struct commit_call *batch = (struct commit_call *)call;
    struct sim_commits *commits = batch->commits;
    int number = batch->scheduler;
    struct sim_commit *commit = batch->first, *following;
    bool is_over = world_has_fault(world, call->dice, FAULT_UNKNOWN_INSERT, 5);
    commits->is_in_flight = false;
    for (; commit != NULL; commit = following) {
        following = commit->next;
        commit->next = NULL;
        if (call->is_known && !is_over) {
            commit_complete(world, commit, commit->outcome);
        } else if (is_over || world->now_ms >= commit->expires_ms ||
                   !sim_scheduler_is_trusted(world, number)) {
            commit_complete(world, commit, COMMIT_UNKNOWN);
        } else { /* again, with the same nonce */
            commit->next = commits->first;
            commits->first = commit;
            if (commits->last == NULL)
                commits->last = commit;
        }
    }
    free(batch);
    commit_send(world, number, commits);
}

/* Sends all that waits. */
static void commit_send(struct world *world, int number, struct sim_commits *commits)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    if (commits->first == NULL || commits->is_in_flight)
        return;
    if (!sim_scheduler_is_trusted(world, number)) {
        struct sim_commit *commit = commits->first, *following;
        commits->first = commits->last = NULL;
        for (; commit != NULL; commit = following) {
            following = commit->next;
            commit_complete(world, commit, COMMIT_UNKNOWN);
        }
        return;
    }
    struct commit_call *batch = bw_alloc(sizeof *batch);
    batch->scheduler = number;
    batch->commits = commits;
    batch->first = commits->first;
    batch->call = (struct sim_call){.dice = &scheduler->dice,
                                    .incarnation = &scheduler->incarnation,
                                    .apply = commit_apply,
                                    .answered = commit_answered,
                                    .drop = commit_call_drop};
    commits->first = commits->last = NULL;
    commits->is_in_flight = true;
    sim_call_send(world, &batch->call);
}

void sim_commit_submit(struct world *world, int number, struct sim_commits *commits,
                       struct sim_commit *commit)
{
    commit->nonce = ++world->database.nonce;
    commit->expires_ms = world->now_ms + TRY_MS;
    if (commits->last == NULL)
        commits->first = commit;
    else
        commits->last->next = commit;
    commits->last = commit;
    commit_send(world, number, commits);
}

/* ---- Database jobs ---- */

struct db_job_call {
    struct sim_call call; /* first */
    int scheduler;
    struct db_job *db_job;
    struct event *results; /* that were found, and returns; the last first */
};

static void find_runs(struct world *world, struct db_job *db_job)
{
    db_job->found.runs = bw_alloc_array(RUNS, sizeof *db_job->found.runs);
    for (int i = 0; i < RUNS; i++) {
        const struct sim_run *run = &world->database.runs[i];
        if (!run->is_active)
            continue;
        sim_run_copy(&run->run, &db_job->found.runs[db_job->found.count++]);
    }
}

static void find_return(struct world *world, struct db_job_call *call, const char *job,
                        uint32_t attempt)
{
    struct event *event = sim_return_event(world, job, attempt, call->db_job->generation);
    if (event == NULL)
        return;
    event->next = call->results;
    call->results = event;
}

static void find_results(struct world *world, struct db_job_call *call)
{
    const struct db_job *db_job = call->db_job;
    for (size_t i = 0; i < db_job->wanted.count; i++) {
        int run;
        uint32_t slot;
        find_return(world, call, db_job->wanted.jobs[i], db_job->wanted.attempts[i]);
        const struct sim_job *job = sim_job_find(world, db_job->wanted.jobs[i], &run, &slot);
        if (job->result == NULL)
            continue;
        struct event *event = event_new(EVENT_RESULT, db_job->generation);
        event->result = *job->result;
        event->next = call->results;
        call->results = event;
    }
}

/* Signals are found by their dates, which the scheduler reads the database's first for. */
static void find_signals(struct world *world, int number, struct db_job *db_job)
{
    size_t room = 0;
    sim_scheduler_read_date(world, number);
    for (const struct sim_signal *signal = world->database.first_signal; signal != NULL;
         signal = signal->next) {
        if (signal->date_ms < sim_scheduler_date_ms(world, number) - db_job->found_signals.age_ms)
            continue;
        if (db_job->found_signals.count == room) {
            room = room * 2 + 16;
            db_job->found_signals.signals = bw_grow(db_job->found_signals.signals, room,
                                                    sizeof *db_job->found_signals.signals);
        }
        sim_signal_copy(&signal->signal,
                        &db_job->found_signals.signals[db_job->found_signals.count++]);
    }
}

static void read_worker(const struct world *world, struct db_job *db_job)
{
    int number = sim_worker_number(db_job->read.worker.id);
    if (number < 0 || !world->database.workers[number].exists)
        db_job->code = BW_NOT_FOUND;
    else
        db_job->read.worker = world->database.workers[number].worker;
}

/* The process is gone: what it looked at is, too. */
static bool retention_is_left(const struct world *world, const struct db_job_call *does)
{
    return does->call.is_left || world->schedulers[does->scheduler].retention == NULL;
}

static void remove_runs(struct world *world, struct db_job_call *does)
{
    struct db_job *db_job = does->db_job;
    struct bw_error unused;
    if (retention_is_left(world, does))
        return;
    const struct retention_age age = {.now_ms = db_job->removed.now_ms,
                                      .retain_ms = db_job->removed.retain_ms,
                                      .job_timeout_ms = db_job->removed.job_timeout_ms};
    fake_stores_at_once(true);
    db_job->code = retention_remove_runs(world->schedulers[does->scheduler].retention, &age,
                                         &db_job->removed.count, &unused);
    fake_stores_at_once(false);
}

static void remove_orphans(struct world *world, struct db_job_call *does)
{
    struct db_job *db_job = does->db_job;
    struct bw_error unused;
    if (retention_is_left(world, does))
        return;
    fake_stores_at_once(true);
    db_job->code = retention_remove_orphans(world->schedulers[does->scheduler].retention,
                                            &db_job->removed.count, &unused);
    fake_stores_at_once(false);
}

static void db_job_apply(struct world *world, struct sim_call *call)
{
    struct db_job_call *does = (struct db_job_call *)call;
    struct db_job *db_job = does->db_job;
    switch (db_job->kind) {
    case DB_JOB_END_LEASE:
        db_job->lease.has_ended = sim_lease_end(world, db_job->lease.job, db_job->lease.attempt,
                                                db_job->lease.term, db_job->lease.end);
        if (!db_job->lease.has_ended)
            find_return(world, does, db_job->lease.job, db_job->lease.attempt);
        break;
    case DB_JOB_SAVE_RUN:
        sim_run_advance(world, db_job->run.id, db_job->run.phase, db_job->run.ended_ms,
                        db_job->run.summary, db_job->run.summary_length, &db_job->run.breaker);
        break;
    case DB_JOB_PLACE_RUN:
        sim_run_place(world, db_job->placed.id, &db_job->placed.place);
        break;
    case DB_JOB_MARK_WORKERS:
        for (size_t i = 0; i < db_job->marks.count; i++)
            sim_worker_mark(world, &db_job->marks.list[i]);
        break;
    case DB_JOB_READ_WORKER:
        read_worker(world, db_job);
        break;
    case DB_JOB_FIND_RUNS:
        find_runs(world, db_job);
        break;
    case DB_JOB_FIND_RESULTS:
        find_results(world, does);
        break;
    case DB_JOB_FIND_SIGNALS:
        find_signals(world, does->scheduler, db_job);
        break;
    case DB_JOB_REMOVE_RUNS:
        remove_runs(world, does);
        break;
    case DB_JOB_REMOVE_ORPHANS:
        remove_orphans(world, does);
        break;
    case DB_JOB_READ_PAUSES:
        free(db_job->pauses.pauses);
        db_job->pauses.pauses = sim_pauses_copy(world, &db_job->pauses.count);
        break;
    case DB_JOB_INSERT_PAUSE:
        sim_pause_break(world, &db_job->pause);
        break;
    case DB_JOB_FORGET_PAUSES:
        sim_pause_forget(world, sim_run_number(db_job->pause.name));
        break;
    case DB_JOB_SAMPLE_CLOCK:
        sim_scheduler_read_date(world, does->scheduler);
        break;
    case DB_JOB_RECORD_EVENTS: /* receivers of webhooks are not simulated */
        break;
    default: /* dead workers are forgotten after a day, and who waits for graders is no promise */
        break;
    }
}

static void db_job_call_drop(struct task *task)
{
    struct db_job_call *call = (struct db_job_call *)task;
    while (call->results != NULL) {
        struct event *event = call->results;
        call->results = event->next;
        event_free(event);
    }
    db_job_free(call->db_job);
    free(call);
}

static void db_job_post(struct world *world, int number, struct db_job *db_job)
{
    struct event *event = event_new(EVENT_DB_JOB, db_job->generation);
    event->db_job = db_job;
    sim_scheduler_post(world, number, event);
}

/* What was done is not known, what was found is lost. */
static void db_job_fail(struct db_job *db_job)
{
    db_job->code = BW_UNAVAILABLE;
    if (db_job->kind == DB_JOB_END_LEASE)
        db_job->lease.has_ended = false;
    if (db_job->kind != DB_JOB_FIND_SIGNALS)
        return;
    for (size_t i = 0; i < db_job->found_signals.count; i++)
        signal_clear(&db_job->found_signals.signals[i]);
    db_job->found_signals.count = 0;
}

static void db_job_answered(struct world *world, struct sim_call *call)
{
    struct db_job_call *done = (struct db_job_call *)call;
    struct db_job *db_job = done->db_job;
    if (!call->is_known)
        db_job_fail(db_job);
    while (done->results != NULL && call->is_known) {
        struct event *event = done->results;
        done->results = event->next;
        sim_scheduler_post(world, done->scheduler, event);
    }
    db_job_post(world, done->scheduler, db_job);
    done->db_job = db_job_new(DB_JOB_SAMPLE_CLOCK, 0);
    db_job_call_drop(&call->task);
}

void sim_db_job_submit(struct world *world, int number, struct db_job *db_job)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    if (!sim_scheduler_is_trusted(world, number)) {
        db_job->code = BW_UNAVAILABLE;
        db_job_post(world, number, db_job);
        return;
    }
    struct db_job_call *call = bw_alloc(sizeof *call);
    call->scheduler = number;
    call->db_job = db_job;
    call->call = (struct sim_call){.dice = &scheduler->dice,
                                   .incarnation = &scheduler->incarnation,
                                   .apply = db_job_apply,
                                   .answered = db_job_answered,
                                   .drop = db_job_call_drop};
    sim_call_send(world, &call->call);
}

/* ---- Callbacks ---- */

struct callback_task {
    struct task task;
    int scheduler, replica;
    uint32_t incarnation, replica_incarnation;
    struct callback *callback; /* own; NULL: it timed out, but goes on */
    char *body;                /* own */
    bool is_reply_lost;
    int64_t sent_ms;
};

static void callback_drop(struct task *task)
{
    struct callback_task *sent = (struct callback_task *)task;
    if (sent->callback != NULL)
        callback_free(sent->callback);
    free(sent->body);
    free(sent);
}

static void callback_is_done(struct world *world, struct task *task)
{
    struct callback_task *sent = (struct callback_task *)task;
    struct sim_scheduler *scheduler = &world->schedulers[sent->scheduler];
    if (scheduler->incarnation == sent->incarnation) {
        struct event *event = event_new(EVENT_CALLBACK, sent->callback->generation);
        event->callback = sent->callback;
        sent->callback = NULL;
        sim_scheduler_post(world, sent->scheduler, event);
    }
    callback_drop(task);
}

/* It is not answered; the scheduler learns of that when its time is up. */
static void callback_times_out(struct world *world, struct callback_task *sent, int64_t most_ms)
{
    int64_t left_ms = sent->sent_ms + most_ms - world->now_ms;
    sent->callback->status = 0;
    world_later(world, left_ms > 0 ? left_ms : 0, &sent->task, callback_is_done);
}

/* The replica stands still: the request waits there, longer than the scheduler does. */
static void callback_arrives_late(struct world *world, struct task *task)
{
    struct callback_task *late = (struct callback_task *)task;
    char *reply = NULL;
    if (sim_replica_postpones(world, late->replica, task, callback_arrives_late))
        return;
    if (world->replicas[late->replica].incarnation == late->replica_incarnation)
        (void)sim_callback_handle(world, late->replica, late->body, &reply);
    free(reply);
    callback_drop(task);
}

static void callback_waits(struct world *world, struct callback_task *sent)
{
    struct callback_task *late = bw_alloc(sizeof *late);
    late->task.drop = callback_drop;
    late->replica = sent->replica;
    late->replica_incarnation = world->replicas[sent->replica].incarnation;
    late->body = bw_copy(sent->callback->body);
    world_later(world, world->replicas[sent->replica].stalled_ms - world->now_ms, &late->task,
                callback_arrives_late);
    callback_times_out(world, sent, TIMEOUT_MS);
}

static void callback_arrives(struct world *world, struct task *task)
{
    struct callback_task *sent = (struct callback_task *)task;
    struct sim_replica *replica = &world->replicas[sent->replica];
    struct callback *callback = sent->callback;
    if (!replica->is_up) {
        callback_times_out(world, sent, 0);
        return;
    }
    if (replica->is_cut_off) {
        callback_times_out(world, sent, CONNECT_TIMEOUT_MS);
        return;
    }
    if (world->now_ms < replica->stalled_ms) {
        callback_waits(world, sent);
        return;
    }
    callback->status = sim_callback_handle(world, sent->replica, callback->body, &callback->reply);
    callback->reply_length = strlen(callback->reply);
    if (sent->is_reply_lost) {
        callback_times_out(world, sent, TIMEOUT_MS);
        return;
    }
    world_later(world, dice_between(&replica->dice, 1, 3), task, callback_is_done);
}

void sim_callback_post(struct world *world, int number, struct callback *callback)
{
    struct sim_scheduler *scheduler = &world->schedulers[number];
    struct dice *dice = &scheduler->dice;
    struct callback_task *sent = bw_alloc(sizeof *sent);
    bool is_lost = world_has_fault(world, dice, FAULT_LOST_CALLBACK, 30);
    bool is_slow = world_has_fault(world, dice, FAULT_SLOW_CALLBACK, 60);
    int64_t slow_ms = dice_between(dice, 50, 2900), soon_ms = dice_between(dice, 1, 3);
    sent->task.drop = callback_drop;
    sent->scheduler = number;
    sent->incarnation = scheduler->incarnation;
    sent->callback = callback;
    sent->sent_ms = world->now_ms;
    sent->is_reply_lost = world_has_fault(world, dice, FAULT_LOST_REPLY, 30);
    sent->replica = -1;
    for (int i = 0; i < REPLICAS; i++)
        if (strcmp(world->replicas[i].self.id, callback->replica) == 0)
            sent->replica = i;
    if (is_lost || sent->replica < 0)
        callback_times_out(world, sent, TIMEOUT_MS);
    else
        world_later(world, is_slow ? slow_ms : soon_ms, &sent->task, callback_arrives);
}
