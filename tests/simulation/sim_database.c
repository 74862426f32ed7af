#include "tests/simulation/sim_database.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "tests/simulation/sim_job_cancel.h"
#include "tests/simulation/sim_keys.h"
#include "tests/simulation/world.h"

enum { SIGNALS_KEPT_MS = 60000, NUMBER_DIGITS = 8 };

/* Each course has one. */
#define ASSIGNMENT "assignment"

/* ---- Ids ---- */

void sim_run_id(int run, char id[RUN_ID_SIZE])
{
    snprintf(id, RUN_ID_SIZE, "%024x", (unsigned)run + 1);
}

int sim_run_number(const char *id)
{
    long number = strtol(id + RUN_ID_LENGTH - NUMBER_DIGITS, NULL, 16);
    return number >= 1 && number <= RUNS ? (int)number - 1 : -1;
}

void sim_worker_id(int worker, enum protocol protocol, char id[WORKER_ID_SIZE])
{
    if (protocol == PROTOCOL_CLASSIC)
        snprintf(id, WORKER_ID_SIZE, "%032x", (unsigned)worker + 1);
    else
        snprintf(id, WORKER_ID_SIZE, "course-grader-%08x", (unsigned)worker + 1);
}

int sim_worker_number(const char *id)
{
    size_t length = strlen(id);
    if (length < NUMBER_DIGITS)
        return -1;
    long number = strtol(id + length - NUMBER_DIGITS, NULL, 16);
    return number >= 1 && number <= WORKERS_MOST ? (int)number - 1 : -1;
}

int sim_worker_grader(int worker)
{
    return worker / (WORKERS_MOST / GRADERS);
}

int sim_job_worker(const struct sim_job *job)
{
    for (uint32_t i = 0; i < job->attempt_room && job->result == NULL; i++)
        if (job->attempts[i].exists && job->attempts[i].lease.end == LEASE_LIVE)
            return sim_worker_number(job->attempts[i].lease.worker);
    return -1;
}

struct sim_job *sim_job_find(struct world *world, const char *id, int *run, uint32_t *slot)
{
    struct job_id job;
    if (!job_id_parse(id, &job))
        return NULL;
    *run = sim_run_number(job.run);
    if (*run < 0)
        return NULL;
    struct sim_run *found = &world->database.runs[*run];
    if (!run_job_slot(found->run.has_pre, found->run.students, found->run.has_post, job.kind,
                      job.index, slot))
        return NULL;
    return &found->jobs[*slot];
}

void sim_job_id(const struct world *world, int run, uint32_t slot, char id[JOB_ID_SIZE])
{
    const struct run *found = &world->database.runs[run].run;
    enum job_kind kind;
    uint32_t index;
    run_slot_job(found->has_pre, found->students, slot, &kind, &index);
    job_id_make(found->id, kind, index, id);
}

struct sim_attempt *sim_attempt_find(const struct sim_job *job, uint32_t attempt)
{
    if (attempt == 0 || attempt > job->attempt_room || !job->attempts[attempt - 1].exists)
        return NULL;
    return &job->attempts[attempt - 1];
}

/* ---- Changes ---- */

static void database_changed(struct world *world, struct change change)
{
    struct sim_database *database = &world->database;
    if (database->change_count == database->change_room) {
        database->change_room = database->change_room * 2 + 1024;
        database->changes = bw_grow(database->changes, database->change_room,
                                    sizeof *database->changes);
    }
    change.at_ms = world->now_ms;
    database->changes[database->change_count++] = change;
    for (int i = 0; i < SCHEDULERS; i++)
        sim_stream_wake(world, i);
}

/* ---- Leases and results ---- */

enum commit_outcome sim_lease_insert(struct world *world, const struct lease *lease, int64_t nonce)
{
    int run;
    uint32_t slot;
    struct sim_job *job = sim_job_find(world, lease->job, &run, &slot);
    struct sim_attempt *there = sim_attempt_find(job, lease->attempt);
    if (there != NULL)
        return there->nonce == nonce ? COMMIT_DONE : COMMIT_DUPLICATE;
    check_lease_insert(world, run, slot, lease);
    if (lease->attempt > job->attempt_room) {
        uint32_t room = lease->attempt + 4;
        job->attempts = bw_grow(job->attempts, room, sizeof *job->attempts);
        memset(job->attempts + job->attempt_room, 0,
               (room - job->attempt_room) * sizeof *job->attempts);
        job->attempt_room = room;
    }
    job->attempts[lease->attempt - 1] = (struct sim_attempt){
        .exists = true, .lease = *lease, .nonce = nonce, .inserted_ms = world->now_ms};
    world_note(
        world, ACTOR_DATABASE, 0, "lease inserted",
        (struct subject){run, (int)slot, (int)lease->attempt, sim_worker_number(lease->worker)},
        lease->term);
    race_happens(world, run, (int)slot, RACE_HAND_OUT);
    return COMMIT_DONE;
}

bool sim_lease_end(struct world *world, const char *job_id, uint32_t attempt, int64_t term,
                   enum lease_end end)
{
    int run;
    uint32_t slot;
    struct sim_job *job = sim_job_find(world, job_id, &run, &slot);
    struct sim_attempt *found = sim_attempt_find(job, attempt);
    if (found == NULL || found->lease.end != LEASE_LIVE || found->lease.term != term)
        return false;
    found->lease.end = end;
    found->ended_ms = world->now_ms;
    world_note_detail(
        world, ACTOR_DATABASE, 0, "lease ended",
        (struct subject){run, (int)slot, (int)attempt, sim_worker_number(found->lease.worker)},
        term, lease_end_name(end));
    if (job->result == NULL)
        race_happens(world, run, (int)slot, RACE_REQUEUE);
    return true;
}

void sim_lease_return(struct world *world, int run, uint32_t slot, uint32_t attempt)
{
    struct sim_attempt *found = sim_attempt_find(&world->database.runs[run].jobs[slot], attempt);
    if (found == NULL || found->lease.end != LEASE_LIVE)
        return;
    found->lease.end = LEASE_RETURNED;
    found->ended_ms = world->now_ms;
    snprintf(found->lease.reason, sizeof found->lease.reason, "attempt %u", attempt);
    world_note(
        world, ACTOR_DATABASE, 0, "lease returned",
        (struct subject){run, (int)slot, (int)attempt, sim_worker_number(found->lease.worker)},
        found->lease.term);
    database_changed(
        world,
        (struct change){.kind = CHANGE_RETURN, .run = run, .slot = slot, .attempt = attempt});
    if (world->database.runs[run].jobs[slot].result == NULL)
        race_happens(world, run, (int)slot, RACE_REQUEUE);
}

/* Results of the scheduler's own for a run that is cancelled are the end of that. */
static void race_result(struct world *world, int run, uint32_t slot, enum run_phase before)
{
    const struct sim_job *job = &world->database.runs[run].jobs[slot];
    if (job->result->outcome == OUTCOME_SUPERSEDED)
        race_happens(world, run, (int)slot, RACE_SUPERSEDE);
    else if (sim_job_is_cancelled(job))
        race_happens(world, run, (int)slot, RACE_JOB_CANCEL);
    else if (job->result->outcome != OUTCOME_CANCELLED)
        race_happens(world, run, (int)slot, RACE_RESULT);
    if (checker_phase(world, run) != before)
        race_happens(world, run, (int)slot, RACE_PHASE);
}

enum commit_outcome sim_result_insert(struct world *world, const struct result *result,
                                      int64_t nonce)
{
    int run;
    uint32_t slot;
    struct sim_job *job = sim_job_find(world, result->job, &run, &slot);
    if (job->result != NULL)
        sim_result_keep(world, job, result,
                        (struct subject){run, (int)slot, -1, sim_worker_number(result->worker)});
    if (job->result != NULL)
        return job->result_nonce == nonce ? COMMIT_DONE : COMMIT_DUPLICATE;
    check_result_insert(world, run, slot, result);
    enum run_phase before = checker_phase(world, run);
    job->result = bw_alloc(sizeof *job->result);
    *job->result = *result;
    job->result->finished_ms = world_date_ms(world);
    job->result_nonce = nonce;
    job->result_ms = world->now_ms;
    world_note_detail(world, ACTOR_DATABASE, 0, "result inserted",
                      (struct subject){run, (int)slot, -1, sim_worker_number(result->worker)}, 0,
                      outcome_name(result->outcome));
    database_changed(world, (struct change){.kind = CHANGE_RESULT, .run = run, .slot = slot});
    race_result(world, run, slot, before);
    return COMMIT_DONE;
}

/* ---- Runs ---- */

void sim_run_create(struct world *world, int number, bool is_partly)
{
    struct sim_run *run = &world->database.runs[number];
    if (run->is_created)
        return;
    if (!run->has_definition)
        run->defined_ms = world->now_ms;
    run->has_definition = true;
    if (is_partly)
        return;
    run->is_created = true;
    run->run.created_ms = world_date_ms(world);
}

void sim_run_start(struct world *world, int number)
{
    struct sim_run *run = &world->database.runs[number];
    int earlier = world->plan->runs[number].rerun_of;
    if (!run->is_created || run->run.started_ms != 0 || run->run.cancelled_ms != 0)
        return;
    struct run_facts facts = {.has_pre = run->run.has_pre,
                              .has_post = run->run.has_post,
                              .students = run->run.students,
                              .is_started = true};
    run->run.started_ms = world_date_ms(world);
    run->run.phase = run_phase(&facts);
    run->is_active = true;
    world_note(world, ACTOR_DATABASE, 0, "run started", (struct subject){number, -1, -1, -1},
               run->slots);
    database_changed(world, (struct change){.kind = CHANGE_RUN, .run = number});
    if (earlier < 0)
        return;
    race_happens(world, earlier, -1, RACE_RERUN);
    race_happens(world, number, -1, RACE_RERUN);
}

void sim_run_note_job_cancel(struct world *world, int number)
{
    world->database.runs[number].run.job_cancels++;
    database_changed(world, (struct change){.kind = CHANGE_RUN, .run = number});
}

void sim_run_cancel(struct world *world, int number)
{
    struct sim_run *run = &world->database.runs[number];
    if (!run->is_created || run->run.cancelled_ms != 0 || run->run.finished_ms != 0)
        return;
    run->run.cancelled_ms = world_date_ms(world);
    world_note(world, ACTOR_DATABASE, 0, "run to be cancelled",
               (struct subject){number, -1, -1, -1}, 0);
    if (run->run.started_ms == 0) {
        run->run.phase = RUN_CANCELLED;
        run->run.finished_ms = run->run.cancelled_ms;
        run->recorded_ms = world->now_ms;
    }
    database_changed(world, (struct change){.kind = CHANGE_RUN, .run = number});
    race_happens(world, number, -1, RACE_CANCEL);
}

void sim_run_advance(struct world *world, const char *id, enum run_phase phase, int64_t ended_ms,
                     const uint8_t *summary, uint32_t length, const struct breaker *breaker)
{
    int number = sim_run_number(id);
    struct sim_run *run = &world->database.runs[number];
    if (run->is_hidden)
        return;
    check_run_advance(world, number, phase, summary, length);
    if (run->run.finished_ms != 0)
        return;
    run->run.summary = bw_grow(run->run.summary, length + 1, 1);
    memcpy(run->run.summary, summary, length);
    run->run.summary_length = length;
    run->run.breaker = *breaker;
    run->run.phase = phase;
    world_note_detail(world, ACTOR_DATABASE, 0, "run recorded",
                      (struct subject){number, -1, -1, -1}, 0, run_phase_name(phase));
    if (!run_phase_is_over(phase))
        return;
    run->run.finished_ms = ended_ms != 0 ? ended_ms : world_date_ms(world);
    run->recorded_ms = world->now_ms;
    run->is_active = false;
}

void sim_run_place(struct world *world, const char *id, const struct run_place *place)
{
    world->database.runs[sim_run_number(id)].run.place = *place;
}

/* ---- Workers ---- */

bool sim_worker_insert(struct world *world, const struct worker *worker)
{
    int number = sim_worker_number(worker->id);
    struct sim_worker *there = &world->database.workers[number];
    if (there->exists)
        return false;
    *there = (struct sim_worker){.exists = true, .worker = *worker};
    there->worker.epoch = 1;
    there->worker.is_alive = true;
    there->worker.registered_ms = there->worker.last_seen_ms = world_date_ms(world);
    there->registered_ms = world->now_ms;
    if (number >= world->database.worker_count)
        world->database.worker_count = number + 1;
    world_note(world, ACTOR_DATABASE, 0, "worker registered", (struct subject){-1, -1, -1, number},
               1);
    database_changed(world, (struct change){.kind = CHANGE_WORKER, .worker = number});
    return true;
}

bool sim_worker_renew(struct world *world, const struct worker *worker, int64_t former_epoch)
{
    int number = sim_worker_number(worker->id);
    struct sim_worker *there = &world->database.workers[number];
    if (!there->exists || there->worker.epoch != former_epoch)
        return false;
    int64_t processed = there->worker.jobs_processed;
    there->worker = *worker;
    there->worker.epoch = former_epoch + 1;
    there->worker.jobs_processed = processed;
    there->worker.is_alive = true;
    there->worker.registered_ms = there->worker.last_seen_ms = world_date_ms(world);
    there->registered_ms = world->now_ms;
    world_note(world, ACTOR_DATABASE, 0, "worker registered again",
               (struct subject){-1, -1, -1, number}, there->worker.epoch);
    database_changed(world, (struct change){.kind = CHANGE_WORKER, .worker = number});
    return true;
}

void sim_worker_mark(struct world *world, const struct worker_mark *mark)
{
    struct sim_worker *there = &world->database.workers[sim_worker_number(mark->id)];
    if (!there->exists || there->worker.epoch != mark->epoch || there->mark_term > mark->term)
        return;
    there->mark_term = mark->term;
    there->worker.is_alive = mark->is_alive;
    there->worker.jobs_processed = mark->jobs_processed;
    there->worker.beats_at_work = there->worker.beats_at_work || mark->beats_at_work;
    there->worker.last_seen_ms = mark->last_seen_ms;
}

/* ---- Signals ---- */

static void *copy_list(const void *list, size_t count, size_t size)
{
    void *copy = bw_alloc_array(count + 1, size);
    if (count > 0)
        memcpy(copy, list, count * size);
    return copy;
}

void sim_signal_copy(const struct signal *from, struct signal *to)
{
    *to = *from;
    to->polls = copy_list(from->polls, from->poll_count, sizeof *from->polls);
    to->gone = copy_list(from->gone, from->gone_count, sizeof *from->gone);
    to->seen = copy_list(from->seen, from->seen_count, sizeof *from->seen);
    to->deliveries = copy_list(from->deliveries, from->delivery_count, sizeof *from->deliveries);
    to->queries = copy_list(from->queries, from->query_count, sizeof *from->queries);
    to->watches = copy_list(from->watches, from->watch_count, sizeof *from->watches);
    to->unwatched = copy_list(from->unwatched, from->unwatched_count, sizeof *from->unwatched);
}

/* No stream reads a change that is older. */
static void forget_signals(struct world *world)
{
    struct sim_database *database = &world->database;
    while (database->first_signal != NULL &&
           database->first_signal->at_ms < world->now_ms - SIGNALS_KEPT_MS) {
        struct sim_signal *old = database->first_signal;
        database->first_signal = old->next;
        signal_clear(&old->signal);
        free(old);
    }
    if (database->first_signal == NULL)
        database->last_signal = NULL;
}

void sim_signal_insert(struct world *world, struct signal *signal)
{
    struct sim_database *database = &world->database;
    forget_signals(world);
    struct sim_signal *added = bw_alloc(sizeof *added);
    added->signal = *signal;
    added->at_ms = world->now_ms;
    added->date_ms = world_date_ms(world);
    if (database->last_signal == NULL)
        database->first_signal = added;
    else
        database->last_signal->next = added;
    database->last_signal = added;
    check_signal(world, &added->signal);
    database_changed(world, (struct change){.kind = CHANGE_SIGNAL, .signal = added});
}

/* ---- The leader's document ---- */

/* ---- Pauses ---- */

static void pause_name(const struct world *world, int target, struct pause *pause)
{
    int course = target >= TARGET_ASSIGNMENT ? target - TARGET_ASSIGNMENT : target - TARGET_COURSE;
    char name[WORKER_ID_SIZE];
    snprintf(name, sizeof name, "course-%d", course + 1);
    pause->kind = PAUSE_CLUSTER;
    if (target < RUNS) {
        pause->kind = PAUSE_RUN;
        sim_run_id(target, pause->name);
    } else if (target >= TARGET_GRADER) {
        int worker = world->graders[target - TARGET_GRADER].worker;
        pause->kind = PAUSE_WORKER;
        snprintf(pause->name, sizeof pause->name, "%s", world->database.workers[worker].worker.id);
    } else if (target >= TARGET_ASSIGNMENT) {
        pause->kind = PAUSE_ASSIGNMENT;
        pause_assignment_name(name, ASSIGNMENT, pause->name);
    } else if (target >= TARGET_COURSE) {
        pause->kind = PAUSE_COURSE;
        snprintf(pause->name, sizeof pause->name, "%s", name);
    }
}

/* Does the target of the pause have to do with the run? */
static bool pause_concerns(const struct world *world, int target, int number)
{
    const struct sim_run *run = &world->database.runs[number];
    int course = world->plan->runs[number].course;
    bool concerns = target == number || target == TARGET_CLUSTER ||
                    (course > 0 && (target == TARGET_COURSE + course - 1 ||
                                    target == TARGET_ASSIGNMENT + course - 1));
    for (uint32_t slot = 0; slot < run->slots && target >= TARGET_GRADER && !concerns; slot++)
        concerns = sim_job_worker(&run->jobs[slot]) ==
                   world->graders[target - TARGET_GRADER].worker;
    return concerns;
}

static struct subject pause_subject(const struct world *world, int target)
{
    bool is_grader = target >= TARGET_GRADER;
    return (struct subject){target < RUNS ? target : -1, -1, -1,
                            is_grader ? world->graders[target - TARGET_GRADER].worker : -1};
}

void sim_pause_put(struct world *world, int target, int64_t timeout_ms, bool is_drain)
{
    struct sim_pause *stored = &world->database.pauses[target];
    struct pause *pause = &stored->pause;
    memset(pause, 0, sizeof *pause);
    pause_name(world, target, pause);
    pause->is_drain = is_drain;
    pause->at_ms = world_date_ms(world);
    pause->until_ms = timeout_ms > 0 ? pause->at_ms + timeout_ms : 0;
    stored->exists = true;
    stored->put_ms = world->now_ms;
    world_note_detail(world, ACTOR_DATABASE, 0, "paused", pause_subject(world, target), timeout_ms,
                      pause_kind_name(pause->kind));
    for (int run = 0; run < RUNS; run++)
        if (world->database.runs[run].is_active && pause_concerns(world, target, run))
            race_happens(world, run, -1, RACE_PAUSE);
}

void sim_pause_break(struct world *world, const struct pause *pause)
{
    int run = sim_run_number(pause->name);
    struct sim_pause *stored = &world->database.breaks[run];
    if (stored->exists)
        return;
    *stored = (struct sim_pause){.exists = true, .pause = *pause, .put_ms = world->now_ms};
    world_note(world, ACTOR_DATABASE, 0, "paused by its breaker", (struct subject){run, -1, -1, -1},
               0);
    check_break(world, run);
    race_happens(world, run, -1, RACE_PAUSE);
}

/* A run's automatic pause stays, as resumed. */
static void sim_pause_end_break(struct world *world, int run)
{
    struct sim_pause *stored = &world->database.breaks[run];
    struct pause *pause = &stored->pause;
    pause->kind = PAUSE_RUN;
    pause->is_automatic = true;
    sim_run_id(run, pause->name);
    pause->resumed_ms = world_date_ms(world);
    stored->exists = true;
    stored->ended_ms = world->now_ms;
}

void sim_pause_end(struct world *world, int target)
{
    world->database.pauses[target].exists = false;
    world->database.pauses[target].ended_ms = world->now_ms;
    if (target < RUNS)
        sim_pause_end_break(world, target);
    world_note_detail(world, ACTOR_DATABASE, 0, "resumed", pause_subject(world, target), 0,
                      pause_kind_name(world->database.pauses[target].pause.kind));
}

void sim_pause_forget(struct world *world, int run)
{
    world->database.breaks[run].exists = false;
    world->database.pauses[run].exists = false;
}

struct pause *sim_pauses_copy(const struct world *world, size_t *count)
{
    size_t room = 1;
    for (int i = 0; i < PAUSE_TARGETS; i++)
        room += world->database.pauses[i].exists;
    for (int i = 0; i < RUNS; i++)
        room += world->database.breaks[i].exists;
    struct pause *copy = bw_alloc_array(room, sizeof *copy);
    *count = 0;
    for (int i = 0; i < PAUSE_TARGETS; i++)
        if (world->database.pauses[i].exists)
            copy[(*count)++] = world->database.pauses[i].pause;
    for (int i = 0; i < RUNS; i++)
        if (world->database.breaks[i].exists)
            copy[(*count)++] = world->database.breaks[i].pause;
    return copy;
}

bool sim_leader_take(struct world *world, const char *holder, int64_t lease_ms,
                     const struct leader *seen)
{
    struct leader *leader = &world->database.leader;
    if (leader->term != seen->term || leader->renewals != seen->renewals ||
        strcmp(leader->holder, seen->holder) != 0 || leader->is_released != seen->is_released)
        return false;
    snprintf(leader->holder, sizeof leader->holder, "%s", holder);
    leader->term++;
    leader->renewals = 0;
    leader->lease_ms = lease_ms;
    leader->is_released = false;
    return true;
}

bool sim_leader_renew(struct world *world, const char *holder, int64_t term)
{
    struct leader *leader = &world->database.leader;
    if (leader->term != term || strcmp(leader->holder, holder) != 0)
        return false;
    leader->renewals++;
    return true;
}

void sim_leader_mark(struct world *world, int64_t mark)
{
    world->database.leader.mark = mark;
    database_changed(world, (struct change){.kind = CHANGE_MARK, .mark = mark});
}

/* ---- All ---- */

static void run_init(struct world *world, int number)
{
    const struct planned_run *plan = &world->plan->runs[number];
    struct sim_run *run = &world->database.runs[number];
    sim_run_id(number, run->run.id);
    run->run.protocol = plan->course > 0 ? PROTOCOL_COURSE : PROTOCOL_CLASSIC;
    if (plan->course > 0) {
        snprintf(run->run.course, sizeof run->run.course, "course-%d", plan->course);
        snprintf(run->run.assignment, sizeof run->run.assignment, ASSIGNMENT);
    }
    run->run.has_pre = plan->has_pre;
    run->run.has_post = plan->has_post;
    run->run.students = plan->students;
    run->run.priority = plan->priority;
    run->run.max_attempts = plan->max_attempts;
    run->run.breaker.limit = plan->breaker;
    if (plan->rerun_of >= 0)
        sim_run_id(plan->rerun_of, run->run.rerun_of);
    for (int kind = JOB_PRE; kind <= JOB_POST; kind++) {
        run->run.has_stages[kind] = plan->has_stages[kind];
        run->run.timeout_ms[kind] = plan->is_untimed ? 0 : plan->timeout_ms;
        run->run.untimed_stages[kind] = plan->is_untimed ? 1 : 0;
    }
    sim_keys_give(plan, &run->run);
    run->slots = run_job_count(plan->has_pre, plan->students, plan->has_post);
    run->jobs = bw_alloc_array(run->slots, sizeof *run->jobs);
}

void sim_database_init(struct world *world)
{
    struct sim_database *database = &world->database;
    database->workers = bw_alloc_array(WORKERS_MOST, sizeof *database->workers);
    database->leader.is_released = true;
    snprintf(database->leader.holder, sizeof database->leader.holder, "nobody");
    for (int i = 0; i < RUNS; i++)
        run_init(world, i);
}

void sim_database_destroy(struct world *world)
{
    struct sim_database *database = &world->database;
    for (int i = 0; i < RUNS; i++) {
        struct sim_run *run = &database->runs[i];
        for (uint32_t slot = 0; slot < run->slots; slot++) {
            free(run->jobs[slot].result);
            free(run->jobs[slot].attempts);
        }
        free(run->jobs);
        free(run->run.summary);
        free(run->run.keys);
    }
    while (database->first_signal != NULL) {
        struct sim_signal *signal = database->first_signal;
        database->first_signal = signal->next;
        signal_clear(&signal->signal);
        free(signal);
    }
    free(database->workers);
    free(database->changes);
}
