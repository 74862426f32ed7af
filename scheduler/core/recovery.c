/*
 * recovery: the start-up path, and the only one. The stream is opened; the leader document is
 * marked and the stream followed until that write comes by, so that nothing lies between what is
 * read and what is followed; the active runs and their facts are read; every replica is asked for
 * its announcement.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/failpoint.h"
#include "common/base/log.h"
#include "scheduler/core/core.h"
#include "scheduler/metrics.h"
#include "scheduler/state/deadline.h"

enum {
    MARK_WAIT_MS = 10000,
    ANNOUNCEMENT_WAIT_MS = 2000,
    REPLICA_FRESH_MS = 6000,
    CHUNK = 512, /* jobs looked at together: more than a batch of leases */
    WINDOW = 4   /* further attempts looked at together */
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
    uint32_t first; /* slot of jobs[0] */
    uint32_t count;
    char (*jobs)[JOB_ID_SIZE];
    struct job_fact *facts;
    uint32_t found; /* leases in the chunk at hand */
};

static bool reader_slot(const struct run_reader *reader, const char *job_text, uint32_t *slot)
{
    struct job_id job;
    const struct run *run = &reader->run->run;
    return job_id_parse(job_text, &job) &&
           run_job_slot(run->has_pre, run->students, run->has_post, job.kind, job.index, slot);
}

static void recovery_take_result(const struct result *result, void *context)
{
    struct run_reader *reader = context;
    uint32_t slot;
    if (!reader_slot(reader, result->job, &slot) ||
        summary_outcome(reader->run->run.summary[slot]) != OUTCOME_NONE)
        return;
    run_note_result(reader->run, slot, result, result->attempts);
}

static void recovery_take_lease(const struct lease *lease, void *context)
{
    struct run_reader *reader = context;
    uint32_t slot;
    if (!reader_slot(reader, lease->job, &slot) || slot < reader->first ||
        slot - reader->first >= reader->count)
        return;
    struct job_fact *fact = &reader->facts[slot - reader->first];
    failed_attempts_add(&fact->failed_attempts, lease->end);
    reader->found++;
    if (lease->attempt <= fact->attempt)
        return;
    fact->attempt = lease->attempt;
    fact->last = *lease;
}

static void name_jobs(struct run_reader *reader, uint32_t first, uint32_t count)
{
    const struct run *run = &reader->run->run;
    reader->first = first;
    reader->count = count;
    for (uint32_t i = 0; i < count; i++) {
        enum job_kind kind;
        uint32_t index;
        run_slot_job(run->has_pre, run->students, first + i, &kind, &index);
        job_id_make(run->id, kind, index, reader->jobs[i]);
    }
}

/* Keeps the jobs among `count` whose attempts 1 to `last` are all there: they may have more. */
static uint32_t keep_longer(struct run_reader *reader, uint32_t count, uint32_t last)
{
    uint32_t kept = 0, slot;
    for (uint32_t i = 0; i < count; i++)
        if (reader_slot(reader, reader->jobs[i], &slot) &&
            reader->facts[slot - reader->first].attempt == last)
            memmove(reader->jobs[kept++], reader->jobs[i], JOB_ID_SIZE);
    return kept;
}

/* Of the first `count` jobs keeps those whose result is there but not how many attempts it took. */
static uint32_t keep_uncounted(struct run_reader *reader, uint32_t count)
{
    uint32_t kept = 0, slot;
    for (uint32_t i = 0; i < count; i++)
        if (reader_slot(reader, reader->jobs[i], &slot) &&
            summary_outcome(reader->run->run.summary[slot]) != OUTCOME_NONE &&
            summary_attempts(reader->run->run.summary[slot]) == 0)
            memmove(reader->jobs[kept++], reader->jobs[i], JOB_ID_SIZE);
    return kept;
}

/* A grader's result does not say how many attempts the job took; its leases do, those that were
 * released aside. */
static enum bw_code count_attempts(struct run_reader *reader, uint32_t count,
                                   struct bw_error *error)
{
    uint8_t *summary = reader->run->run.summary;
    memset(reader->facts, 0, CHUNK * sizeof *reader->facts);
    count = keep_uncounted(reader, count);
    for (uint32_t first = 1; count > 0; first += WINDOW) {
        enum bw_code code = lease_store_read(reader->core->lease_store,
                                             (const char(*)[JOB_ID_SIZE])reader->jobs, count, first,
                                             WINDOW, recovery_take_lease, reader, error);
        if (code != BW_OK)
            return code;
        count = keep_longer(reader, count, first + WINDOW - 1);
    }
    for (uint32_t i = 0; i < reader->count; i++) {
        const struct job_fact *fact = &reader->facts[i];
        uint8_t *job = &summary[reader->first + i];
        uint32_t live = fact->last.end == LEASE_LIVE ? 1 : 0;
        if (fact->attempt > 0)
            *job = summary_make(summary_outcome(*job),
                                failed_attempts_total(&fact->failed_attempts) + live);
    }
    return BW_OK;
}

/* The results that the summary does not know yet. Jobs of phases that have not begun have none. */
static enum bw_code recovery_read_results(struct run_reader *reader, uint32_t first, uint32_t end,
                                          struct bw_error *error)
{
    for (uint32_t from = first; from < end; from += CHUNK) {
        name_jobs(reader, from, end - from < CHUNK ? end - from : CHUNK);
        uint32_t wanted = 0;
        for (uint32_t i = 0; i < reader->count; i++)
            if (summary_outcome(reader->run->run.summary[from + i]) == OUTCOME_NONE)
                memmove(reader->jobs[wanted++], reader->jobs[i], JOB_ID_SIZE);
        enum bw_code code = result_store_read(reader->core->results,
                                              (const char(*)[JOB_ID_SIZE])reader->jobs, wanted,
                                              false, recovery_take_result, reader, error);
        if (code == BW_OK)
            code = count_attempts(reader, wanted, error);
        if (code != BW_OK)
            return code;
    }
    return BW_OK;
}

/* Attempts have no gaps: reads on while the last one seen has ended. */
static enum bw_code read_attempts(struct run_reader *reader, uint32_t at, struct bw_error *error)
{
    struct job_fact *fact = &reader->facts[at];
    uint32_t seen = 0;
    while (fact->attempt > seen && fact->last.end != LEASE_LIVE) {
        seen = fact->attempt;
        enum bw_code code = lease_store_read(reader->core->lease_store,
                                             (const char(*)[JOB_ID_SIZE]) & reader->jobs[at], 1,
                                             seen + 1, WINDOW, recovery_take_lease, reader, error);
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
    if (kept_deadlines_find(&core->kept_deadlines, job, lease->attempt, &deadline_ms))
        return deadline_ms;
    return core->now_ms +
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
    if (summary_outcome(run->run.summary[slot]) != OUTCOME_NONE)
        return;
    if (fact->attempt == 0 || fact->last.end != LEASE_LIVE) {
        if (fact->attempt > 0 || is_passed)
            job_try_again(core, run, slot, fact->attempt + 1, &fact->failed_attempts,
                          fact->last.worker);
        return;
    }
    struct known_worker *worker = worker_table_add(
        &core->workers, fact->last.worker, 0, true,
        core->now_ms); /* never deleted while it holds one */
    struct live_lease *lease = lease_table_add(&core->leases, run, slot, reader->jobs[at],
                                               fact->attempt, worker, LEASE_UNCONFIRMED);
    lease->failed_attempts = fact->failed_attempts;
    lease->leased_ms = core->now_ms;
    lease->hold_ms = core->now_ms + 2 * core->heartbeat_ms + ANNOUNCEMENT_WAIT_MS;
    lease->deadline_ms = recovery_deadline(core, reader->jobs[at], &fact->last);
}

/* One chunk of first attempts. *goes_on: there may be more behind it. */
static enum bw_code read_chunk(struct run_reader *reader, uint32_t from, uint32_t end,
                               bool *goes_on, struct bw_error *error)
{
    name_jobs(reader, from, end - from < CHUNK ? end - from : CHUNK);
    memset(reader->facts, 0, CHUNK * sizeof *reader->facts);
    reader->found = 0;
    enum bw_code code = lease_store_read(reader->core->lease_store,
                                         (const char(*)[JOB_ID_SIZE])reader->jobs, reader->count, 1,
                                         1, recovery_take_lease, reader, error);
    *goes_on = reader->found > 0;
    for (uint32_t i = 0; code == BW_OK && i < reader->count; i++)
        code = read_attempts(reader, i, error);
    return code;
}

/* The slot behind the last one of the chunk that was ever handed out or has a result. */
static uint32_t chunk_cursor(const struct run_reader *reader, uint32_t cursor)
{
    for (uint32_t i = 0; i < reader->count; i++)
        if (reader->facts[i].attempt > 0 ||
            summary_outcome(reader->run->run.summary[reader->first + i]) != OUTCOME_NONE)
            cursor = reader->first + i + 1;
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

/* Reads phase by phase: the results of one decide whether the next has begun. */
static enum bw_code recovery_read_run(struct run_reader *reader, struct bw_error *error)
{
    struct active_run *run = reader->run;
    uint32_t first, end;
    enum run_phase phase = RUN_CREATED;
    while (run_current_phase(run) != phase) {
        phase = run_current_phase(run);
        run_phase_slots(run, phase, &first, &end);
        enum bw_code code = recovery_read_results(reader, first, end, error);
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
        run->students_cancelled += outcome == OUTCOME_CANCELLED;
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
        run->is_dirty = true;
    return code;
}

static enum bw_code enter_runs(struct core *core, struct bw_error *error)
{
    struct run_reader reader = {.core = core};
    struct active_run *run, *following;
    reader.jobs = malloc(CHUNK * sizeof *reader.jobs);
    reader.facts = malloc(CHUNK * sizeof *reader.facts);
    if (reader.jobs == NULL || reader.facts == NULL)
        abort();
    enum bw_code code = recovery_probe_find(core, error);
    HASH_ITER (hh, core->queue.runs, run, following)
        if (code == BW_OK)
            code = enter_run(&reader, run, error);
    free(reader.jobs);
    free(reader.facts);
    return code;
}

static enum bw_code read_runs(struct core *core, struct bw_error *error)
{
    struct run *runs = NULL;
    size_t count = 0;
    enum bw_code code = run_store_read_active(core->runs, true, &runs, &count, error);
    for (size_t i = 0; code == BW_OK && i < count; i++)
        count_summary(queue_add(&core->queue, &runs[i]));
    for (size_t i = 0; i < count; i++)
        run_clear(&runs[i]);
    free(runs);
    return code == BW_OK ? enter_runs(core, error) : code;
}

/* Live leases are this term's from now on. One that was ended by another leader since it was read
 * makes all of it to be read again. */
static enum bw_code stamp_leases(struct core *core, struct bw_error *error)
{
    size_t count = 0;
    struct lease *stamped = calloc(HASH_COUNT(core->leases.leases) + 1, sizeof *stamped);
    const struct live_lease *lease, *following;
    if (stamped == NULL)
        abort();
    HASH_ITER (hh, core->leases.leases, lease, following) {
        snprintf(stamped[count].job, sizeof stamped[count].job, "%s", lease->job);
        stamped[count++].attempt = lease->attempt;
    }
    enum bw_code code = lease_store_stamp(core->lease_store, stamped, count, core->term, error);
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
    struct known_worker *known = worker_table_add(&core->workers, worker->id, worker->concurrency,
                                                  worker->is_alive, core->now_ms - silent_ms);
    worker_describe(known, worker);
}

static void take_replica(const struct replica *replica, void *context)
{
    struct core *core = context;
    if (database_now_ms(core->database) - replica->last_seen_ms > REPLICA_FRESH_MS)
        return;
    struct known_replica *known = replica_table_add(&core->replicas, replica->id, replica->url);
    snprintf(known->process, sizeof known->process, "%s", replica->process);
    known->heard_ms = core->now_ms;
    known->wants_announcement = true;
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
            bool is_mark = event->kind == EVENT_MARK && event->generation == core->generation &&
                           event->mark == mark;
            bool is_end = event->kind == EVENT_STOP || event->kind == EVENT_DEPOSED ||
                          (event->kind == EVENT_STREAM_LOST &&
                           event->generation == core->generation);
            if (is_end) {
                event->next = events;
                inbox_return(core->inbox, event);
                return bw_fail(error, BW_UNAVAILABLE, "the stream ended before recovery was done");
            }
            core_discard(event);
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
    int64_t mark = (core->term << 20) + core->generation; /* no other recovery has this one */
    enum bw_code code = change_stream_open(core->database, core->inbox, core->generation,
                                           &core->change_stream, error);
    if (code == BW_OK)
        code = leader_store_mark(core->leader_store, core->holder, core->term, mark, error);
    if (code == BW_OK)
        code = follow_to_mark(core, mark, error);
    return code;
}

/* The work that a run's facts ask for begins only once everything has been read. */
static void resume_runs(struct core *core)
{
    struct active_run *run, *following;
    HASH_ITER (hh, core->queue.runs, run, following)
        run_resume(core, run);
}

enum bw_code core_recover(struct core *core, struct bw_error *error)
{
    int64_t began_ms = clock_boot_ms();
    core->now_ms = began_ms;
    enum bw_code code = database_ping(core->database, error);
    if (code == BW_OK)
        code = reach_mark(core, error);
    if (code == BW_OK)
        code = worker_store_each(core->worker_store, recovery_take_worker, core, error);
    if (code == BW_OK)
        code = replica_store_each(core->replica_store, take_replica, core, error);
    if (code == BW_OK)
        code = read_runs(core, error);
    FAILPOINT("in_recovery");
    if (code == BW_OK)
        code = stamp_leases(core, error);
    if (code != BW_OK)
        return code;
    int64_t now_ms = clock_boot_ms();
    core->opens_ms = now_ms + ANNOUNCEMENT_WAIT_MS;
    worker_table_extend_deadlines(&core->workers, now_ms - began_ms, now_ms);
    resume_runs(core);
    kept_deadlines_clear(&core->kept_deadlines);
    metric_add(core->metrics, SCHEDULER_RECOVERIES, 1);
    log_info("recovered", log_number("term", core->term),
             log_number("runs", HASH_COUNT(core->queue.runs)),
             log_number("leases", HASH_COUNT(core->leases.leases)),
             log_number("workers", HASH_COUNT(core->workers.workers)),
             log_number("took_ms", now_ms - began_ms));
    return BW_OK;
}
