#include "scheduler/rules/supersede.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/alloc.h"
#include "common/base/log.h"
#include "common/store/run_jobs.h"
#include "scheduler/metrics.h"
#include "scheduler/rules/retry.h"
#include "scheduler/state/supersede_table.h"

enum { INSERTS_AT_ONCE = 500 /* superseded results in flight at once, of one run */ };

/* True if `left` was started before `right`. */
static bool run_is_older(const struct run *left, const struct run *right)
{
    if (left->started_ms != right->started_ms)
        return left->started_ms < right->started_ms;
    return strcmp(left->id, right->id) < 0;
}

/* ---- What becomes of the older job ---- */

/* Whether a job that runs has had its share of the usual time. While that is unknown, the job
 * counts as just begun. */
static bool lease_had_share(const struct scheduler *scheduler, const struct live_lease *lease,
                            const struct run *newer)
{
    double usual_ms = usual_time_of(&scheduler->supersedes, &lease->run->run);
    double had_ms = (double)(scheduler->now_ms - lease->leased_ms);
    if (newer->supersede_share <= 0)
        return true;
    return usual_ms > 0 && had_ms >= newer->supersede_share * usual_ms;
}

/* Whether the job's grader has it and is not told to stop. */
static bool lease_goes_on(const struct scheduler *scheduler, const struct live_lease *lease,
                          const struct run *newer)
{
    if (lease->state != LEASE_DELIVERED && lease->state != LEASE_UNCONFIRMED)
        return false;
    return lease_had_share(scheduler, lease, newer);
}

static struct supersede *supersedes_add(struct supersedes *supersedes)
{
    if (supersedes->count == supersedes->room) {
        supersedes->room = supersedes->room * 2 + 4;
        supersedes->list = bw_grow(supersedes->list, supersedes->room, sizeof *supersedes->list);
    }
    struct supersede *added = &supersedes->list[supersedes->count++];
    *added = (struct supersede){.by_slot = 0};
    return added;
}

/* Withholds the job at `slot` of `older`, if it is still open. True: it waited for a grader. */
static bool supersede_job(struct scheduler *scheduler, struct active_run *older, uint32_t slot,
                          struct active_run *newer, uint32_t by_slot)
{
    if (queue_has_ended(older, slot) || older->run.cancelled_ms != 0 ||
        run_phase_is_over(older->phase))
        return false; /* it has its result, gets one, or never runs */
    struct supersede *added = supersedes_add(&newer->supersedes);
    queue_attend(newer);
    run_slot_job_id(&older->run, slot, added->job);
    added->by_slot = by_slot;
    const struct live_lease *lease = lease_table_find(&scheduler->leases, added->job);
    added->attempts = queue_withhold(older, slot);
    if (lease != NULL)
        added->attempts = failed_attempts_total(&lease->failed_attempts) + 1;
    if (lease != NULL && lease_goes_on(scheduler, lease, &newer->run))
        snprintf(added->holder, sizeof added->holder, "%s", lease->worker->id);
    log_info("job is superseded", log_text("job_id", added->job), log_text("by_run", newer->run.id),
             log_number("goes_on", added->holder[0] != '\0'));
    metric_add(scheduler->metrics, SCHEDULER_JOBS_SUPERSEDED, 1);
    return lease == NULL;
}

/* ---- The run's place ---- */

/* A run takes the place of the last job that it replaces, if each of its students replaces one that
 * waited. So nobody comes earlier than before. */
struct place_search {
    uint32_t waited; /* jobs that were replaced while they waited */
    const struct active_run *run;
    struct run_place place; /* the latest of theirs */
};

static void place_search_note(struct place_search *search, const struct active_run *older,
                              uint32_t slot)
{
    struct run_place place = queue_job_place(older, slot);
    bool is_later = place.started_ms > search->place.started_ms;
    if (place.started_ms == search->place.started_ms)
        is_later = strcmp(place.run, search->place.run) == 0 ? place.slot > search->place.slot
                                                             : older->order > search->run->order;
    if (search->waited++ > 0 && !is_later)
        return;
    search->place = place;
    search->run = older;
}

static void supersede_take_place(struct active_run *run, const struct place_search *search)
{
    if (search->waited == 0 || search->waited < run->run.students)
        return;
    run->supersedes.is_place_unsaved = true;
    queue_attend(run);
    queue_move(run, &search->place, search->run->order);
}

static void supersede_save_place(struct scheduler *scheduler, struct active_run *run)
{
    if (run->supersedes.is_place_in_flight)
        return;
    struct db_job *db_job = scheduler_db_job(scheduler, DB_JOB_PLACE_RUN);
    snprintf(db_job->placed.id, sizeof db_job->placed.id, "%s", run->run.id);
    db_job->placed.place = run->run.place;
    run->supersedes.is_place_in_flight = true;
    scheduler_submit(scheduler, db_job);
}

/* ---- The results ---- */

/* Whether the job has its result, or its run is over and gone. */
static bool supersede_is_completed(const struct scheduler *scheduler,
                                   const struct supersede *supersede)
{
    struct job_id job;
    uint32_t slot;
    if (!job_id_parse(supersede->job, &job))
        return true;
    const struct active_run *run = queue_find(&scheduler->queue, job.run);
    if (run == NULL || !run_job_id_slot(&run->run, supersede->job, &slot))
        return true;
    return summary_outcome(run->run.summary[slot]) != OUTCOME_NONE;
}

static void supersede_insert(struct scheduler *scheduler, const struct active_run *newer,
                             const struct supersede *supersede)
{
    struct result result = {
        .outcome = OUTCOME_SUPERSEDED, .owner = OWNER_CLIENT, .attempts = supersede->attempts};
    if (supersede_is_completed(scheduler, supersede))
        return;
    memcpy(result.job, supersede->job, sizeof result.job);
    memcpy(result.holder, supersede->holder, sizeof result.holder);
    run_slot_job_id(&newer->run, supersede->by_slot, result.superseded_by);
    snprintf(result.reason, sizeof result.reason, "superseded by the grading run %s%s",
             newer->run.id, supersede->holder[0] != '\0' ? ", while a grader went on with it" : "");
    scheduler_insert_result(scheduler, &result);
}

static void supersede_go_on(struct scheduler *scheduler, struct active_run *run)
{
    struct supersedes *supersedes = &run->supersedes;
    if (supersedes->is_place_unsaved) {
        supersede_save_place(scheduler, run);
        return;
    }
    while (supersedes->completed < supersedes->inserted &&
           supersede_is_completed(scheduler, &supersedes->list[supersedes->completed]))
        supersedes->completed++;
    while (supersedes->inserted < supersedes->count &&
           supersedes->inserted - supersedes->completed < INSERTS_AT_ONCE)
        supersede_insert(scheduler, run, &supersedes->list[supersedes->inserted++]);
}

bool supersede_is_pending(const struct active_run *run)
{
    return run->supersedes.is_place_unsaved || run->supersedes.completed < run->supersedes.count;
}

void supersede_tick(struct scheduler *scheduler, struct active_run *run)
{
    if (supersede_is_pending(run))
        supersede_go_on(scheduler, run);
}

void supersede_place_completed(struct scheduler *scheduler, const struct db_job *db_job)
{
    struct active_run *run = queue_find(&scheduler->queue, db_job->placed.id);
    if (run == NULL)
        return;
    run->supersedes.is_place_in_flight = false;
    run->supersedes.is_place_unsaved = db_job->code != BW_OK;
    if (db_job->code == BW_OK) /* else the next tick tries again */
        supersede_go_on(scheduler, run);
}

/* ---- A run is started ---- */

/* Whether the run's end is being recorded. Then it supersedes nothing more, since it could be gone
 * before the results are inserted. */
static bool supersede_is_too_late(const struct active_run *run)
{
    return run->is_saving && run_phase_is_over(run->phase);
}

/* Decides between the job at `slot` and the newest one that is known with its key. */
static void supersede_enter_job(struct scheduler *scheduler, struct active_run *run, uint32_t slot,
                                const uint8_t *key, struct place_search *search)
{
    const struct keyed_job *found = supersede_table_find(&scheduler->supersedes, key);
    if (found != NULL && supersede_is_too_late(found->run))
        found = NULL;
    if (found != NULL && run_is_older(&run->run, &found->run->run)) {
        supersede_job(scheduler, run, slot, found->run, found->slot);
        supersede_go_on(scheduler, found->run);
        return;
    }
    if (found != NULL && supersede_job(scheduler, found->run, found->slot, run, slot))
        place_search_note(search, found->run, found->slot);
    supersede_table_set(&scheduler->supersedes, key, run, slot);
}

void supersede_run_started(struct scheduler *scheduler, struct active_run *run)
{
    struct place_search search = {0};
    for (uint32_t slot = 0; run->run.keys != NULL && slot < run->slots; slot++) {
        const uint8_t *key = supersede_key_of(&run->run, slot);
        if (key != NULL)
            supersede_enter_job(scheduler, run, slot, key, &search);
    }
    supersede_take_place(run, &search);
    supersede_tick(scheduler, run);
}

static int compare_starts(const void *left, const void *right)
{
    const struct active_run *a = *(struct active_run *const *)left,
                            *b = *(struct active_run *const *)right;
    return run_is_older(&a->run, &b->run) ? -1 : run_is_older(&b->run, &a->run) ? 1 : 0;
}

void supersede_recover(struct scheduler *scheduler)
{
    size_t count = 0;
    struct active_run *run, *following, **keyed;
    keyed = bw_alloc_array(HASH_COUNT(scheduler->queue.runs), sizeof *keyed);
    HASH_ITER (hh, scheduler->queue.runs, run, following)
        if (run->run.keys != NULL)
            keyed[count++] = run;
    qsort(keyed, count, sizeof *keyed, compare_starts);
    for (size_t i = 0; i < count; i++)
        supersede_run_started(scheduler, keyed[i]);
    free(keyed);
}
