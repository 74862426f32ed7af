#include "scheduler/rules/pausing.h"

#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/sharing.h"
#include "scheduler/rules/webhooks.h"

enum {
    READ_PAUSE_MS = 200, /* after a read that has failed */
    LIST_LENGTH = 200    /* pauses in an answer */
};

const struct pause *pausing_of_run(const struct scheduler *scheduler, const struct active_run *run)
{
    return pause_table_of_run(&scheduler->pauses, &run->run, scheduler->date_ms);
}

const struct pause *pausing_of_worker(const struct scheduler *scheduler,
                                      const struct known_worker *worker)
{
    return pause_table_of(&scheduler->pauses, PAUSE_WORKER, worker->id, scheduler->date_ms);
}

json_t *pausing_worker_json(const struct scheduler *scheduler, const struct known_worker *worker)
{
    const struct pause *pause = pausing_of_worker(scheduler, worker);
    int64_t left_ms = worker->paused_until_ms - scheduler->now_ms;
    if (pause != NULL)
        return pause_json(pause);
    if (left_ms <= 0)
        return NULL;
    struct pause automatic = {.kind = PAUSE_WORKER, .is_automatic = true, .by = "scheduler"};
    snprintf(automatic.name, sizeof automatic.name, "%s", worker->id);
    snprintf(automatic.note, sizeof automatic.note,
             "it failed %u jobs in a row at once without any output, or returned them",
             worker->quick_failures);
    automatic.until_ms = scheduler->date_ms + left_ms;
    automatic.at_ms = automatic.until_ms - WORKER_PAUSE_MS;
    return pause_json(&automatic);
}

/* ---- The list ---- */

static bool pausing_concerns(const struct scheduler *scheduler, const struct pause *pause,
                             const char *course)
{
    size_t length = strlen(course);
    if (pause->kind == PAUSE_CLUSTER || course[0] == '\0')
        return true;
    if (pause->kind == PAUSE_COURSE)
        return strcmp(pause->name, course) == 0;
    if (pause->kind == PAUSE_ASSIGNMENT)
        return strncmp(pause->name, course, length) == 0 && pause->name[length] == '/';
    const struct active_run *run = pause->kind == PAUSE_RUN
                                       ? queue_find(&scheduler->queue, pause->name)
                                       : NULL;
    return run != NULL && strcmp(run->run.course, course) == 0;
}

json_t *pausing_list_json(const struct scheduler *scheduler, const char *course, int64_t offset)
{
    json_t *list = json_array(), *next = json_null();
    const struct known_pause *known, *following;
    int64_t number = 0;
    HASH_ITER (hh, scheduler->pauses.pauses, known, following) {
        if (!pause_is_in_force(&known->pause, scheduler->date_ms) ||
            !pausing_concerns(scheduler, &known->pause, course) || number++ < offset)
            continue;
        if (json_array_size(list) == LIST_LENGTH) {
            next = json_integer((json_int_t)number - 1);
            break;
        }
        json_array_append_new(list, pause_json(&known->pause));
    }
    return json_pack("{s:o,s:o}", "pauses", list, "next_offset", next);
}

/* ---- Runs ---- */

static bool pausing_holds(const struct scheduler *scheduler, const struct active_run *run)
{
    return pausing_of_run(scheduler, run) != NULL;
}

void pausing_take_run(struct scheduler *scheduler, struct active_run *run)
{
    sharing_take_run(scheduler, run);
    queue_set_paused(run, pausing_holds(scheduler, run));
    webhooks_check_pause(scheduler, run);
}

static void pausing_update_run(struct scheduler *scheduler, struct active_run *run)
{
    bool was_paused = run->is_paused;
    pausing_take_run(scheduler, run);
    if (was_paused != run->is_paused)
        log_info(run->is_paused ? "run is paused" : "run is resumed",
                 log_text("run_id", run->run.id));
}

void pausing_take_worker(const struct scheduler *scheduler, struct known_worker *worker)
{
    worker->is_paused = pausing_of_worker(scheduler, worker) != NULL;
}

/* Counts what holds now, and notes it at the workers: each hand-out asks for many of them. */
static void pausing_count(struct scheduler *scheduler)
{
    struct known_worker *worker, *following;
    pause_table_count(&scheduler->pauses, scheduler->date_ms);
    HASH_ITER (hh, scheduler->workers.workers, worker, following)
        pausing_take_worker(scheduler, worker);
}

/* The pauses have changed, or one has passed. */
static void pausing_apply(struct scheduler *scheduler)
{
    struct active_run *run, *following;
    pausing_count(scheduler);
    HASH_ITER (hh, scheduler->queue.runs, run, following)
        pausing_update_run(scheduler, run);
}

void pausing_recovered(struct scheduler *scheduler, const struct pause *pauses, size_t count)
{
    struct active_run *run, *following;
    pause_table_replace(&scheduler->pauses, pauses, count, ++scheduler->pauses.reads_begun);
    pausing_count(scheduler);
    HASH_ITER (hh, scheduler->queue.runs, run, following) {
        pausing_take_run(scheduler, run);
        pausing_check_breaker(scheduler, run); /* the former leader may have died before that */
    }
}

/* ---- Runs that have ended ---- */

static void pausing_forget(struct scheduler *scheduler, const char *run_id)
{
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_FORGET_PAUSES);
    db_job->pause.kind = PAUSE_RUN;
    snprintf(db_job->pause.name, sizeof db_job->pause.name, "%s", run_id);
    scheduler_submit(scheduler, db_job);
}

/* What was written since the last read is deleted by the next one (DB_JOB_READ_PAUSES). */
void pausing_forget_run(struct scheduler *scheduler, const struct active_run *run)
{
    if (pause_table_find(&scheduler->pauses, PAUSE_RUN, run->run.id, false) != NULL ||
        pause_table_find(&scheduler->pauses, PAUSE_RUN, run->run.id, true) != NULL)
        pausing_forget(scheduler, run->run.id);
}

/* ---- The breaker ---- */

static void pausing_insert(struct scheduler *scheduler, const struct pause *pause)
{
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_INSERT_PAUSE);
    db_job->pause = *pause;
    webhooks_take_pause(scheduler, queue_find(&scheduler->queue, pause->name), pause, db_job);
    scheduler_submit(scheduler, db_job);
}

static void pausing_break(struct scheduler *scheduler, struct active_run *run)
{
    const struct breaker *breaker = &run->run.breaker;
    struct pause pause = {
        .kind = PAUSE_RUN, .is_automatic = true, .by = "scheduler", .at_ms = scheduler->date_ms};
    snprintf(pause.name, sizeof pause.name, "%s", run->run.id);
    snprintf(pause.note, sizeof pause.note,
             "the first %u jobs of students failed in the same way: signature %s", breaker->limit,
             breaker->signature);
    log_warning("run paused by its breaker", log_text("run_id", run->run.id),
                log_text("signature", breaker->signature), log_number("jobs", breaker->limit));
    metric_add(scheduler->metrics, SCHEDULER_BREAKERS, 1);
    (void)pause_table_add(&scheduler->pauses, &pause);
    pausing_insert(scheduler, &pause);
    pause_table_count(&scheduler->pauses, scheduler->date_ms);
    pausing_take_run(scheduler, run);
}

/* The breaker of a run counts as over when its pause is stored. */
static void pausing_end_breaker(struct active_run *run)
{
    run->run.breaker.is_over = true;
    queue_set_dirty(run);
}

void pausing_check_breaker(struct scheduler *scheduler, struct active_run *run)
{
    const struct known_pause *known;
    if (!breaker_is_due(&run->run.breaker) || run->run.cancelled_ms != 0 ||
        run_phase_is_over(run->phase))
        return;
    known = pause_table_find(&scheduler->pauses, PAUSE_RUN, run->run.id, true);
    if (known == NULL)
        pausing_break(scheduler, run);
    else if (!known->is_inserting)
        pausing_end_breaker(run);
}

/* A pause that was resumed meanwhile is found by the next read, and counts. */
static void pausing_inserted(struct scheduler *scheduler, const struct db_job *db_job)
{
    struct pause_table *table = &scheduler->pauses;
    struct known_pause *known = pause_table_find(table, PAUSE_RUN, db_job->pause.name, true);
    struct active_run *run = queue_find(&scheduler->queue, db_job->pause.name);
    if (known == NULL || !known->is_inserting)
        return;
    known->has_failed = db_job->code != BW_OK;
    if (known->has_failed)
        return;
    known->is_inserting = false;
    known->kept_read = table->reads_begun;
    table->inserting--;
    if (run != NULL)
        pausing_end_breaker(run);
    else
        pausing_forget(scheduler, db_job->pause.name); /* it has ended meanwhile */
    (void)pausing_want(scheduler);
}

static void pausing_insert_again(struct scheduler *scheduler)
{
    struct known_pause *known, *following;
    if (scheduler->pauses.inserting == 0)
        return;
    HASH_ITER (hh, scheduler->pauses.pauses, known, following) {
        if (!known->has_failed)
            continue;
        known->has_failed = false;
        pausing_insert(scheduler, &known->pause);
    }
}

/* ---- Reads ---- */

int64_t pausing_want(struct scheduler *scheduler)
{
    scheduler->pauses.wanted = scheduler->pauses.reads_begun + 1;
    return scheduler->pauses.wanted;
}

void pausing_round(struct scheduler *scheduler)
{
    struct pause_table *table = &scheduler->pauses;
    if (table->is_reading || table->wanted <= table->read || scheduler->now_ms < table->retry_ms)
        return;
    table->is_reading = true;
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_READ_PAUSES);
    db_job->pauses.read = ++table->reads_begun;
    db_job->pauses.date_ms = scheduler->date_ms;
    scheduler_submit(scheduler, db_job);
}

static void pausing_read(struct scheduler *scheduler, struct db_job *db_job)
{
    struct pause_table *table = &scheduler->pauses;
    table->is_reading = false;
    if (db_job->code != BW_OK) {
        /* Who waits for this read is served by a later one. */
        table->wanted = table->reads_begun + 1;
        table->retry_ms = scheduler->now_ms + READ_PAUSE_MS;
        return;
    }
    pause_table_replace(table, db_job->pauses.pauses, db_job->pauses.count, db_job->pauses.read);
    sharing_take(scheduler, &db_job->pauses.scheduling);
    pausing_apply(scheduler);
}

void pausing_completed(struct scheduler *scheduler, struct db_job *db_job)
{
    if (db_job->kind == DB_JOB_READ_PAUSES)
        pausing_read(scheduler, db_job);
    else
        pausing_inserted(scheduler, db_job);
}

static bool pausing_is_inserting(const struct live_lease *lease)
{
    return lease->state == LEASE_INSERTING && (lease->run->is_paused || lease->worker->is_paused);
}

bool pausing_is_complete(const struct scheduler *scheduler, int64_t read)
{
    const struct live_lease *lease, *following;
    if (scheduler->pauses.read < read)
        return false;
    HASH_ITER (hh, scheduler->leases.leases, lease, following)
        if (pausing_is_inserting(lease))
            return false;
    return true;
}

/* ---- Time ---- */

void pausing_tick(struct scheduler *scheduler)
{
    const struct pause_table *table = &scheduler->pauses;
    pausing_insert_again(scheduler);
    if (scheduler->date_ms >= table->next_ms || scheduler->date_ms < table->counted_ms)
        pausing_apply(scheduler);
}
