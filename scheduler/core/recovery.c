/*
 * recovery: the start-up path, and the only one. The stream is opened; the leader document is
 * marked and the stream followed until that write comes by, so that nothing lies between what is
 * read and what is followed; the active runs and their facts are read; every replica is asked for
 * its full resync.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "common/store/job_leases.h"
#include "common/store/job_results.h"
#include "common/store/run_jobs.h"
#include "scheduler/core/core.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/pausing.h"
#include "scheduler/rules/sharing.h"
#include "scheduler/rules/retry.h"
#include "scheduler/rules/run_progress.h"
#include "scheduler/rules/supersede.h"
#include "scheduler/state/deadline.h"

enum {
    MARK_WAIT_MS = 10000,
    RESYNC_WAIT_MS = 2000,
    REPLICA_FRESH_MS = 6000,
    CHUNK = 2 * JOB_LEASES_CHUNK /* jobs looked at together */
};

/* What the database says of one job of a run in its current phase. */
struct job_fact {
    uint32_t attempt; /* the last one there is; 0: none */
    struct failed_attempts failed_attempts;
    struct lease last;
};

struct run_reader {
    struct core *core;
    struct active_run *run;
    uint32_t first; /* slot of facts[0] */
    uint32_t count;
    struct job_fact *facts;
};

/* Begins with the next CHUNK slots from `from` on, or with those before `end`. */
static void recovery_begin_chunk(struct run_reader *reader, uint32_t from, uint32_t end)
{
    reader->first = from;
    reader->count = end - from < CHUNK ? end - from : CHUNK;
    memset(reader->facts, 0, CHUNK * sizeof *reader->facts);
}

static enum job_outcome recovery_outcome(const struct run_reader *reader, uint32_t slot)
{
    return summary_outcome(reader->run->run.summary[slot]);
}

static void recovery_take_result(uint32_t slot, const struct result *result, void *context)
{
    struct run_reader *reader = context;
    if (recovery_outcome(reader, slot) == OUTCOME_NONE)
        run_note_result(reader->run, slot, result, result->attempts);
}

static void recovery_take_lease(uint32_t slot, const struct lease *lease, void *context)
{
    struct run_reader *reader = context;
    struct job_fact *fact = &reader->facts[slot - reader->first];
    failed_attempts_add(&fact->failed_attempts, lease->end);
    if (lease->end == LEASE_RETURNED && recovery_outcome(reader, slot) == OUTCOME_NONE)
        returned_jobs_note(&reader->run->returned, slot, lease, reader->core->scheduler.now_ms);
    if (lease->attempt <= fact->attempt)
        return;
    fact->attempt = lease->attempt;
    fact->last = *lease;
}

static struct job_leases recovery_leases(struct run_reader *reader)
{
    return (struct job_leases){.store = reader->core->lease_store,
                               .run = &reader->run->run,
                               .take = recovery_take_lease,
                               .context = reader};
}

/* Keeps the slots of jobs whose result is there but not how many attempts it took. */
static void recovery_keep_uncounted(const struct run_reader *reader, struct slot_list *slots)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < slots->count; i++)
        if (recovery_outcome(reader, slots->items[i]) != OUTCOME_NONE &&
            summary_attempts(reader->run->run.summary[slots->items[i]]) == 0)
            slots->items[kept++] = slots->items[i];
    slots->count = kept;
}

/* A grader's result does not say how many attempts the job took; its leases do, those that were
 * released aside. Uses `slots` up. */
static enum bw_code count_attempts(struct run_reader *reader, struct slot_list *slots,
                                   struct bw_error *error)
{
    const struct job_leases leases = recovery_leases(reader);
    recovery_keep_uncounted(reader, slots);
    enum bw_code code = job_leases_read_on(&leases, slots, 1, error);
    if (code != BW_OK)
        return code;
    for (uint32_t i = 0; i < reader->count; i++) {
        const struct job_fact *fact = &reader->facts[i];
        const struct run *run = &reader->run->run;
        uint8_t *job = &run->summary[reader->first + i];
        enum job_kind kind;
        uint32_t index;
        run_slot_job(run->has_pre, run->students, reader->first + i, &kind, &index);
        uint32_t live = fact->last.end == LEASE_LIVE ? 1 : 0;
        if (fact->attempt > 0)
            *job = summary_make(summary_outcome(*job),
                                failed_attempts_total(&fact->failed_attempts) + live,
                                summary_owner(*job, kind), kind);
    }
    return BW_OK;
}

/* The results that the summary does not know yet. Jobs of phases that have not begun have none. */
static enum bw_code recovery_read_results(struct run_reader *reader, uint32_t first, uint32_t end,
                                          struct bw_error *error)
{
    const struct job_results results = {.store = reader->core->results,
                                        .run = &reader->run->run,
                                        .take = recovery_take_result,
                                        .context = reader};
    for (uint32_t from = first; from < end; from += CHUNK) {
        uint32_t items[CHUNK];
        struct slot_list slots = {items, 0};
        recovery_begin_chunk(reader, from, end);
        for (uint32_t slot = from; slot < from + reader->count; slot++)
            if (recovery_outcome(reader, slot) == OUTCOME_NONE)
                items[slots.count++] = slot;
        enum bw_code code = job_results_read(&results, &slots, error);
        if (code == BW_OK)
            code = count_attempts(reader, &slots, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

/* When the lease's job must be done, clock_boot_ms: as this process knew it, else by its dates. */
static int64_t recovery_deadline(const struct core *core, const char *job,
                                 const struct lease *lease)
{
    int64_t deadline_ms;
    if (kept_deadlines_find(&core->scheduler.kept_deadlines, job, lease->attempt, &deadline_ms))
        return deadline_ms;
    return clock_boot_ms() +
           deadline_time_left(lease->deadline_ms, lease->limit_ms, database_now_ms(core->database));
}

/* Enters a job into the tables as its leases say. `is_passed`: later jobs were handed out already.
 */
static void enter_job(struct run_reader *reader, uint32_t at, bool is_passed)
{
    struct core *core = reader->core;
    struct active_run *run = reader->run;
    const struct job_fact *fact = &reader->facts[at];
    uint32_t slot = reader->first + at;
    char job[JOB_ID_SIZE];
    if (recovery_outcome(reader, slot) != OUTCOME_NONE)
        return;
    if (fact->attempt == 0 || fact->last.end != LEASE_LIVE) {
        if (fact->attempt > 0 || is_passed)
            job_retry(&core->scheduler, run, slot, fact->attempt + 1, &fact->failed_attempts,
                      fact->last.worker);
        return;
    }
    struct known_worker *worker = worker_table_add(
        &core->scheduler.workers, fact->last.worker, 0, true,
        core->scheduler.now_ms); /* never deleted while it holds one */
    struct live_lease *lease = lease_table_add(&core->scheduler.leases, run, slot,
                                               run_slot_job_id(&run->run, slot, job), fact->attempt,
                                               worker, LEASE_UNCONFIRMED);
    lease->failed_attempts = fact->failed_attempts;
    lease->leased_ms = lease->charged_from_ms = core->scheduler.now_ms;
    lease->leased_at_ms = fact->last.leased_ms;
    lease->hold_ms = core->scheduler.now_ms + 2 * core->scheduler.settings.heartbeat_ms +
                     RESYNC_WAIT_MS;
    lease->deadline_ms = recovery_deadline(core, job, &fact->last);
}

/* The leases of one chunk's jobs that have no result: jobs that were cancelled were perhaps never
 * handed out, and would be a gap between those that were. *goes_on: there may be more behind it. */
static enum bw_code read_chunk(struct run_reader *reader, uint32_t from, uint32_t end,
                               bool *goes_on, struct bw_error *error)
{
    const struct job_leases leases = recovery_leases(reader);
    uint32_t items[CHUNK], ended = 0;
    recovery_begin_chunk(reader, from, end);
    struct slot_list slots = {items, 0};
    for (uint32_t slot = from; slot < from + reader->count; slot++)
        if (recovery_outcome(reader, slot) == OUTCOME_NONE)
            items[slots.count++] = slot;
    bool are_all_open = slots.count == reader->count;
    enum bw_code code = job_leases_read_first(&leases, &slots, error);
    if (code != BW_OK)
        return code;
    *goes_on = slots.count > 0 || !are_all_open;
    for (uint32_t i = 0; i < slots.count; i++)
        if (reader->facts[items[i] - from].last.end != LEASE_LIVE)
            items[ended++] = items[i];
    slots.count = ended;
    return job_leases_read_on(&leases, &slots, 2, error);
}

/* The slot behind the last one of the chunk that was ever handed out, as its lease or its result
 * says. A job that was cancelled may lie far behind those. */
static uint32_t chunk_cursor(const struct run_reader *reader, uint32_t cursor)
{
    for (uint32_t i = 0; i < reader->count; i++) {
        enum job_outcome outcome = recovery_outcome(reader, reader->first + i);
        if (reader->facts[i].attempt > 0 || outcome == OUTCOME_SUCCEEDED ||
            outcome == OUTCOME_FAILED)
            cursor = reader->first + i + 1;
    }
    return cursor;
}

/* The leases of the phase's jobs: the first attempts in order, up to the first chunk without any.
 */
static enum bw_code recovery_read_leases(struct run_reader *reader, uint32_t first, uint32_t end,
                                         struct bw_error *error)
{
    uint32_t cursor = first;
    bool goes_on = true;
    for (uint32_t from = first; goes_on && from < end; from += CHUNK) {
        enum bw_code code = read_chunk(reader, from, end, &goes_on, error);
        if (code != BW_OK)
            return code;
        uint32_t after = chunk_cursor(reader, cursor);
        for (uint32_t i = 0; i < reader->count; i++)
            enter_job(reader, i, reader->first + i < after);
        cursor = after > cursor ? after : cursor;
    }
    queue_open_slots(reader->run, cursor, end);
    return BW_OK;
}

static void open_recovery_probe(struct active_run *run)
{
    uint32_t first, end;
    run->phase = run_current_phase(run);
    run_phase_slots(run, run->phase, &first, &end);
    queue_open_slots(run, first, end);
}

/* Reads phase by phase: the results of one decide whether the next has begun. Only jobs that were
 * cancelled alone have results before their phase has begun. */
static enum bw_code recovery_read_run(struct run_reader *reader, struct bw_error *error)
{
    struct active_run *run = reader->run;
    uint32_t first, end;
    enum run_phase phase = RUN_CREATED;
    enum bw_code code = BW_OK;
    if (run_has_lone_ends(&run->run))
        code = recovery_read_results(reader, 0, run->slots, error);
    if (code != BW_OK)
        return code;
    while (run_current_phase(run) != phase) {
        phase = run_current_phase(run);
        run_phase_slots(run, phase, &first, &end);
        code = recovery_read_results(reader, first, end, error);
        if (code != BW_OK)
            return code;
    }
    run->phase = phase;
    if (run_phase_is_over(phase))
        return BW_OK;
    if (!run->run.has_stages[run_phase_kind(phase)]) {
        run->own_next = first;
        run->own_end = end;
        return BW_OK;
    }
    return recovery_read_leases(reader, first, end, error);
}

/* What the summary knows counts as seen. */
static void count_summary(struct active_run *run)
{
    uint32_t first, end;
    run_phase_slots(run, RUN_STUDENTS, &first, &end);
    for (uint32_t slot = first; slot < end; slot++) {
        enum job_outcome outcome = summary_outcome(run->run.summary[slot]);
        run->students_done += outcome != OUTCOME_NONE;
        run->students_cancelled += run_cancelled_job(
            outcome, summary_owner(run->run.summary[slot], JOB_STUDENT));
        run->students_superseded += outcome == OUTCOME_SUPERSEDED;
    }
}

static enum bw_code enter_run(struct run_reader *reader, struct active_run *run,
                              struct bw_error *error)
{
    enum bw_code code = BW_OK;
    reader->run = run;
    if (run->has_no_leases)
        open_recovery_probe(run);
    else
        code = recovery_read_run(reader, error);
    if (code == BW_OK && run->phase != run->run.phase)
        queue_set_dirty(run);
    return code;
}

/* Enters a superseded result. Others are read with their runs, which need their leases as well. */
static void recovery_take_superseded(const struct result *result, void *context)
{
    struct core *core = context;
    struct job_id job;
    uint32_t slot;
    struct active_run *run = job_id_parse(result->job, &job)
                                 ? queue_find(&core->scheduler.queue, job.run)
                                 : NULL;
    if (result->outcome != OUTCOME_SUPERSEDED || run == NULL ||
        !run_job_id_slot(&run->run, result->job, &slot) ||
        summary_outcome(run->run.summary[slot]) != OUTCOME_NONE)
        return;
    run_note_result(run, slot, result, result->attempts);
}

/* Jobs whose results are read together. */
struct job_batch {
    struct core *core;
    char (*jobs)[JOB_ID_SIZE]; /* CHUNK */
    size_t count;
};

static enum bw_code job_batch_read(struct job_batch *batch, struct bw_error *error)
{
    enum bw_code code = result_store_read(batch->core->results,
                                          (const char(*)[JOB_ID_SIZE])batch->jobs, batch->count,
                                          false, recovery_take_superseded, batch->core, error);
    batch->count = 0;
    return code;
}

static enum bw_code job_batch_add_run(struct job_batch *batch, const struct active_run *run,
                                      struct bw_error *error)
{
    enum bw_code code = BW_OK;
    for (uint32_t slot = 0; slot < run->slots && code == BW_OK; slot++) {
        if (summary_outcome(run->run.summary[slot]) != OUTCOME_NONE)
            continue;
        run_slot_job_id(&run->run, slot, batch->jobs[batch->count++]);
        if (batch->count == CHUNK)
            code = job_batch_read(batch, error);
    }
    return code;
}

/* The superseded jobs of all runs with keys, many runs in one query: such runs are many, small, and
 * mostly untouched, and recovery_probe reads nothing of them. */
static enum bw_code read_superseded(struct core *core, struct bw_error *error)
{
    struct job_batch batch = {core, bw_alloc_array(CHUNK, sizeof *batch.jobs), 0};
    const struct active_run *run, *following;
    enum bw_code code = BW_OK;
    HASH_ITER (hh, core->scheduler.queue.runs, run, following)
        if (code == BW_OK && run->run.has_keys)
            code = job_batch_add_run(&batch, run, error);
    if (code == BW_OK)
        code = job_batch_read(&batch, error);
    free(batch.jobs);
    return code;
}

static enum bw_code enter_runs(struct core *core, struct bw_error *error)
{
    struct run_reader reader = {.core = core};
    struct active_run *run, *following;
    reader.facts = bw_alloc_array(CHUNK, sizeof *reader.facts);
    enum bw_code code = read_superseded(core, error);
    if (code == BW_OK)
        code = recovery_probe_find(core, error);
    HASH_ITER (hh, core->scheduler.queue.runs, run, following)
        if (code == BW_OK)
            code = enter_run(&reader, run, error);
    free(reader.facts);
    return code;
}

static enum bw_code read_runs(struct core *core, struct bw_error *error)
{
    struct run *runs = NULL;
    size_t count = 0;
    enum bw_code code = run_store_read_active(core->runs, true, &runs, &count, error);
    for (size_t i = 0; code == BW_OK && i < count; i++)
        count_summary(queue_add(&core->scheduler.queue, &runs[i]));
    for (size_t i = 0; i < count; i++)
        run_clear(&runs[i]);
    free(runs);
    return code == BW_OK ? enter_runs(core, error) : code;
}

static enum bw_code read_pauses(struct core *core, struct bw_error *error)
{
    struct pause *pauses = NULL;
    size_t count = 0;
    struct scheduling scheduling = {0};
    enum bw_code code = pause_store_read(core->pause_store, &pauses, &count, error);
    if (code == BW_OK)
        code = scheduling_store_read(core->scheduling_store, &scheduling, error);
    if (code == BW_OK) {
        pausing_recovered(&core->scheduler, pauses, count);
        sharing_take(&core->scheduler, &scheduling);
    }
    free(pauses);
    return code;
}

/* Live leases are this term's from now on. One that was ended by another leader since it was read
 * makes all of it to be read again. */
static enum bw_code stamp_leases(struct core *core, struct bw_error *error)
{
    size_t count = 0;
    struct lease *stamped = bw_alloc_array(HASH_COUNT(core->scheduler.leases.leases),
                                           sizeof *stamped);
    const struct live_lease *lease, *following;
    HASH_ITER (hh, core->scheduler.leases.leases, lease, following) {
        snprintf(stamped[count].job, sizeof stamped[count].job, "%s", lease->job);
        stamped[count++].attempt = lease->attempt;
    }
    enum bw_code code = lease_store_stamp(core->lease_store, stamped, count, core->scheduler.term,
                                          error);
    free(stamped);
    return code;
}

static void recovery_take_worker(const struct worker *worker, void *context)
{
    struct core *core = context;
    int64_t silent_ms = worker->is_alive ? 0
                                         : database_now_ms(core->database) - worker->last_seen_ms;
    if (silent_ms < 0)
        silent_ms = 0; /* the clock was set back */
    struct known_worker *known = worker_table_add(&core->scheduler.workers, worker->id,
                                                  worker->concurrency, worker->is_alive,
                                                  core->scheduler.now_ms - silent_ms);
    worker_describe(known, worker);
    sharing_take_worker(&core->scheduler, known);
}

static void take_replica(const struct replica *replica, void *context)
{
    struct core *core = context;
    if (database_now_ms(core->database) - replica->last_seen_ms > REPLICA_FRESH_MS)
        return;
    struct known_replica *known = replica_table_add(&core->scheduler.replicas, replica->id,
                                                    replica->url);
    snprintf(known->process, sizeof known->process, "%s", replica->process);
    known->seen_ms = core->scheduler.now_ms;
    known->wants_resync = true;
}

/* Drops events up to the mark; keeps what comes behind it for the loop. */
static enum bw_code follow_to_mark(struct core *core, int64_t mark, struct bw_error *error)
{
    int64_t until_ms = clock_boot_ms() + MARK_WAIT_MS;
    while (clock_boot_ms() < until_ms) {
        struct event *events = inbox_take(core->inbox, until_ms);
        for (struct event *event = events; event != NULL; event = events) {
            events = event->next;
            event->next = NULL;
            bool is_mark = event->kind == EVENT_MARK &&
                           event->generation == core->scheduler.generation && event->mark == mark;
            bool is_end = event->kind == EVENT_STOP || event->kind == EVENT_DEPOSED ||
                          (event->kind == EVENT_STREAM_LOST &&
                           event->generation == core->scheduler.generation);
            if (is_end) {
                event->next = events;
                inbox_return(core->inbox, event);
                return bw_fail(error, BW_UNAVAILABLE, "the stream ended before recovery was done");
            }
            event_free(event);
            if (is_mark) {
                inbox_return(core->inbox, events);
                return BW_OK;
            }
        }
    }
    return bw_fail(error, BW_UNAVAILABLE, "the change stream did not bring the mark in time");
}

static enum bw_code reach_mark(struct core *core, struct bw_error *error)
{
    int64_t mark = (core->scheduler.term << 20) +
                   core->scheduler.generation; /* no other recovery has this one */
    enum bw_code code = change_stream_open(core->database, core->inbox, core->scheduler.generation,
                                           &core->change_stream, error);
    if (code == BW_OK)
        code = leader_store_mark(core->leader_store, core->scheduler.settings.holder,
                                 core->scheduler.term, mark, error);
    if (code == BW_OK)
        code = follow_to_mark(core, mark, error);
    return code;
}

/* The work that a run's facts ask for begins only once everything has been read. */
static void resume_runs(struct core *core)
{
    struct active_run *run, *following;
    supersede_recover(&core->scheduler);
    HASH_ITER (hh, core->scheduler.queue.runs, run, following)
        run_resume(&core->scheduler, run);
}

void core_reset(struct core *core)
{
    change_stream_close(core->change_stream);
    core->change_stream = NULL;
    scheduler_reset(&core->scheduler);
}

enum bw_code core_recover(struct core *core, struct bw_error *error)
{
    int64_t began_ms = clock_boot_ms();
    core->scheduler.now_ms = began_ms;
    enum bw_code code = database_ping(core->database, error);
    if (code == BW_OK)
        code = reach_mark(core, error);
    core->scheduler.date_ms = database_now_ms(core->database);
    if (code == BW_OK)
        code = worker_store_each(core->worker_store, recovery_take_worker, core, error);
    if (code == BW_OK)
        code = replica_store_each(core->replica_store, take_replica, core, error);
    if (code == BW_OK)
        code = read_runs(core, error);
    if (code == BW_OK)
        code = read_pauses(core, error);
    FAILPOINT("in_recovery");
    if (code == BW_OK)
        code = stamp_leases(core, error);
    if (code != BW_OK)
        return code;
    int64_t now_ms = clock_boot_ms();
    core->scheduler.opens_ms = now_ms + RESYNC_WAIT_MS;
    worker_table_extend_deadlines(&core->scheduler.workers, now_ms - began_ms, now_ms);
    resume_runs(core);
    kept_deadlines_clear(&core->scheduler.kept_deadlines);
    metric_add(core->metrics, SCHEDULER_RECOVERIES, 1);
    log_info("recovered", log_number("term", core->scheduler.term),
             log_number("runs", HASH_COUNT(core->scheduler.queue.runs)),
             log_number("leases", HASH_COUNT(core->scheduler.leases.leases)),
             log_number("workers", HASH_COUNT(core->scheduler.workers.workers)),
             log_number("took_ms", now_ms - began_ms));
    return BW_OK;
}
