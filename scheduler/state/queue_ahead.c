#include "scheduler/state/queue_ahead.h"

#include <math.h>
#include <string.h>

#include "scheduler/state/queue_position.h"

static void queue_ahead_add(struct queue_ahead *ahead, const struct course *course, uint64_t jobs)
{
    if (jobs == 0)
        return;
    ahead->count += jobs;
    if (ahead->course_count == QUEUE_AHEAD_COURSES)
        ahead->others += jobs;
    else
        ahead->courses[ahead->course_count++] = (struct queue_ahead_course){course, jobs};
}

/* The course's jobs of that class which graders may have. */
static uint64_t queue_ahead_class_length(const struct course *course, unsigned rank)
{
    uint64_t count = 0;
    const struct lane *lane, *following;
    HASH_ITER (hh, course->lanes, lane, following)
        if (lane->is_ready && !lane->is_aside && run_class_rank(lane->run_class) == rank)
            count += queue_lane_length(lane);
    return count;
}

/* How many of the `count` jobs of another course come before the job number `own` of this one: both
 * have the same class. */
static uint64_t queue_ahead_by_share(const struct course *other, uint64_t count,
                                     const struct course *course, uint64_t own)
{
    double turn_ms = course->virtual_ms + (double)own * queue_order_usual_charge_ms(course);
    double turns = (turn_ms - other->virtual_ms) / queue_order_usual_charge_ms(other);
    if (turns < 0)
        return 0;
    if (turns >= (double)count)
        return count;
    bool is_tie = turns <= floor(turns);
    return (uint64_t)ceil(turns) + (is_tie && other->turn < course->turn);
}

/* Adds the jobs of another course. `own`: how many of the job's course come first. */
static void queue_ahead_add_other(struct queue_ahead *ahead, const struct course *other,
                                  const struct active_run *run, uint64_t own)
{
    unsigned own_rank = run_class_rank(run->submitter->lane->run_class);
    uint64_t jobs = 0;
    if (course_wait_reasons(other) != 0)
        return;
    for (unsigned rank = 0; rank < own_rank; rank++)
        jobs += queue_ahead_class_length(other, rank);
    uint64_t same = queue_ahead_class_length(other, own_rank);
    ahead->less_share += same > 0 && queue_order_course_is_before(other, run->course);
    queue_ahead_add(ahead, other, jobs + queue_ahead_by_share(other, same, run->course, own));
}

void queue_ahead_find(const struct active_run *run, uint32_t slot, struct queue_ahead *ahead)
{
    const struct course *course, *following;
    uint64_t own = 0;
    memset(ahead, 0, sizeof *ahead);
    if (queue_position(run, slot, &own))
        own -= run->course->inserting; /* they have been handed out */
    queue_ahead_add(ahead, run->course, own);
    ahead->of_run = queue_before_in_run(run, slot);
    HASH_ITER (hh, run->course->order->courses, course, following)
        if (course != run->course && course->protocol == run->course->protocol)
            queue_ahead_add_other(ahead, course, run, own);
}
