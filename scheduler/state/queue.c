#include "scheduler/state/queue.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#include "common/base/alloc.h"

uint32_t failed_attempts_total(const struct failed_attempts *failed_attempts)
{
    return failed_attempts->lost + failed_attempts->expired + failed_attempts->undeliverable;
}

void queue_init(struct queue *queue)
{
    memset(queue, 0, sizeof *queue);
}

static void free_retries(struct retry *list)
{
    struct retry *retry, *following;
    LL_FOREACH_SAFE (list, retry, following)
        free(retry);
}

static void free_run(struct active_run *run)
{
    free_retries(run->due);
    free_retries(run->delayed);
    returned_jobs_clear(&run->returned);
    free(run->withheld);
    webhook_event_list_clear(&run->events);
    free(run->supersedes.list);
    run_clear(&run->run);
    free(run);
}

void queue_destroy(struct queue *queue)
{
    struct active_run *run, *following;
    HASH_ITER (hh, queue->runs, run, following) {
        HASH_DELETE(hh, queue->runs, run);
        free_run(run);
    }
    queue_order_destroy(&queue->order);
    queue_init(queue);
}

struct active_run *queue_find(const struct queue *queue, const char *run_id)
{
    struct active_run *run;
    HASH_FIND_STR(queue->runs, run_id, run);
    return run;
}

struct active_run *queue_add(struct queue *queue, struct run *run)
{
    struct active_run *added = bw_alloc(sizeof *added);
    added->run = *run;
    run->summary = run->keys = NULL;
    run->requires = NULL;
    run->summary_length = 0;
    added->slots = run_job_count(run->has_pre, run->students, run->has_post);
    added->run.summary = bw_grow(added->run.summary, added->slots + 1, 1);
    if (added->run.summary_length < added->slots)
        memset(added->run.summary + added->run.summary_length, 0,
               added->slots - added->run.summary_length);
    added->run.summary_length = added->slots;
    added->order = queue->started++;
    added->submitter = queue_order_join(&queue->order, added);
    added->course = added->submitter->lane->course;
    added->queue = queue;
    HASH_ADD_STR(queue->runs, run.id, added);
    queue_attend(added);
    return added;
}

uint64_t queue_run_wait_reasons(const struct active_run *run)
{
    return wait_bit(WAIT_PAUSED, run->is_paused);
}

static bool queue_has_job(const struct active_run *run)
{
    return queue_run_wait_reasons(run) == 0 && (run->due != NULL || run->next_slot < run->end_slot);
}

uint64_t queue_run_length(const struct active_run *run)
{
    return queue_first_attempts(run) + run->retries;
}

void queue_attend(struct active_run *run)
{
    if (!run->is_attended)
        DL_APPEND2(run->queue->attended, run, attended_prev, attended_next);
    run->is_attended = true;
}

void queue_stop_attending(struct active_run *run)
{
    if (run->is_attended)
        DL_DELETE2(run->queue->attended, run, attended_prev, attended_next);
    run->is_attended = false;
}

void queue_set_dirty(struct active_run *run)
{
    run->is_dirty = true;
    queue_attend(run);
}

static void queue_set_delaying(struct active_run *run, bool is_delaying)
{
    if (is_delaying && !run->is_delaying)
        DL_APPEND2(run->queue->delaying, run, delaying_prev, delaying_next);
    if (!is_delaying && run->is_delaying)
        DL_DELETE2(run->queue->delaying, run, delaying_prev, delaying_next);
    run->is_delaying = is_delaying;
}

static void queue_count(struct active_run *run, uint64_t queued)
{
    run->queue->queued[run->run.protocol] += queued - run->queued;
    run->course->queued += queued - run->queued;
    run->queued = queued;
}

/* What the run has to hand out has changed: counts it, and puts it among those whose turn comes or
 * takes it out. */
static void queue_note_change(struct active_run *run)
{
    queue_count(run, queue_run_length(run));
    queue_set_delaying(run, run->delayed != NULL);
    if (queue_has_job(run))
        queue_order_insert(run);
    else
        queue_order_delete(run);
}

void queue_remove(struct queue *queue, struct active_run *run)
{
    queue_count(run, 0);
    queue_set_delaying(run, false);
    queue_stop_attending(run);
    queue_order_delete(run);
    queue_order_leave(run->submitter);
    HASH_DELETE(hh, queue->runs, run);
    free_run(run);
}

bool queue_is_withheld(const struct active_run *run, uint32_t slot)
{
    return run->withheld != NULL && run->withheld[slot] != 0;
}

bool queue_has_ended(const struct active_run *run, uint32_t slot)
{
    return summary_outcome(run->run.summary[slot]) != OUTCOME_NONE || queue_is_withheld(run, slot);
}

/* Moves the cursor to the next job without a result. */
static void queue_skip_ended(struct active_run *run)
{
    while (run->ended_ahead > 0 && queue_has_ended(run, run->next_slot)) {
        run->next_slot++;
        run->ended_ahead--;
    }
}

void queue_open_slots(struct active_run *run, uint32_t next, uint32_t end)
{
    run->next_slot = next;
    run->end_slot = end;
    run->ended_ahead = 0;
    for (uint32_t slot = next; slot < end; slot++)
        run->ended_ahead += queue_has_ended(run, slot);
    queue_skip_ended(run);
    queue_note_change(run);
}

void queue_job_ended(struct active_run *run, uint32_t slot)
{
    bool was_withheld = queue_is_withheld(run, slot);
    if (was_withheld)
        run->withheld[slot] = 0;
    if (was_withheld || slot < run->next_slot || slot >= run->end_slot)
        return;
    run->ended_ahead++;
    queue_skip_ended(run);
    queue_note_change(run);
}

uint32_t queue_withhold(struct active_run *run, uint32_t slot)
{
    struct failed_attempts failed_attempts = {0};
    if (run->withheld == NULL)
        run->withheld = bw_alloc_array(run->slots, sizeof *run->withheld);
    (void)queue_drop_retry(run, slot, &failed_attempts);
    run->withheld[slot] = 1;
    if (slot >= run->next_slot && slot < run->end_slot) {
        run->ended_ahead++;
        queue_skip_ended(run);
    }
    queue_note_change(run);
    return failed_attempts_total(&failed_attempts);
}

void queue_move(struct active_run *run, const struct run_place *place, uint64_t order)
{
    run->run.place = *place;
    run->order = order;
    queue_note_change(run);
}

struct run_place queue_job_place(const struct active_run *run, uint32_t slot)
{
    struct run_place place = {.started_ms = run->run.started_ms, .slot = slot};
    if (run->run.place.started_ms != 0)
        return run->run.place;
    memcpy(place.run, run->run.id, sizeof place.run);
    return place;
}

uint32_t queue_first_attempts(const struct active_run *run)
{
    return run->end_slot - run->next_slot - run->ended_ahead;
}

void queue_close(struct active_run *run)
{
    free_retries(run->due);
    free_retries(run->delayed);
    run->due = run->delayed = NULL;
    run->retries = 0;
    queue_open_slots(run, run->end_slot, run->end_slot);
}

void queue_set_paused(struct active_run *run, bool is_paused)
{
    run->is_paused = is_paused;
    queue_note_change(run);
}

bool queue_peek(const struct queue *queue, enum protocol protocol, struct offer *offer)
{
    const struct lane *lane = queue_order_first(&queue->order, protocol);
    if (lane != NULL)
        queue_offer(lane, offer);
    return lane != NULL;
}

void queue_offer(const struct lane *lane, struct offer *offer)
{
    struct active_run *run = queue_order_run(lane);
    memset(offer, 0, sizeof *offer);
    offer->run = run;
    offer->retry = run->due;
    offer->slot = run->due != NULL ? run->due->slot : run->next_slot;
    offer->attempt = run->due != NULL ? run->due->attempt : 1;
    if (run->due != NULL)
        offer->failed_attempts = run->due->failed_attempts;
    enum job_kind kind;
    uint32_t index;
    run_slot_job(run->run.has_pre, run->run.students, offer->slot, &kind, &index);
    job_id_make(run->run.id, kind, index, offer->job);
}

const struct retry *queue_delayed_retry(const struct active_run *run, uint32_t slot)
{
    const struct retry *retry;
    LL_SEARCH_SCALAR(run->delayed, retry, slot, slot);
    return retry;
}

/* Whether the run has the job to hand out. */
static bool queue_is_open(const struct active_run *run, uint32_t slot)
{
    const struct retry *retry;
    LL_SEARCH_SCALAR(run->due, retry, slot, slot);
    return retry != NULL ||
           (slot >= run->next_slot && slot < run->end_slot && !queue_has_ended(run, slot));
}

/* Whether the job, which is open in a run that is ready, is the next one of its lane. */
static bool queue_is_next(const struct active_run *run, uint32_t slot)
{
    struct offer offer;
    queue_offer(run->submitter->lane, &offer);
    return offer.run == run && offer.slot == slot;
}

/* Why a job is not open that waits for no attempt: its phase has not begun, or its end is being
 * stored. */
static uint64_t queue_phase_wait_reasons(const struct active_run *run, uint32_t slot)
{
    enum job_kind kind;
    uint32_t index;
    run_slot_job(run->run.has_pre, run->run.students, slot, &kind, &index);
    if (run->phase < run_phase_of(kind))
        return wait_bit(run->phase == RUN_STUDENTS ? WAIT_STUDENTS_NOT_DONE : WAIT_PRE_NOT_DONE,
                        true);
    bool has_stages = run->run.has_stages[kind];
    return wait_bit(has_stages ? WAIT_ATTEMPT_ENDING : WAIT_NO_STAGES, true);
}

uint64_t queue_delayed_wait_reasons(const struct active_run *run, const struct retry *delayed)
{
    return queue_run_wait_reasons(run) |
           wait_bit(delayed->is_put_off ? WAIT_PUT_OFF : WAIT_RETRY_NOT_DUE, true);
}

uint64_t queue_job_wait_reasons(const struct active_run *run, uint32_t slot)
{
    const struct retry *delayed = queue_delayed_retry(run, slot);
    uint64_t reasons = queue_run_wait_reasons(run);
    if (run->run.cancelled_ms != 0)
        return wait_bit(WAIT_CANCELLED, true);
    if (queue_is_withheld(run, slot))
        return wait_bit(WAIT_SUPERSEDED, true);
    if (delayed != NULL)
        return queue_delayed_wait_reasons(run, delayed);
    if (!queue_is_open(run, slot))
        return reasons | queue_phase_wait_reasons(run, slot);
    return reasons != 0 ? reasons : wait_bit(WAIT_JOBS_AHEAD, !queue_is_next(run, slot));
}

double queue_take(const struct offer *offer)
{
    struct active_run *run = offer->run;
    double charge_ms = queue_order_serve(run);
    if (offer->retry != NULL) {
        LL_DELETE(run->due, offer->retry);
        free(offer->retry);
        run->retries--;
    } else {
        run->next_slot++;
        queue_skip_ended(run);
    }
    queue_note_change(run);
    return charge_ms;
}

void queue_put_off(const struct offer *offer, int64_t due_ms)
{
    struct active_run *run = offer->run;
    LL_DELETE(run->due, offer->retry);
    offer->retry->due_ms = due_ms;
    offer->retry->is_put_off = true;
    LL_APPEND(run->delayed, offer->retry);
    queue_note_change(run);
}

void queue_retry(struct active_run *run, const struct retry *retry, int64_t now_ms)
{
    struct retry *added = bw_alloc(sizeof *added);
    *added = *retry;
    run->retries++;
    if (retry->due_ms > now_ms)
        LL_APPEND(run->delayed, added);
    else
        LL_APPEND(run->due, added);
    queue_note_change(run);
}

static bool drop_retry(struct retry **list, uint32_t slot, struct failed_attempts *failed_attempts)
{
    struct retry *retry;
    LL_SEARCH_SCALAR(*list, retry, slot, slot);
    if (retry == NULL)
        return false;
    if (failed_attempts != NULL)
        *failed_attempts = retry->failed_attempts;
    LL_DELETE(*list, retry);
    free(retry);
    return true;
}

bool queue_drop_retry(struct active_run *run, uint32_t slot,
                      struct failed_attempts *failed_attempts)
{
    bool dropped = drop_retry(&run->due, slot, failed_attempts) ||
                   drop_retry(&run->delayed, slot, failed_attempts);
    run->retries -= dropped;
    queue_note_change(run);
    return dropped;
}

static int64_t wake_run(struct active_run *run, int64_t now_ms)
{
    int64_t next_ms = INT64_MAX;
    struct retry *retry, *following;
    LL_FOREACH_SAFE (run->delayed, retry, following) {
        if (retry->due_ms > now_ms) {
            next_ms = retry->due_ms < next_ms ? retry->due_ms : next_ms;
            continue;
        }
        LL_DELETE(run->delayed, retry);
        LL_APPEND(run->due, retry);
        retry->is_put_off = false;
    }
    queue_note_change(run);
    return next_ms;
}

int64_t queue_wake(struct queue *queue, int64_t now_ms)
{
    int64_t next_ms = INT64_MAX;
    struct active_run *run, *following;
    DL_FOREACH_SAFE2(queue->delaying, run, following, delaying_next)
    {
        int64_t due_ms = wake_run(run, now_ms);
        next_ms = due_ms < next_ms ? due_ms : next_ms;
    }
    return next_ms;
}

uint64_t queue_length(const struct queue *queue)
{
    uint64_t length = 0;
    for (unsigned protocol = 0; protocol < PROTOCOLS; protocol++)
        length += queue->queued[protocol];
    return length;
}
