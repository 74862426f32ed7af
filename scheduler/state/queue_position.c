#include "scheduler/state/queue_position.h"

#include <math.h>
#include <string.h>
#include <utlist.h>

static uint64_t count_retries(const struct retry *list)
{
    const struct retry *retry;
    uint64_t count = 0;
    LL_COUNT(list, retry, count);
    return count;
}

/* The number of the run's jobs that could be handed out now. */
static uint64_t ready_count(const struct active_run *run)
{
    return queue_first_attempts(run) + count_retries(run->due);
}

uint64_t queue_course_length(const struct queue *queue, const char *course)
{
    uint64_t length = 0;
    const struct course *found, *following;
    HASH_ITER (hh, queue->order.courses, found, following)
        if (strcmp(found->name, course) == 0)
            length += found->inserting + found->queued;
    return length;
}

uint64_t queue_protocol_length(const struct queue *queue, enum protocol protocol)
{
    uint64_t length = 0;
    const struct course *course, *following;
    HASH_ITER (hh, queue->order.courses, course, following)
        if (course->protocol == protocol)
            length += course->inserting + course->queued;
    return length;
}

/* Adds the slot's index in a list of retries to *place. False: the slot is not in the list. */
static bool find_retry(const struct retry *list, uint32_t slot, uint64_t *place)
{
    const struct retry *retry;
    *place = 0;
    LL_FOREACH (list, retry) {
        if (retry->slot == slot)
            return true;
        ++*place;
    }
    return false;
}

/* How many jobs between the cursor and `slot` have a result. */
static uint64_t count_ended(const struct active_run *run, uint32_t slot)
{
    uint64_t ended = 0;
    for (uint32_t at = run->next_slot; run->ended_ahead > 0 && at < slot; at++)
        ended += queue_has_ended(run, at);
    return ended;
}

/* Sets *place to the slot's place among the run's jobs, and *is_delayed if it comes after all jobs
 * that are ready. */
static bool own_place(const struct active_run *run, uint32_t slot, uint64_t *place,
                      bool *is_delayed)
{
    *is_delayed = false;
    if (find_retry(run->due, slot, place))
        return true;
    if (slot >= run->next_slot && slot < run->end_slot) {
        *place = count_retries(run->due) + slot - run->next_slot - count_ended(run, slot);
        return !queue_has_ended(run, slot);
    }
    *is_delayed = true;
    return find_retry(run->delayed, slot, place);
}

/* Whether one of the two has taken a place of the other, or both have places of the same run. */
static bool are_interleaved(const struct active_run *other, const struct active_run *run)
{
    if (other == run || (other->run.place.started_ms == 0 && run->run.place.started_ms == 0))
        return false;
    const struct run_place place = queue_job_place(run, 0), others = queue_job_place(other, 0);
    return strcmp(place.run, others.run) == 0;
}

/* How many jobs of `other`, which is interleaved, come before that place. */
static uint64_t interleaved_before(const struct active_run *other, uint32_t slot)
{
    if (other->run.place.started_ms != 0)
        return other->run.place.slot < slot ? ready_count(other) : 0;
    uint32_t end = slot < other->end_slot ? slot : other->end_slot;
    uint64_t first = end > other->next_slot ? end - other->next_slot - count_ended(other, end) : 0;
    return count_retries(other->due) + first;
}

/* How many jobs of the run's submitter come before that place of the run. */
static uint64_t own_before(const struct active_run *run, uint32_t slot, bool is_delayed)
{
    uint64_t before = 0;
    bool is_passed = false;
    const struct active_run *other;
    DL_FOREACH (run->submitter->ready, other) {
        is_passed = is_passed || (other == run && !is_delayed);
        if (are_interleaved(other, run))
            before += interleaved_before(other, queue_job_place(run, slot).slot);
        else if (!is_passed)
            before += ready_count(other);
    }
    return before;
}

static uint64_t submitter_count(const struct submitter *submitter)
{
    uint64_t count = 0;
    const struct active_run *run;
    DL_FOREACH (submitter->ready, run)
        count += ready_count(run);
    return count;
}

/* How many jobs of another submitter of the lane come before the job number `own` of this one, if
 * each takes what is usual. */
static uint64_t shared_before(const struct submitter *other, const struct submitter *submitter,
                              uint64_t own)
{
    const struct lane *lane = submitter->lane;
    double begun_ms = submitter->virtual_ms;
    if (submitter->place == 0 && lane->virtual_ms > begun_ms)
        begun_ms = lane->virtual_ms;
    double turns = (double)own +
                   (begun_ms - other->virtual_ms) / queue_order_usual_ms(lane->course);
    uint64_t count = submitter_count(other);
    if (turns < 0)
        return 0;
    if (turns >= (double)count)
        return count;
    bool is_tie = turns <= floor(turns);
    return (uint64_t)ceil(turns) + (is_tie && other->turn < submitter->turn);
}

uint64_t queue_lane_length(const struct lane *lane)
{
    uint64_t count = 0;
    for (size_t i = 0; i < lane->ready_count; i++)
        count += submitter_count(lane->ready[i]);
    return count;
}

static bool lane_goes_before(const struct lane *other, const struct lane *lane)
{
    unsigned others = run_class_rank(other->run_class), own = run_class_rank(lane->run_class);
    return others != own ? others < own : other->priority > lane->priority;
}

uint64_t queue_before_in_run(const struct active_run *run, uint32_t slot)
{
    uint64_t place;
    bool is_delayed;
    return own_place(run, slot, &place, &is_delayed) ? place : 0;
}

bool queue_position(const struct active_run *run, uint32_t slot, uint64_t *ahead)
{
    bool is_delayed;
    const struct submitter *submitter = run->submitter;
    const struct lane *lane = submitter->lane, *other, *following;
    if (!own_place(run, slot, ahead, &is_delayed))
        return false;
    *ahead += own_before(run, slot, is_delayed);
    uint64_t own = *ahead;
    for (size_t i = 0; i < lane->ready_count; i++)
        if (lane->ready[i] != submitter)
            *ahead += shared_before(lane->ready[i], submitter, own);
    HASH_ITER (hh, run->course->lanes, other, following)
        if (lane_goes_before(other, lane))
            *ahead += queue_lane_length(other);
    *ahead += run->course->inserting;
    return true;
}
